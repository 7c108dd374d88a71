"""Relays that die, stand still or are deposed: who takes over loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from broker.control_entries import Birth, PlanChange, Planned, encode_control
from broker.faults.dice import Dice
from broker.faults.fate import Plan
from broker.ports.run import RunSpec
from broker.relay.core import Relay
from broker.streams.relay import lease
from broker.streams.relay.driver import Shutdown
from broker.streams.relay.lease import POLL_S, Lease
from broker.streams.relay.wire import GROUP, BulkLine
from robots.run.deal import Terms, encode_terms
from telemetry.events import AnyEvent, RelayDeposed, RelayResumed
from tests.broker.streams.relay_lab import (
    ROBOTS,
    SEED,
    STORMY,
    RelayGroup,
    Shard,
    assert_nothing_lost,
    decided_entries,
    fates_of,
    planned,
    redone_in,
    refusals,
)
from tests.support.checkout import ROOT
from tests.support.waiting import DEADLINE_S, await_true, measuring_lateness

pytestmark = pytest.mark.live

WAKE_UPS = 3  # of processes, one after the other: relay, server, relay


def test_a_relay_killed_with_unacknowledged_copies_is_followed_by_one_that_redoes_them(
    make_shard: Callable[..., Shard], relays: RelayGroup
) -> None:
    # Given a relay that has decided some fates, and holds every copy for long
    shard = make_shard("loss 0.2", "duplicate 0.3", "delay 10s..20s")
    shard.send(600)
    pid = relays.fork(shard)
    await_true(lambda: len(fates_of(shard.evidence.collect())) == 600)
    # When it is killed, and another takes over
    relays.signal(pid, signal.SIGKILL)
    held = shard.pending()
    assert held > 400  # all that are not lost
    evidence = shard.drain()
    # Then it records what it redoes, decides the same, and nothing is lost
    assert len(redone_in(evidence)) == held
    assert RelayResumed(0, held) in shard.events
    assert len(fates_of(evidence)) == 600 + held
    assert_nothing_lost(shard, evidence, 600)


@pytest.mark.parametrize("point", ["taken", "noted", "put-out", "acked", "holding"])
def test_a_relay_may_die_at_any_point(make_shard: Callable[..., Shard], relays: RelayGroup, point: str) -> None:
    # Given a stream of births and envelopes through a storm
    shard = make_shard(*STORMY)
    for life in range(1, 6):
        # When each relay kills itself at that point, the later ones at a later time
        pid = relays.fork(shard, dies_at=(point, life))

        def dies(pid: int = pid, life: int = life) -> bool:
            shard.control(Birth("r00", life, "nonce"))
            shard.send(20, incarnation=life, receiver="r02" if shard.sent % 40 else "r01")
            return relays.is_dead(pid)

        await_true(dies)
    evidence = shard.drain()
    # Then nothing is lost, and all control entries were copied, in order
    assert_nothing_lost(shard, evidence, shard.sent)
    born = [control.incarnation for _, control in evidence.controls[0] if isinstance(control, Birth)]
    assert len(born) == shard.sent // 20
    assert born == sorted(born)


def test_relays_killed_again_and_again_lose_nothing(make_shard: Callable[..., Shard], relays: RelayGroup) -> None:
    # Given a stream of envelopes through a storm
    shard = make_shard(*STORMY)
    for kill in range(4):
        shard.send(1500, incarnation=kill + 1)
        # When each relay is killed somewhere in its work
        before = shard.delivered().total()
        pid = relays.fork(shard)
        await_true(lambda before=before: shard.delivered().total() > before)
        relays.signal(pid, signal.SIGKILL)
    # Then the last one leaves nothing undone
    assert_nothing_lost(shard, shard.drain(), 6000)


def test_one_that_stands_by_takes_over_within_a_second(make_shard: Callable[..., Shard], relays: RelayGroup) -> None:
    # Given a relay, and two that stand by
    shard = make_shard()
    names = {relays.fork(shard, holder=name): name for name in ("a", "b", "c")}
    pids = {name: pid for pid, name in names.items()}
    seconds = []
    for life in (1, 2):
        holder = await_true(shard.holder)
        shard.send(5, incarnation=life)
        await_true(lambda life=life: len(shard.delivered()) == 10 * life - 5)
        # When the one whose turn it is is killed
        with measuring_lateness() as lateness:
            relays.signal(pids.pop(holder), signal.SIGKILL)
            killed_s = time.monotonic()
            shard.send(5, incarnation=life + 10)
            # Then another goes on
            await_true(lambda life=life: len(shard.delivered()) == 10 * life)
        seconds.append(time.monotonic() - killed_s - WAKE_UPS * max(lateness))
        assert shard.holder() in pids
        # And the relays that still stand by have done nothing
        assert all(relays.reported(pid) == [] for name, pid in pids.items() if name != shard.holder())
    # And no later than that, but for how late a busy machine wakes each up
    assert min(seconds) <= 1.0, seconds


def test_a_relay_paused_beyond_its_lease_does_no_harm(make_shard: Callable[..., Shard], relays: RelayGroup) -> None:
    # Given a relay that holds copies, and one that stands by
    shard = make_shard("delay 400ms..1500ms", "duplicate 0.3")
    first = relays.fork(shard, holder="first")
    await_true(lambda: shard.holder() == "first")
    second = relays.fork(shard, holder="second")
    shard.send(200)
    await_true(lambda: shard.pending() == 200)
    # When it is paused, and goes on when its lease is the other's and its copies are due
    relays.signal(first, signal.SIGSTOP)
    shard.control(Birth("r00", 2, "nonce"))
    shard.send(200, incarnation=2)
    await_true(lambda: shard.holder() == "second")
    await_true(lambda: shard.pending() == 0)
    relays.signal(first, signal.SIGCONT)
    # Then it says that it was deposed
    await_true(lambda: RelayDeposed(0) in relays.reported(first))
    # And takes its turn again when the other is gone
    relays.signal(second, signal.SIGKILL)
    shard.send(50, incarnation=3)
    await_true(lambda: shard.holder() == "first")
    await_true(lambda: len(decided_entries(shard.evidence.collect())) == 450)
    relays.signal(first, signal.SIGKILL)
    # And all is as if nothing had been
    evidence = shard.drain()
    assert_nothing_lost(shard, evidence, 450)
    assert {fate.state for fate in fates_of(evidence)} == {"delivered"}


def test_a_relay_paused_between_reading_and_writing_reads_nothing_behind_its_successors_back(
    make_shard: Callable[..., Shard], relays: RelayGroup
) -> None:
    # Given a relay that took a plan change and envelopes, and was paused before it wrote anything
    shard = make_shard()
    first = relays.fork(shard, holder="first")
    await_true(lambda: shard.holder() == "first" and shard.evidence.collect().controls[0] and shard.pending() == 0)
    relays.signal(first, signal.SIGSTOP)
    shard.control(planned("loss 0.9"))
    shard.send(100)
    # When another has taken over, and it goes on
    second = relays.fork(shard, holder="second")
    await_true(lambda: len(decided_entries(shard.evidence.collect())) == 100)
    relays.signal(first, signal.SIGCONT)
    shard.send(100, incarnation=2)
    await_true(lambda: RelayDeposed(0) in relays.reported(first))
    await_true(lambda: len(decided_entries(shard.evidence.collect())) == 200)
    relays.signal(first, signal.SIGKILL)
    relays.signal(second, signal.SIGKILL)
    # Then every fate was decided by the plan before it
    evidence = shard.drain()
    assert_nothing_lost(shard, evidence, 200)
    plan, dice = Plan(planned("loss 0.9")), Dice(SEED)
    for fate in fates_of(evidence):
        decided = plan.fate(dice, "r00", int(fate.incarnation or 0), "r01", int(fate.sequence or 0))
        assert fate.deliveries == decided.deliveries


def test_each_relay_takes_the_first_shard_that_is_free(make_shard: Callable[..., Shard], relays: RelayGroup) -> None:
    # Given two shards, and three relays for whichever is free
    shard = make_shard("delay 1ms", shards=2)
    pids = {}
    for name in ("a", "b", "c"):
        pids[name] = relays.fork(shard, holder=name, shards=(0, 1), shutdown=Shutdown(drains=False))
        if name != "c":
            await_true(lambda name=name: name in (shard.holder(0), shard.holder(1)))
    assert (shard.holder(0), shard.holder(1)) == ("a", "b")
    # When the first is killed
    relays.signal(pids["a"], signal.SIGKILL)
    for place in (0, 1):
        shard.send(100, sender=f"r0{place}", receiver="r02", shard=place)
    # Then the second goes on, and the third does what was the first's
    await_true(lambda: shard.delivered().total() == 200)
    assert (shard.holder(0), shard.holder(1)) == ("c", "b")
    await_true(lambda: shard.pending(0) == shard.pending(1) == 0)


def test_a_standby_leaves_when_the_run_is_stopped(make_shard: Callable[..., Shard], tmp_path: Path) -> None:
    # Given a live run of two shards, and a standby for the second
    shard = make_shard("delay 50s", shards=2)
    folder = tmp_path / shard.run
    folder.mkdir()
    (folder / "live.json").write_text(json.dumps({"control": shard.url, "data": shard.url, "pid": os.getpid()}))
    terms = encode_terms(Terms(len(ROBOTS), 2, SEED, 100_000, 1_000_000, 0))
    shard.client.delete(shard.keys.orders)
    shard.run_control.deal(RunSpec(shard.run, 2, shard.plan, {robot: [b"header"] for robot in ROBOTS}, terms))
    command = [sys.executable, "-m", "deploy", "relay", "--runs-dir", str(tmp_path), "--shard", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            await_true(lambda: shard.holder(1))
            shard.send(10, shard=1)
            await_true(lambda: shard.pending(1) == 10)
            # When the run is stopped
            shard.run_control.order("stop", b"complete")
            # Then it leaves, and the process that drains the shard need not wait for its lease
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()
        assert process.stderr is not None
        assert "relaying shard 1" in process.stderr.read()
    assert shard.holder(1) is None
    assert shard.pending(1) == 10


def test_what_was_refused_for_want_of_memory_is_redone_later(
    make_shard: Callable[..., Shard], relays: RelayGroup
) -> None:
    # Given a relay that was killed with unacknowledged copies, and a server that has no memory left
    shard = make_shard("delay 10s..20s")
    shard.send(300)
    pid = relays.fork(shard)
    await_true(lambda: len(fates_of(shard.evidence.collect())) == 300)
    relays.signal(pid, signal.SIGKILL)
    shard.client.config_set("maxmemory", 1)
    try:
        # When another takes over
        pid = relays.fork(shard)
        before = refusals(shard)
        await_true(lambda: refusals(shard) > before + 3)
        # Then nothing is redone, because it cannot be recorded
        assert len(fates_of(shard.evidence.collect())) == 300
        assert not redone_in(shard.evidence.collect())
    finally:
        shard.client.config_set("maxmemory", 0)
    # And when there is memory again, it is
    await_true(lambda: len(redone_in(shard.evidence.collect())) == 300)
    relays.signal(pid, signal.SIGKILL)
    assert_nothing_lost(shard, shard.drain(), 300)


@pytest.mark.parametrize("is_followed", [True, False])
def test_a_control_entry_that_a_stranger_took_is_refused_and_stops_nothing(
    make_shard: Callable[..., Shard], relays: RelayGroup, is_followed: bool
) -> None:
    # Given a relay that is paused, and a person who takes a plan change by hand
    shard = make_shard("delay 1ms")
    relay = relays.fork(shard)
    await_true(lambda: shard.evidence.collect().controls[0] and shard.pending() == 0)
    relays.signal(relay, signal.SIGSTOP)
    taken = shard.control(planned("loss 1"))
    shard.client.xreadgroup(GROUP, "me", {shard.keys.outbox(0): ">"})
    # When another one follows, or none, and the relay goes on
    followers = [shard.control(planned("delay 1ms"))] if is_followed else []
    relays.signal(relay, signal.SIGCONT)
    shard.send(100)
    # Then all that comes later is decided, and what was taken is refused
    await_true(lambda: len(decided_entries(shard.evidence.collect())) == 101)
    await_true(lambda: shard.pending() == 0)
    shard.send(100, incarnation=2)
    await_true(lambda: shard.delivered().total() == 200)
    evidence = shard.evidence.collect()
    [refused] = [fate.entry for fate in fates_of(evidence) if fate.state == "refused"]
    assert refused == taken
    assert [entry for entry, _ in evidence.controls[0]] == ["0-1", *followers]
    assert {fate.deliveries for fate in fates_of(evidence) if fate.entry != taken} == {(1_000,)}


def test_a_long_history_of_plans_can_be_taken_over(
    make_shard: Callable[..., Shard], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a shard with many plans, each of which takes a sixteenth of a lease to read
    shard = make_shard()
    shard.drain()
    with shard.client.pipeline(transaction=False) as pipe:
        for number in range(800):
            plan = PlanChange((Planned(number, "delay 1ms"),))
            pipe.xadd(shard.keys.control(0), {"control": encode_control(plan)}, id=f"1-{number + 1}")
        pipe.execute()
    shard.send(10)
    now_s, remember = 0.0, Relay.remember

    def remember_slowly(relay: Relay, *control: Any) -> None:
        nonlocal now_s
        now_s += lease.LEASE_MS / 16_000
        remember(relay, *control)

    monkeypatch.setattr(lease, "LEASE_MS", 100 * lease.LEASE_MS)  # on the server, whose clock runs on
    monkeypatch.setattr(lease, "time", SimpleNamespace(monotonic=lambda: now_s))
    monkeypatch.setattr(Relay, "remember", remember_slowly)

    def report(event: AnyEvent) -> None:
        assert not isinstance(event, RelayDeposed)

    # When a relay takes over, then it keeps its lease all the time
    shard.relay(emit=report).run(lambda: True)
    # And all is decided by the last of them
    assert {fate.deliveries for fate in fates_of(shard.evidence.collect())} == {(1_000,)}


def test_a_standby_does_not_keep_polling_a_lease_that_never_ends(make_shard: Callable[..., Shard]) -> None:
    shard = make_shard()
    shard.client.set(shard.keys.lease(0), "by hand")

    with BulkLine(shard.client) as line:
        assert Lease(line, shard.keys.lease(0), "me").take() == POLL_S
