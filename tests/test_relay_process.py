"""The real relay between real streams: what it must never lose, whatever cuts it short."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO, Any

import msgspec
import pytest
from cutting_proxy import CuttingProxy
from redis.exceptions import ResponseError
from waiting import await_true

from broker.control_entries import Birth, Control, PlanChange, Planned, encode_control
from broker.envelope import Envelope, decode, encode
from broker.errors import Unavailable
from broker.faults.dice import Dice
from broker.faults.fate import Plan
from broker.parent_death import die_with_parent
from broker.ports.run import Dealing, Evidence
from broker.relay.core import BATCH, Fate, Relay
from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from broker.streams.relay.driver import RelayProcess
from broker.streams.relay.lease import POLL_S, Lease
from broker.streams.relay.wire import GROUP, Line
from broker.streams.run.control import StreamDesk
from broker.streams.run.events import StreamEventSource
from deploy.fleet.relay_main import volunteer
from robots.run.deal import Terms, encode_terms
from telemetry.events import AnyEvent, FatesDecided, PlanChanged, RelayCongested, RelayDeposed, RelayResumed
from telemetry.stream.publisher import decode_events

pytestmark = pytest.mark.live

ROOT = Path(__file__).parent.parent
SEED = 7
ROBOTS = ("r00", "r01", "r02")
STORMY = ("loss 0.2", "duplicate 0.3", "delay 1ms..20ms", "reorder 0.2")
_runs = count()

Copies = Counter[tuple[str, int, int, int]]
"""How often each copy (sender, incarnation, sequence, number) stands in an inbox."""


class Shard:
    """A run as its robots and its relays see it; of its shards, mostly the first."""

    def __init__(self, url: str, *faults: str, shards: int = 1) -> None:
        self.run = f"p{next(_runs)}"
        self.url = url
        self.keys = Keys(self.run)
        self.plan = planned(*faults)
        self.client = connect(url)
        self.desk = StreamDesk(self.client, self.run)
        self.desk.deal(Dealing(self.run, shards, self.plan, {robot: [b"header"] for robot in ROBOTS}, b""))
        self.events: list[AnyEvent] = []
        self.sent = 0

    def send(
        self, envelopes: int, sender: str = "r00", receiver: str = "r01", incarnation: int = 1, shard: int = 0
    ) -> None:
        with self.client.pipeline(transaction=False) as pipe:
            for sequence in range(1, envelopes + 1):
                frame = encode(Envelope(self.run, sender, incarnation, receiver, sequence, b"exchange", "summary", b""))
                pipe.xadd(self.keys.outbox(shard), {"e": frame})
            pipe.execute()
        self.sent += envelopes

    def control(self, control: Control) -> str:
        """Put a control entry into the outbox; its id."""
        return str(self.client.xadd(self.keys.outbox(0), {"x": encode_control(control)}).decode())

    def relay(
        self,
        url: str | None = None,
        shards: tuple[int, ...] = (0,),
        emit: Callable[[AnyEvent], None] | None = None,
        **rest: Any,
    ) -> RelayProcess:
        rest = {"holder": "parent"} | rest
        return RelayProcess(url or self.url, self.run, shards, SEED, emit or self.events.append, **rest)

    def drain(self) -> Evidence:
        """Let a relay do what is there, and collect."""
        self.relay().run(lambda: True)
        return self.desk.collect()

    @contextmanager
    def relaying(self, url: str | None = None) -> Iterator[None]:
        """A relay at work beside us, drained at the end."""
        done = threading.Event()
        thread = threading.Thread(target=self.relay(url).run, args=(done.is_set,))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def pending(self, shard: int = 0) -> int:
        try:
            return int(self.client.xpending(self.keys.outbox(shard), GROUP)["pending"])
        except ResponseError:  # no relay has founded the group yet
            return 0

    def holder(self, shard: int = 0) -> str | None:
        """Who has the shard's lease."""
        token = self.client.get(self.keys.lease(shard))
        return None if token is None else token.decode()

    def delivered(self) -> Copies:
        copies: Copies = Counter()
        for robot in ROBOTS:
            for _, fields in self.client.xrange(self.keys.inbox(robot)):
                envelope = decode(fields[b"e"])
                assert isinstance(envelope, Envelope)
                assert envelope.receiver == robot
                copies[envelope.sender, envelope.incarnation, envelope.sequence, int(fields[b"c"])] += 1
        return copies


class Relays:
    """Relays in processes of their own, killed at the end of a test. What they tell goes into files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._living: set[int] = set()

    def fork(self, shard: Shard, dies_at: tuple[str, int] | None = None, **rest: Any) -> int:
        """A relay's pid. One that `dies_at` a point kills itself when it passes there for the n-th time."""
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                die_with_parent(parent)
                with (self._folder / str(os.getpid())).open("wb", buffering=0) as told:
                    emit = partial(self._tell, told)
                    shard.relay(emit=emit, passing=deadly(dies_at), **rest).run(lambda: False)
            finally:
                os._exit(1)
        self._living.add(pid)
        return pid

    @staticmethod
    def _tell(told: IO[bytes], event: AnyEvent) -> None:
        told.write(msgspec.json.encode(event) + b"\n")

    def told(self, pid: int) -> list[AnyEvent]:
        path = self._folder / str(pid)
        lines = path.read_bytes().splitlines() if path.exists() else []
        return [msgspec.json.decode(line, type=AnyEvent) for line in lines]

    def signal(self, pid: int, number: int) -> None:
        os.kill(pid, number)
        if number == signal.SIGKILL:
            os.waitpid(pid, 0)
            self._living.discard(pid)

    def is_dead(self, pid: int) -> bool:
        if pid in self._living and os.waitpid(pid, os.WNOHANG)[0]:
            self._living.discard(pid)
        return pid not in self._living

    def end(self) -> None:
        for pid in list(self._living):
            self.signal(pid, signal.SIGKILL)


def planned(*faults: str) -> PlanChange:
    return PlanChange(tuple(Planned(number, text) for number, text in enumerate(faults)))


def deadly(dies_at: tuple[str, int] | None) -> Callable[[str], None]:
    """What kills its process at the n-th time that it is told of that point."""
    passed: Counter[str] = Counter()

    def passing(point: str) -> None:
        passed[point] += 1
        if (point, passed[point]) == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    return passing


@pytest.fixture
def relays(tmp_path: Path) -> Iterator[Relays]:
    processes = Relays(tmp_path)
    yield processes
    processes.end()


@pytest.fixture
def make_shard(server: EmbeddedServer) -> Iterator[Callable[..., Shard]]:
    shards: list[Shard] = []

    def make(*faults: str, **rest: Any) -> Shard:
        shards.append(Shard(server.url, *faults, **rest))
        return shards[-1]

    yield make
    for shard in shards:
        shard.client.close()


def fates_of(evidence: Evidence) -> list[Fate]:
    return [row for row in evidence.fates[0] if isinstance(row, Fate)]


def decided_entries(evidence: Evidence) -> set[str]:
    return {fate.entry for fate in fates_of(evidence)}


def redone_in(evidence: Evidence) -> Counter[str]:
    """How often each entry was about to be redone."""
    return Counter(entry for row in evidence.fates[0] if isinstance(row, list) for entry in row)


def decided(evidence: Evidence) -> Copies:
    """The copies that the recorded fates promise, each entry counted once."""
    fates = {fate.entry: fate for fate in fates_of(evidence)}
    return Counter(
        (str(fate.sender), int(fate.incarnation or 0), int(fate.sequence or 0), number)
        for fate in fates.values()
        for number in range(len(fate.deliveries))
    )


def refusals(shard: Shard) -> int:
    """How many commands the server has refused because it has no memory."""
    return int(shard.client.info("errorstats").get("errorstat_OOM", {}).get("count", 0))


def assert_nothing_lost(shard: Shard, evidence: Evidence, envelopes: int) -> None:
    """Every envelope has fates that are all equal, and its copies arrived: more than once only if it was redone."""
    fates = fates_of(evidence)
    by_entry = {fate.entry: fate for fate in fates}
    assert len(by_entry) == envelopes
    assert all(fate == by_entry[fate.entry] for fate in fates)
    delivered, promised = shard.delivered(), decided(evidence)
    assert set(delivered) == set(promised)
    redone = redone_in(evidence)
    redone_copies = sum(len(by_entry[entry].deliveries) * times for entry, times in redone.items() if entry in by_entry)
    assert 0 <= delivered.total() - promised.total() <= redone_copies
    assert shard.pending() == 0


def test_every_envelope_is_delivered_as_its_fate_says(make_shard: Callable[..., Shard]) -> None:
    # Given a stormy plan, and 600 envelopes between robots
    shard = make_shard(*STORMY)
    for sender, receiver in (("r00", "r01"), ("r01", "r02"), ("r02", "r00")):
        shard.send(200, sender, receiver)
    # When the relay has done them
    evidence = shard.drain()
    # Then each has one fate, and it is what the plan and the dice say
    plan, dice = Plan(shard.plan), Dice(SEED)
    fates = fates_of(evidence)
    assert len(fates) == 600
    for fate in fates:
        assert (fate.sender, fate.incarnation, fate.receiver, fate.sequence) != (None, None, None, None)
        assert (
            fate.deliveries
            == plan.fate(dice, str(fate.sender), 1, str(fate.receiver), int(fate.sequence or 0)).deliveries
        )
    # And the inboxes hold exactly the copies that these fates say
    assert shard.delivered() == decided(evidence)
    assert shard.pending() == 0
    assert sum(inbox.added for inbox in evidence.inboxes.values()) == decided(evidence).total()
    # And the telling agrees
    told = [event for event in shard.events if isinstance(event, FatesDecided)]
    assert sum(event.offered for event in told) == 600
    assert sum(event.copies for event in told) == decided(evidence).total()
    assert shard.events[:2] == [RelayResumed(0, 0), PlanChanged(0, (), STORMY)]


def test_a_late_copy_waits_for_its_time(make_shard: Callable[..., Shard]) -> None:
    # Given a plan that holds everything back for 150 ms
    shard = make_shard("delay 150ms")
    with shard.relaying():
        shard.send(3)
        [*_, last] = shard.client.xrange(shard.keys.outbox(0))
        await_true(lambda: shard.delivered().total() == 3)
    # Then no copy arrived before its time, by the server's own clock
    [first, *_] = shard.client.xrange(shard.keys.inbox("r01"))
    sent_ms, came_ms = (int(entry.partition(b"-")[0]) for entry in (last[0], first[0]))
    assert came_ms - sent_ms >= 149


def test_acknowledgements_do_not_wait_for_work(make_shard: Callable[..., Shard]) -> None:
    shard = make_shard()
    with shard.relaying():
        shard.send(5)
        await_true(lambda: shard.delivered().total() == 5)
        await_true(lambda: shard.pending() == 0)


def test_control_entries_are_copied_under_their_own_ids(make_shard: Callable[..., Shard]) -> None:
    # Given an older life's envelopes before and after its successor's birth
    shard = make_shard()
    outbox = shard.keys.outbox(0)
    shard.send(2, incarnation=1)
    birth = Birth("r00", 2, "nonce")
    entry = shard.client.xadd(outbox, {"x": encode_control(birth)})
    shard.send(3, incarnation=1)
    # When the relay has done them, twice over
    shard.drain()
    evidence = shard.drain()
    # Then the plan and the birth stand in the control stream as they stood in the outbox
    assert [control for _, control in evidence.controls[0]] == [shard.plan, birth]
    assert evidence.controls[0][1][0] == entry.decode()
    # And what stood after the birth was stale
    assert [fate.state for fate in fates_of(evidence)] == ["delivered"] * 2 + ["stale"] * 3
    assert shard.delivered().total() == 2


def test_garbage_is_refused_and_done_with(make_shard: Callable[..., Shard]) -> None:
    # Given what people may put into an outbox by hand, between envelopes
    shard = make_shard()
    good = encode(Envelope(shard.run, "r00", 1, "r01", 1, b"exchange", "summary", b""))
    garbage: list[dict[Any, Any]] = [
        {"e": b"garbage"},
        {"what": b"is this"},
        {"x": b"no control"},
        {"x": encode_control(planned("no such fault"))},
        {"x": encode_control(planned("loss 0.5")) + b"\0" * 100_000},
        {"e": b"\0" * 1_000_000},
        {"e": good, "x": b""},
        {"f" * 1000: b"v", "t": b""},
        {"e": encode(Envelope("other", "r00", 1, "r01", 1, b"exchange", "summary", b""))},
        {"e": encode(Envelope(shard.run, "r00", 1, "events", 1, b"exchange", "summary", b""))},
    ]
    for fields in garbage * 10:
        shard.send(1)
        shard.client.xadd(shard.keys.outbox(0), fields)
    # When the relay meets it
    evidence = shard.drain()
    # Then it is refused and counted, and everything is done with
    assert Counter(fate.state for fate in fates_of(evidence)) == {"delivered": 100, "refused": 100}
    assert sum(event.refused for event in shard.events if isinstance(event, FatesDecided)) == 100
    assert shard.pending() == 0
    assert shard.delivered().total() == 100
    assert [control for _, control in evidence.controls[0]] == [shard.plan]


def test_a_relay_killed_with_copies_in_hand_is_followed_by_one_that_redoes_them(
    make_shard: Callable[..., Shard], relays: Relays
) -> None:
    # Given a relay that has decided some fates, and holds every copy for long
    shard = make_shard("loss 0.2", "duplicate 0.3", "delay 10s..20s")
    shard.send(600)
    pid = relays.fork(shard)
    await_true(lambda: len(fates_of(shard.desk.collect())) == 600)
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
def test_a_relay_may_die_at_any_point(make_shard: Callable[..., Shard], relays: Relays, point: str) -> None:
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


def test_relays_killed_again_and_again_lose_nothing(make_shard: Callable[..., Shard], relays: Relays) -> None:
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


def test_one_that_stands_by_takes_over_within_a_second(make_shard: Callable[..., Shard], relays: Relays) -> None:
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
        relays.signal(pids.pop(holder), signal.SIGKILL)
        killed_s = time.monotonic()
        shard.send(5, incarnation=life + 10)
        # Then another goes on
        await_true(lambda life=life: len(shard.delivered()) == 10 * life)
        seconds.append(time.monotonic() - killed_s)
        assert shard.holder() in pids
        # And whoever still stands by has done nothing
        assert all(relays.told(pid) == [] for name, pid in pids.items() if name != shard.holder())
    # And no later than that (a busy machine may have delayed one of the two)
    assert min(seconds) <= 1.0, seconds


def test_a_relay_paused_beyond_its_lease_does_no_harm(make_shard: Callable[..., Shard], relays: Relays) -> None:
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
    await_true(lambda: RelayDeposed(0) in relays.told(first))
    # And takes its turn again when the other is gone
    relays.signal(second, signal.SIGKILL)
    shard.send(50, incarnation=3)
    await_true(lambda: shard.holder() == "first")
    await_true(lambda: len(decided_entries(shard.desk.collect())) == 450)
    relays.signal(first, signal.SIGKILL)
    # And all is as if nothing had been
    evidence = shard.drain()
    assert_nothing_lost(shard, evidence, 450)
    assert {fate.state for fate in fates_of(evidence)} == {"delivered"}


def test_a_relay_paused_between_reading_and_writing_reads_nothing_behind_its_successors_back(
    make_shard: Callable[..., Shard], relays: Relays
) -> None:
    # Given a relay that took a plan change and envelopes, and was paused before it wrote anything
    shard = make_shard()
    first = relays.fork(shard, holder="first")
    await_true(lambda: shard.holder() == "first" and shard.desk.collect().controls[0] and shard.pending() == 0)
    relays.signal(first, signal.SIGSTOP)
    shard.control(planned("loss 0.9"))
    shard.send(100)
    # When another has taken over, and it goes on
    second = relays.fork(shard, holder="second")
    await_true(lambda: len(decided_entries(shard.desk.collect())) == 100)
    relays.signal(first, signal.SIGCONT)
    shard.send(100, incarnation=2)
    await_true(lambda: RelayDeposed(0) in relays.told(first))
    await_true(lambda: len(decided_entries(shard.desk.collect())) == 200)
    relays.signal(first, signal.SIGKILL)
    relays.signal(second, signal.SIGKILL)
    # Then every fate was decided by the plan before it
    evidence = shard.drain()
    assert_nothing_lost(shard, evidence, 200)
    plan, dice = Plan(planned("loss 0.9")), Dice(SEED)
    for fate in fates_of(evidence):
        fated = plan.fate(dice, "r00", int(fate.incarnation or 0), "r01", int(fate.sequence or 0))
        assert fate.deliveries == fated.deliveries


def test_each_relay_takes_the_first_shard_that_is_free(make_shard: Callable[..., Shard], relays: Relays) -> None:
    # Given two shards, and three relays for whichever is free
    shard = make_shard("delay 1ms", shards=2)
    pids = {}
    for name in ("a", "b", "c"):
        pids[name] = relays.fork(shard, holder=name, shards=(0, 1), drains=False)
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


def test_a_volunteer_leaves_when_the_run_is_stopped(make_shard: Callable[..., Shard], tmp_path: Path) -> None:
    # Given a live run of two shards, and a volunteer for the second
    shard = make_shard("delay 50s", shards=2)
    folder = tmp_path / shard.run
    folder.mkdir()
    (folder / "live.json").write_text(json.dumps({"url": shard.url, "pid": os.getpid()}))
    terms = encode_terms(Terms(len(ROBOTS), 2, SEED, 100_000, 1_000_000, 0))
    shard.client.delete(shard.keys.orders)
    shard.desk.deal(Dealing(shard.run, 2, shard.plan, {robot: [b"header"] for robot in ROBOTS}, terms))
    command = [sys.executable, "-m", "deploy", "relay", "--runs-dir", str(tmp_path), "--shard", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            await_true(lambda: shard.holder(1))
            shard.send(10, shard=1)
            await_true(lambda: shard.pending(1) == 10)
            # When the run is stopped
            shard.desk.order("stop", b"complete")
            # Then it leaves, and whoever drains need not wait for its lease
            assert process.wait(10) == 0
        finally:
            process.kill()
        assert process.stderr is not None
        assert "relaying shard 1" in process.stderr.read()
    assert shard.holder(1) is None
    assert shard.pending(1) == 10


@pytest.mark.parametrize("request_cut", [b"XREADGROUP", b"XACK", b"MAXLEN", b"PEXPIRE", b":control"])
def test_lost_replies_lose_nothing(
    make_shard: Callable[..., Shard], server: EmbeddedServer, request_cut: bytes
) -> None:
    # Given a relay behind a proxy that loses replies
    shard = make_shard(*STORMY)
    proxy = CuttingProxy(server.folder / "redis.sock", server.folder / f"relay{next(_runs)}.sock")
    try:
        proxy.cut(request_cut, times=1 if request_cut == b":control" else 3)
        with shard.relaying(proxy.url):
            for incarnation in range(1, 6):
                shard.send(100, incarnation=incarnation)
                await_true(lambda offered=100 * incarnation: len(decided_entries(shard.desk.collect())) == offered)
        assert proxy.cuts >= 1
    finally:
        proxy.close()
    # Then every envelope is delivered as its fate says, and what was redone is on record
    assert_nothing_lost(shard, shard.desk.collect(), 500)


def test_a_server_out_of_memory_loses_nothing(make_shard: Callable[..., Shard]) -> None:
    # Given a relay that holds copies of everything
    shard = make_shard("delay 300ms", "duplicate 0.5")
    client = shard.client
    with shard.relaying():
        shard.send(400)
        await_true(lambda: len(fates_of(shard.desk.collect())) == 400)
        # When the server refuses every write as they come due
        before = refusals(shard)
        client.config_set("maxmemory", 1)
        try:
            await_true(lambda: refusals(shard) > before + 30)  # some servers refuse a relay's very lease
            # Then nothing is acknowledged
            assert shard.delivered().total() == 0
            assert shard.pending() == 400
        finally:
            client.config_set("maxmemory", 0)
        # And when there is memory again, everything arrives, once
        await_true(lambda: shard.pending() == 0)
    evidence = shard.desk.collect()
    assert shard.delivered() == decided(evidence)
    assert_nothing_lost(shard, evidence, 400)


def test_the_outbox_is_trimmed_only_below_what_is_done(make_shard: Callable[..., Shard]) -> None:
    # Given much that is done, and then one entry that is held for long
    shard = make_shard("delay 1ms")
    shard.send(3000)
    shard.drain()
    assert shard.desk.collect().outboxes[0].length == 3001
    slow = PlanChange((Planned(0, "delay 50s"),))
    shard.client.xadd(shard.keys.outbox(0), {"x": encode_control(slow)})
    with shard.relaying():
        shard.send(1, incarnation=2)
        # When the relay does its chores
        await_true(lambda: shard.desk.collect().outboxes[0].length < 200)
        # Then what is not acknowledged stands there still
        await_true(lambda: shard.pending() == 1)
        [oldest] = shard.client.xpending_range(shard.keys.outbox(0), GROUP, "-", "+", 1)
        assert shard.client.xrange(shard.keys.outbox(0), oldest["message_id"], oldest["message_id"])
    assert_nothing_lost(shard, shard.desk.collect(), 3001)


def test_what_was_refused_for_want_of_memory_is_redone_later(make_shard: Callable[..., Shard], relays: Relays) -> None:
    # Given a relay that was killed with copies in hand, and a server that has no memory left
    shard = make_shard("delay 10s..20s")
    shard.send(300)
    pid = relays.fork(shard)
    await_true(lambda: len(fates_of(shard.desk.collect())) == 300)
    relays.signal(pid, signal.SIGKILL)
    shard.client.config_set("maxmemory", 1)
    try:
        # When another takes over
        pid = relays.fork(shard)
        before = refusals(shard)
        await_true(lambda: refusals(shard) > before + 3)
        # Then nothing is redone, because it cannot be recorded
        assert len(fates_of(shard.desk.collect())) == 300
        assert not redone_in(shard.desk.collect())
    finally:
        shard.client.config_set("maxmemory", 0)
    # And when there is memory again, it is
    await_true(lambda: len(redone_in(shard.desk.collect())) == 300)
    relays.signal(pid, signal.SIGKILL)
    assert_nothing_lost(shard, shard.drain(), 300)


def test_a_trace_goes_with_every_copy_unless_it_is_too_long(make_shard: Callable[..., Shard]) -> None:
    # Given envelopes with traces
    shard = make_shard("duplicate 1 x3")
    traces = [b"", b"\x00\xff trace", b"t" * 64, b"t" * 65, None]
    for sequence, trace in enumerate(traces, start=1):
        frame = encode(Envelope(shard.run, "r00", 1, "r01", sequence, b"exchange", "summary", b""))
        shard.client.xadd(shard.keys.outbox(0), {"e": frame} | ({} if trace is None else {"t": trace}))
    # When they are relayed
    shard.drain()
    # Then their copies bear them
    arrived = [fields.get(b"t") for _, fields in shard.client.xrange(shard.keys.inbox("r01"))]
    assert arrived == [trace for trace in (b"", b"\x00\xff trace", b"t" * 64, None, None) for _ in range(3)]
    assert shard.delivered().total() == 15


def test_what_a_partition_holds_back_comes_when_it_heals_and_else_stays_pending(
    make_shard: Callable[..., Shard],
) -> None:
    # Given a partition that holds envelopes back
    shard = make_shard("partition hold r00|r01")
    with shard.relaying():
        shard.send(10)
        shard.send(5, receiver="r02")
        await_true(lambda: shard.delivered().total() == 5)
        await_true(lambda: shard.pending() == 10)
    # When the run ends without its end, then nothing crashes, and they stay pending
    assert shard.pending() == 10
    assert len(fates_of(shard.desk.collect())) == 5
    # When a relay meets its end
    healed = shard.control(PlanChange((), request="1-1", words="heal"))
    evidence = shard.drain()
    # Then they arrive, later by as long as they were held
    assert_nothing_lost(shard, evidence, 15)
    freed_ms = int(healed.partition("-")[0])
    for fate in fates_of(evidence)[5:]:
        assert fate.deliveries == ((freed_ms - int(fate.entry.partition("-")[0])) * 1000,)
    assert PlanChanged(0, ("partition hold r00|r01",), (), "heal") in shard.events


def test_a_relay_that_holds_too_much_reads_nothing_more_for_a_while(
    make_shard: Callable[..., Shard], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a relay that may hold 100 copies
    monkeypatch.setattr("broker.relay.state.HELD_LIMIT", 100)
    shard = make_shard("delay 200ms")
    with shard.relaying():
        # When there are many more
        shard.send(1000)
        # Then it has taken little, and says so
        await_true(lambda: any(isinstance(event, RelayCongested) for event in shard.events))
        assert shard.pending() < 100 + 2 * BATCH
        # And goes on when they are due
        await_true(lambda: shard.delivered().total() == 1000)
    congestions = [event for event in shard.events if isinstance(event, RelayCongested)]
    assert all(100 <= event.held < 100 + 2 * BATCH for event in congestions)
    assert len(congestions) <= 10  # once each time, not at every look
    assert_nothing_lost(shard, shard.desk.collect(), 1000)


def test_what_a_stranger_took_from_the_outbox_is_redone(make_shard: Callable[..., Shard]) -> None:
    # Given a relay, and a person who reads from the group by hand
    shard = make_shard()
    shard.drain()
    shard.send(3)
    shard.client.xreadgroup(GROUP, "stranger", {shard.keys.outbox(0): ">"}, count=2)
    with shard.relaying():
        await_true(lambda: shard.delivered().total() == 3)
        await_true(lambda: shard.pending() == 0)
    assert redone_in(shard.desk.collect()).total() == 2


@pytest.mark.parametrize("is_followed", [True, False])
def test_a_control_entry_that_a_stranger_took_is_refused_and_stops_nothing(
    make_shard: Callable[..., Shard], relays: Relays, is_followed: bool
) -> None:
    # Given a relay that is paused, and a person who takes a plan change by hand
    shard = make_shard("delay 1ms")
    relay = relays.fork(shard)
    await_true(lambda: shard.desk.collect().controls[0] and shard.pending() == 0)
    relays.signal(relay, signal.SIGSTOP)
    taken = shard.control(planned("loss 1"))
    shard.client.xreadgroup(GROUP, "me", {shard.keys.outbox(0): ">"})
    # When another one follows, or none, and the relay goes on
    followers = [shard.control(planned("delay 1ms"))] if is_followed else []
    relays.signal(relay, signal.SIGCONT)
    shard.send(100)
    # Then all that comes later is decided, and what was taken is refused
    await_true(lambda: len(decided_entries(shard.desk.collect())) == 101)
    await_true(lambda: shard.pending() == 0)
    shard.send(100, incarnation=2)
    await_true(lambda: shard.delivered().total() == 200)
    evidence = shard.desk.collect()
    [refused] = [fate.entry for fate in fates_of(evidence) if fate.state == "refused"]
    assert refused == taken
    assert [entry for entry, _ in evidence.controls[0]] == ["0-1", *followers]
    assert {fate.deliveries for fate in fates_of(evidence) if fate.entry != taken} == {(1_000,)}


def test_what_somebody_put_into_the_control_stream_by_hand_stops_nothing(make_shard: Callable[..., Shard]) -> None:
    # Given a relay at work, and garbage in its control stream, also where the next control entries belong
    shard = make_shard("delay 1ms")
    control = shard.keys.control(0)
    with shard.relaying():
        shard.send(10)
        await_true(lambda: shard.delivered().total() == 10)
        shard.client.xadd(control, {"x": b"garbage"})
        shard.client.xadd(control, {"what": b"is this"})
        shard.client.xadd(control, {"x": encode_control(planned("no such fault"))}, id=f"{1 << 50}-0")
        # When a plan change comes that cannot be copied any more
        barred = shard.control(planned("loss 1"))
        shard.send(10, incarnation=2)
        # Then it is refused, and the work goes on under the plan before it
        await_true(lambda: shard.delivered().total() == 20)
        await_true(lambda: shard.pending() == 0)
    evidence = shard.drain()
    assert {fate.entry for fate in fates_of(evidence) if fate.state == "refused"} == {barred}
    assert {fate.deliveries for fate in fates_of(evidence) if fate.entry != barred} == {(1_000,)}
    assert ("0-1", shard.plan) in evidence.controls[0]


def test_a_long_history_of_plans_can_be_taken_over(make_shard: Callable[..., Shard]) -> None:
    # Given a shard with so many plans that reading them takes longer than a lease lasts
    shard = make_shard()
    shard.drain()
    harms = [f"delay 1ms r{number:02d}>r{number + 1:02d}" for number in range(60)]
    with shard.client.pipeline(transaction=False) as pipe:
        for number in range(800):
            faults = tuple(Planned(1000 * number + place, harm) for place, harm in enumerate(harms))
            pipe.xadd(shard.keys.control(0), {"x": encode_control(PlanChange(faults))}, id=f"1-{number + 1}")
        pipe.execute()
    shard.send(10)

    def tell(event: AnyEvent) -> None:
        assert not isinstance(event, RelayDeposed)

    # When a relay takes over, then it keeps its lease all the time
    shard.relay(emit=tell).run(lambda: True)
    # And all is decided by the last of them
    assert {fate.deliveries for fate in fates_of(shard.desk.collect())} == {(1_000,)}


def test_whoever_stands_by_does_not_busy_himself_with_a_lease_that_never_ends(make_shard: Callable[..., Shard]) -> None:
    shard = make_shard()
    shard.client.set(shard.keys.lease(0), "by hand")

    with Line(shard.client) as line:
        assert Lease(line, shard.keys.lease(0), "me").take() == POLL_S


def test_a_drain_that_cannot_settle_everything_says_so(
    make_shard: Callable[..., Shard], monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = make_shard()
    shard.send(1)
    monkeypatch.setattr(Relay, "in_hand", property(lambda relay: relay.detained + 3))

    with pytest.raises(Unavailable, match="relay 0: 3 entries"):
        shard.relay().run(lambda: True)


def test_no_event_of_a_relay_stays_unpublished_while_it_rests(make_shard: Callable[..., Shard]) -> None:
    # Given a volunteer
    shard = make_shard()
    heard: list[AnyEvent] = []
    is_over = threading.Event()
    told = StreamEventSource(shard.client, shard.keys.events)
    published: list[AnyEvent] = []

    def has_all(event: type[AnyEvent]) -> bool:
        published.extend(stamped.event for frame in told.read() for stamped in decode_events(frame))
        return published == heard and any(isinstance(each, event) for each in heard)

    work = partial(volunteer, shard.url, shard.run, (0,), SEED, is_over.is_set, heard.append)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        # When several things happen to it at once, and then nothing more
        await_true(lambda: has_all(PlanChanged))
        shard.send(1)
        # Then all of them are published all the same
        await_true(lambda: has_all(FatesDecided))
    finally:
        is_over.set()
        thread.join()
