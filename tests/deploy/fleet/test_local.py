"""Which deaths of a parent's children are charged to them. No process is made here, and no server asked."""

import signal
from pathlib import Path

import pytest

from broker.streams.address import Address
from broker.streams.connection import Server
from deploy.attach.context import RunInfo, context_on
from deploy.fleet.local import LocalFleet
from deploy.processes.children import ChildDeath
from deploy.processes.server import RunServer
from robots.run.deal import Terms
from robots.run.stop_rule import Bounds
from telemetry.events import Stamped, WorkerGaveUp

NOWHERE = Address.one("unix:///nowhere.sock")
RELAY = "relay:0"


class Dying:
    """Children that die as they are told here, and start at once."""

    def __init__(self) -> None:
        self.living: dict[str, int] = {}
        self.deaths: list[ChildDeath] = []

    def signal(self, name: str, number: int) -> None:
        pass

    def start(self, name: str, body: object, log: Path) -> int:
        return 1

    def poll(self, timeout_s: float, *others: int) -> list[ChildDeath]:
        deaths, self.deaths = self.deaths, []
        return deaths


class Parent:
    """A parent of one relay, which it gives up at its sixth death that is charged to it."""

    def __init__(self, logs: Path) -> None:
        info = RunInfo("abc123", ("r00",), Terms(1, 1, 1, 100_000, 0, 0), [], Bounds(0, 0))
        self._reported: list[Stamped] = []
        context = context_on(Server.at(NOWHERE), info, "lab", self._reported.append)
        self._fleet = LocalFleet(context, RunServer(NOWHERE), None, logs)  # type: ignore[arg-type]
        self._children = self._fleet.children = Dying()  # type: ignore[assignment]

    def see_death_after(self, *numbers: int) -> None:
        """The relay is sent these signals, and dies."""
        for number in numbers:
            self._fleet.signal(RELAY, number)
        self._children.deaths = [ChildDeath(RELAY, 1, -9)]
        self._fleet.poll(0, 0)

    @property
    def has_given_up(self) -> bool:
        return any(isinstance(stamped.event, WorkerGaveUp) for stamped in self._reported)


@pytest.mark.parametrize(
    ("numbers", "is_charged"),
    [
        ((), True),
        ((signal.SIGKILL,), False),
        ((signal.SIGTERM,), False),
        ((signal.SIGSTOP,), False),
        ((signal.SIGCONT,), True),
        ((signal.SIGSTOP, signal.SIGCONT), True),
        ((signal.SIGSTOP, signal.SIGTERM, signal.SIGCONT), False),
        ((signal.SIGSTOP, signal.SIGCONT, signal.SIGSTOP), False),
    ],
    ids=lambda given: "-".join(number.name for number in given) if isinstance(given, tuple) else "",
)
def test_a_death_is_charged_unless_the_lab_ended_the_process_or_had_stopped_it(
    tmp_path: Path, numbers: tuple[int, ...], is_charged: bool
) -> None:
    parent = Parent(tmp_path)

    for _ in range(6):
        parent.see_death_after(*numbers)

    assert parent.has_given_up == is_charged


def test_an_injection_excuses_one_death(tmp_path: Path) -> None:
    parent = Parent(tmp_path)
    parent.see_death_after(signal.SIGSTOP, signal.SIGKILL)

    for _ in range(6):
        assert not parent.has_given_up
        parent.see_death_after()

    assert parent.has_given_up
