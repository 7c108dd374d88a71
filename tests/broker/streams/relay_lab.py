"""A shard as its robots and its relays see it, and relays in processes of their own. No tests here."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO, Any

import msgspec
from redis.exceptions import ResponseError

from broker.control_entries import Control, PlanChange, Planned, encode_control
from broker.envelope import Envelope, decode, encode
from broker.parent_death import die_with_parent
from broker.ports.run import Evidence, RunSpec
from broker.relay.core import Fate, Relay
from broker.streams.connection import connect
from broker.streams.keys import Keys
from broker.streams.relay.driver import RelayDriver
from broker.streams.relay.wire import GROUP
from broker.streams.run.control import StreamRunControl
from broker.streams.run.evidence import StreamEvidenceReader
from telemetry.events import AnyEvent

SEED = 7
ROBOTS = ("r00", "r01", "r02")
STORMY = ("loss 0.2", "duplicate 0.3", "delay 1ms..20ms", "reorder 0.2")
run_numbers = count()

Copies = Counter[tuple[str, int, int, int]]
"""How often each copy (sender, incarnation, sequence, number) stands in an inbox."""


class Shard:
    """A run as its robots and its relays see it; of its shards, mostly the first."""

    def __init__(self, url: str, *faults: str, shards: int = 1) -> None:
        self.run = f"p{next(run_numbers)}"
        self.url = url
        self.keys = Keys(self.run)
        self.plan = planned(*faults)
        self.client = connect(url)
        self.run_control = StreamRunControl(self.client, self.run)
        self.evidence = StreamEvidenceReader(self.client, self.run)
        self.run_control.deal(RunSpec(self.run, shards, self.plan, {robot: [b"header"] for robot in ROBOTS}, b""))
        self.events: list[AnyEvent] = []
        self.sent = 0

    def send(
        self, envelopes: int, sender: str = "r00", receiver: str = "r01", incarnation: int = 1, shard: int = 0
    ) -> None:
        with self.client.pipeline(transaction=False) as pipe:
            for sequence in range(1, envelopes + 1):
                frame = encode(Envelope(self.run, sender, incarnation, receiver, sequence, b"exchange", "summary", b""))
                pipe.xadd(self.keys.outbox(shard), {"envelope": frame})
            pipe.execute()
        self.sent += envelopes

    def control(self, control: Control) -> str:
        """Put a control entry into the outbox; its id."""
        return str(self.client.xadd(self.keys.outbox(0), {"control": encode_control(control)}).decode())

    def relay(
        self,
        url: str | None = None,
        shards: tuple[int, ...] = (0,),
        emit: Callable[[AnyEvent], None] | None = None,
        **rest: Any,
    ) -> RelayDriver:
        rest = {"holder": "parent"} | rest
        new_core = partial(Relay, self.run, SEED)
        return RelayDriver(url or self.url, self.run, shards, new_core, emit or self.events.append, **rest)

    def drain(self) -> Evidence:
        """Let a relay do what is there, and collect."""
        self.relay().run(lambda: True)
        return self.evidence.collect()

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
                envelope = decode(fields[b"envelope"])
                assert isinstance(envelope, Envelope)
                assert envelope.receiver == robot
                copies[envelope.sender, envelope.incarnation, envelope.sequence, int(fields[b"copy"])] += 1
        return copies


class RelayGroup:
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
                with (self._folder / str(os.getpid())).open("wb", buffering=0) as reported:
                    emit = partial(self._report, reported)
                    shard.relay(emit=emit, failpoint=deadly(dies_at), **rest).run(lambda: False)
            finally:
                os._exit(1)
        self._living.add(pid)
        return pid

    @staticmethod
    def _report(reported: IO[bytes], event: AnyEvent) -> None:
        reported.write(msgspec.json.encode(event) + b"\n")

    def reported(self, pid: int) -> list[AnyEvent]:
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

    def failpoint(point: str) -> None:
        passed[point] += 1
        if (point, passed[point]) == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    return failpoint


def fates_of(evidence: Evidence) -> list[Fate]:
    return [fate for row in evidence.fates[0] for fate in row.fates]


def decided_entries(evidence: Evidence) -> set[str]:
    return {fate.entry for fate in fates_of(evidence)}


def redone_in(evidence: Evidence) -> Counter[str]:
    """How often each entry was about to be redone."""
    return Counter(entry for row in evidence.fates[0] for entry in row.redo)


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
