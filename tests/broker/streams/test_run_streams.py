"""The streams of a run: what is dealt, asked and told there, and what is not once the run is gone."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from broker.control_entries import encode_control
from broker.errors import RunGone, Unavailable
from broker.ports.robot import Death, JournalRow
from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from broker.streams.run.control import StreamRunControl
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.injection import CommandStream, send_command
from broker.streams.run.lives import last_incarnation
from broker.streams.run.runs import StreamRuns
from broker.streams.run.supervisor_lease import Held, SupervisorLease
from tests.support.cutting_proxy import CuttingProxy
from tests.support.port_labs import PLAN, StreamsLab, run_numbers, run_spec
from tests.support.waiting import DEADLINE_S, await_true


@pytest.mark.live
def test_a_plan_change_for_an_outbox_that_is_lost_is_not_taken_for_done(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")
    lab.server.delete(lab.keys.outbox(1))

    for retry in (True, False):
        with pytest.raises(Unavailable, match=r"plan: .* is gone"):
            lab.run_control.change(PLAN, retry)

    assert not lab.server.exists(lab.keys.outbox(1))
    lab.server.close()


@pytest.mark.live
def test_what_is_no_control_entry_is_not_collected_as_one(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")
    control = lab.keys.control(0)
    lab.server.xadd(control, {"control": encode_control(PLAN)}, id="1-1")
    for number, fields in enumerate(({"control": b"garbage"}, {"what": b"is this"}, {"control": b""}), start=2):
        lab.server.xadd(control, dict[Any, Any](fields), id=f"1-{number}")

    assert lab.evidence.collect().controls == {0: [("1-1", PLAN)], 1: []}
    lab.server.close()


@pytest.mark.live
def test_a_run_that_is_gone_is_reported_as_gone_and_is_not_begun_anew(server: EmbeddedServer) -> None:
    # Given a run whose server came back empty
    lab = StreamsLab(server.url, "r00")
    lab.server.delete(lab.keys.orders)

    # When somebody asks for orders, gives one, or wants to supervise / Then it is gone, and stays so
    for act in (
        lab.run_control.orders,
        lambda: lab.run_control.order("stop"),
        lambda: SupervisorLease(lab.server, lab.run, "a").hold(None),
    ):
        with pytest.raises(RunGone):
            act()
    assert not lab.server.exists(lab.keys.orders, lab.keys.supervisor)
    lab.server.close()


@pytest.mark.live
def test_what_a_run_was_dealt_with_is_known_on_every_host_and_a_removed_run_leaves_no_key() -> None:
    with EmbeddedServer() as server, connect(server.url) as client, connect(server.url) as elsewhere:
        # Given two runs that were dealt one after the other, the second with run metadata
        StreamRunControl(client, "one").deal(run_spec("one", ("r00",)))
        run_control = StreamRunControl(client, "two")
        run_control.deal(msgspec.structs.replace(run_spec("two", ("r00",)), metadata=(b"settings", b"deal")))
        run_control.admit("r01", [b"joined"])
        send_command(client, "two", "r01", "kill r01")
        SupervisorLease(client, "two", "a").hold(7)

        # Then any other client finds both and reads the metadata
        assert StreamRuns(elsewhere).newest_first() == ["two", "one"]
        assert StreamEvidenceReader(elsewhere, "two").metadata() == [b"settings", b"deal"]
        assert StreamEvidenceReader(elsewhere, "one").metadata() == []

        # And when they are removed by any client, nothing is left
        StreamRunControl(elsewhere, "two").forget()
        assert StreamRuns(elsewhere).newest_first() == ["one"]
        StreamRunControl(elsewhere, "one").forget()
        assert client.keys() == []


def done(held: Held | None) -> int | None:
    return None if held is None else held.done_us


@pytest.mark.live
def test_one_supervisor_holds_a_run_at_a_time_and_its_successor_knows_what_was_done(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")
    one, other = (SupervisorLease(lab.server, lab.run, name) for name in ("one", "other"))

    # Given a supervisor that holds it, and has noted up to when the process faults were injected
    assert done(one.hold(None)) == -1
    assert done(one.hold(5_000_000)) == 5_000_000
    # When another one asks / Then it has to stand by
    assert other.hold(None) is None
    # until the first one gives it back, or its lease runs out; it knows then how far things were
    one.release()
    assert done(other.hold(None)) == 5_000_000
    assert one.hold(None) is None
    lab.server.hset(lab.keys.supervisor, "until_us", "1")
    assert done(one.hold(None)) == 5_000_000
    # One who had it, and lost it for a while, does not renew it as if nothing had happened
    one.release()
    assert done(other.hold(None)) == 5_000_000
    assert done(other.hold(8_000_000)) == 8_000_000
    other.release()
    assert one.hold(6_000_000) is None
    assert done(one.hold(None)) == 8_000_000
    # and a supervisor that does not hold it cannot give it back
    other.release()
    assert other.hold(None) is None
    # Each knows for how long it had not been renewed
    other_s = time.monotonic()
    lab.server.hset(lab.keys.supervisor, "until_us", "1")
    await_true(lambda: time.monotonic() - other_s > 0.1, 1, "a tenth of a second")
    held = other.hold(None)
    assert held is not None
    assert 100_000 < held.away_us < DEADLINE_S * 1_000_000
    lab.server.close()


@pytest.mark.live
def test_a_command_to_an_rq_worker_is_received_once_and_only_by_the_worker_that_runs_the_robot_then(
    server: EmbeddedServer,
) -> None:
    lab = StreamsLab(server.url, "r00")
    # Given a command that was meant for an earlier life
    send_command(lab.server, lab.run, "r00", "kill r00")
    commands = CommandStream(lab.server, lab.run, "r00")
    assert commands.read() == []
    # When others follow, and something too long to be one
    for injection in ("pause r00", "x" * 1000, "kill rq:r00"):
        send_command(lab.server, lab.run, "r00", injection)
    # Then each is heard once, and only those of this robot
    assert commands.read() == ["pause r00", "kill rq:r00"]
    assert commands.read() == []
    lab.server.close()


@pytest.mark.live
def test_dealing_again_after_a_lost_reply_adds_nothing(server: EmbeddedServer, proxy: CuttingProxy) -> None:
    run = f"t{next(run_numbers)}"
    with connect(proxy.url) as client, connect(server.url) as observer:
        # Given a deal, each of whose replies is lost in turn
        proxy.cut(b"XADD", times=3)
        run_control = StreamRunControl(client, run)
        run_control.deal(run_spec(run, ("r00",)))
        assert proxy.cuts == 3
        # When the same is dealt once more
        run_control.deal(run_spec(run, ("r00",)))
        # Then it stands once; and another deal under the same name is refused
        evidence = StreamEvidenceReader(observer, run).collect()
        assert evidence.journals["r00"] == [JournalRow(0, 1, b"header"), JournalRow(0, 2, b"part of r00")]
        assert len(evidence.orders) == 1
        assert evidence.outboxes[0].added == 1
        with pytest.raises(ValueError, match="dealt before"):
            run_control.deal(run_spec(run, ("r00", "r01")))


def test_a_death_whose_reply_was_lost_counts_once(server: EmbeddedServer, proxy: CuttingProxy) -> None:
    lab = StreamsLab(server.url, "r00")

    async def story() -> None:
        with connect(proxy.url) as client:
            # Given a teller who will not hear the first two replies
            log = StreamFleetLog(client, lab.run)
            proxy.cut(b"XADD", times=2)
            # When it tells of a death, and then of another just like it
            log.death("r00", "r00", 1, "signal", -9)
            assert proxy.cuts == 2
            log.death("r00", "r00", 1, "signal", -9)
            # Then there are two
            assert len(lab.fleet_log().rows()) == 2
            assert len(await lab.life("r00", "first").fleet.rows()) == 2

    lab.play(story)


def test_what_happens_to_the_fleet_of_a_run_that_is_gone_is_not_stored(server: EmbeddedServer) -> None:
    with connect(server.url) as client:
        log = StreamFleetLog(client, "gone")
        # When a death is reported, it is passed over: a process that is leaving must not fail at it
        log.death("r00", "r00", 1, "signal", -9)
        # But no injection follows that is in no log, and no answer counts as given
        with pytest.raises(RunGone):
            log.injection("kill", "robot", "r00")
        with pytest.raises(RunGone):
            log.acknowledge("1-0", "set kill r00", "")
        assert log.rows() == []
        assert not client.exists(Keys("gone").fleet)


def test_what_is_neither_an_injection_nor_a_death_is_passed_over(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")

    async def story() -> None:
        # Given what anybody may write to a stream, and a death
        garbage = [{"control": b"y"}, {"row": b"\xc1", "token": b"1"}, {"row": b"\x92\xa5death\x01", "token": b"2"}]
        for fields in garbage:
            lab.server.xadd(lab.keys.fleet, fields)
        lab.fleet_log().death("r00", "r00", 1, "silent", -9)
        # Then the death alone is read
        [death] = await lab.life("r00", "first").fleet.rows()
        assert death == Death(death.entry, "r00", "r00", 1, "silent", -9)

    lab.play(story)


def test_the_last_life_of_a_robot_is_the_last_that_its_journal_knows(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")

    async def story() -> None:
        assert last_incarnation(lab.server, lab.run, "r00") == 0
        await lab.life("r00", "first").journal.append(7, [b"born", b"part"])
        assert last_incarnation(lab.server, lab.run, "r00") == 7
        lab.lose_journal("r00")
        assert last_incarnation(lab.server, lab.run, "r00") == 0

    lab.play(story)


def test_a_fleet_log_that_cannot_be_reached_states_so(server: EmbeddedServer, proxy: CuttingProxy) -> None:
    lab = StreamsLab(server.url, "r00", through=proxy.url, retry_s=0.0)

    async def story() -> None:
        with connect(proxy.url) as client:
            log = StreamFleetLog(client, lab.run, retry_s=0.0)
            proxy.cut(b"XADD")
            with pytest.raises(Unavailable):
                log.injection("kill", "robot", "r00")
            proxy.cut(b"XRANGE")
            with pytest.raises(Unavailable):
                log.rows()
            proxy.cut(b"XRANGE")
            with pytest.raises(Unavailable):
                await lab.life("r00", "first").fleet.rows()

    lab.play(story)
