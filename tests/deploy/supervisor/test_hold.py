"""A run that is held back begins when a person lets it, and neither sooner nor twice. A real server, no processes."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest
import redis

from broker.control_entries import PlanChange
from broker.ports.run import RunSpec
from broker.streams.connection import Server, connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.run.control import StreamRunControl
from deploy.attach.context import RunInfo, context_on
from deploy.attach.events import RunEvents
from deploy.processes.signals import ShutdownSignals
from deploy.supervisor.injector import LiveInjector, NoChildren
from deploy.supervisor.supervisor import RunSupervisor
from robots.run.deal import Terms
from robots.run.stop_rule import Bounds
from telemetry.events import AnyEvent, RobotBorn, RunHeldBack, RunStarted, Stamped
from telemetry.view import View
from tests.support.waiting import DEADLINE_S

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")]

ROBOTS = ("r00", "r01")
MORE_STEPS = 20  # of a supervisor, in which it reads its orders several times


class NoProcesses:
    """None is on this host."""

    is_whole = True

    def poll(self, timeout_s: float, read_end: int) -> None:
        select.select([read_end], [], [], timeout_s)


class HeldRun:
    """A run that was dealt on a server, and the supervisors that lead it, one after the other."""

    def __init__(self, client: redis.Redis, is_held: bool = True) -> None:
        self.stamped: list[Stamped] = []
        self.is_pressed = False
        self._numbers = count()
        self.run_control = StreamRunControl(client, "t")
        journals = {robot: [b"header"] for robot in ROBOTS}
        self.run_control.deal(RunSpec("t", 1, PlanChange(()), journals, b"terms"))
        self._client = client
        self._info = RunInfo("t", ROBOTS, Terms(2, 1, 7, 50_000, 0, 0), [], Bounds(0, 60_000_000), is_held=is_held)

    def be_born(self, *robots: str) -> None:
        for robot in robots:
            events = RunEvents(self._client, "t", robot, lambda _stamped: None)
            events.emit(RobotBorn(1, 0))
            events.publish()

    def supervise(self, until: Callable[[], bool], more_steps: int = 0) -> None:
        """One more supervisor leads until then, and for some steps more; then it leaves."""
        deadline, left = time.monotonic() + DEADLINE_S, more_steps

        def observe(_view: View, _away_s: float) -> None:
            nonlocal left
            assert time.monotonic() < deadline
            if until():
                left -= 1
                if left < 0:
                    shutdown.reason = "interrupted"

        with ShutdownSignals() as shutdown:
            server = Server(self._client, self._client)
            source = f"supervisor:{next(self._numbers)}"
            context = context_on(server, self._info, source, self.stamped.append)
            injector = LiveInjector(context, NoChildren())
            supervisor = RunSupervisor(
                context, NoProcesses(), injector, shutdown, observe, asked=lambda: self.is_pressed
            )
            assert supervisor.supervise() == "interrupted"
            supervisor.leave()
            context.events.publish()

    def has(self, kind: type[AnyEvent]) -> Callable[[], bool]:
        return lambda: bool(self.reported(kind))

    def reported(self, kind: type[AnyEvent]) -> list[AnyEvent]:
        """The events of a kind, each once, although every supervisor reads those of earlier ones."""
        once = {(stamped.source, stamped.number): stamped.event for stamped in self.stamped}
        return [event for event in once.values() if isinstance(event, kind)]

    def orders(self) -> list[str]:
        return [order.order for order in StreamRunControl(self._client, "t").orders()]


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    with connect(server.url) as client:
        client.flushall()
        yield client


def test_go_is_not_given_until_a_person_lets_the_run_begin(client: redis.Redis) -> None:
    # Given a run that is held back, whose robots are all born
    held = HeldRun(client)
    held.be_born(*ROBOTS)

    # When it is led for a while
    held.supervise(held.has(RunHeldBack), MORE_STEPS)

    # Then it waits, and reports that once
    assert held.orders() == ["dealt"]
    assert held.reported(RunHeldBack) == [RunHeldBack(2)]

    # When a person lets it begin, while no supervisor leads it, and a successor comes
    held.run_control.order("begin")
    held.supervise(held.has(RunStarted), MORE_STEPS)

    # Then go is given once, and the hold was not reported again
    assert held.orders() == ["dealt", "begin", "go"]
    assert held.reported(RunStarted) == [RunStarted(2)]
    assert held.reported(RunHeldBack) == [RunHeldBack(2)]


def test_a_run_that_may_begin_before_its_robots_are_born_begins_with_them(client: redis.Redis) -> None:
    # Given a run that a person let begin before any birth
    held = HeldRun(client)
    held.run_control.order("begin")
    steps = iter(range(MORE_STEPS))
    held.supervise(lambda: next(steps, None) is None)
    assert held.orders() == ["dealt", "begin"]

    # When its robots are born
    held.be_born(*ROBOTS)
    held.supervise(held.has(RunStarted))

    # Then it begins, and was never held back
    assert held.orders() == ["dealt", "begin", "go"]
    assert not held.has(RunHeldBack)()


def test_enter_at_the_terminal_of_a_supervisor_gives_the_same_order_once(client: redis.Redis) -> None:
    held = HeldRun(client)
    held.be_born(*ROBOTS)
    held.supervise(held.has(RunHeldBack))

    held.is_pressed = True
    held.supervise(held.has(RunStarted), MORE_STEPS)

    assert held.orders() == ["dealt", "begin", "go"]


def test_a_run_that_is_not_held_back_needs_no_person(client: redis.Redis) -> None:
    held = HeldRun(client, is_held=False)
    held.be_born(*ROBOTS)
    held.is_pressed = True

    held.supervise(held.has(RunStarted), MORE_STEPS)

    assert held.orders() == ["dealt", "go"]
    assert not held.has(RunHeldBack)()
