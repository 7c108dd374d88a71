"""Hands on the processes of a live run: which of them a name means when it is struck. No process is made here."""

import signal

import pytest

from broker.streams.connection import connect
from deploy.brief import Brief
from deploy.vantage import vantage_on
from deploy.victims import LiveVictims
from robots.ending import Bounds
from robots.robot import Terms


class Children:
    """A fleet of which every child only remembers its signals. `runs` tells which of them runs each robot now."""

    def __init__(self, *names: str) -> None:
        self.living = dict.fromkeys(names, 0)
        self.heard: list[tuple[str, int]] = []
        self.runs: dict[str, str] = {}

    def signal(self, name: str, number: int) -> None:
        self.heard.append((name, number))

    def worker_of(self, robot: str) -> str | None:
        return self.runs.get(robot)


def hands_on(children: Children, runs: dict[str, str]) -> LiveVictims:
    """Victims of whom `runs` tells which child runs each robot now; no other host runs any."""
    children.runs = runs
    client = connect("unix:///nowhere.sock")  # never asked
    brief = Brief("abc123", ("r00", "r01"), Terms(2, 1, 1, 100_000, 0, 0), [], Bounds(0, 0))
    return LiveVictims(vantage_on(client, brief, "lab", lambda _stamped: None), children)


@pytest.mark.parametrize("name", ["rq:r01", "relay:0", "redis"])
def test_an_end_in_order_is_asked_for_by_sigterm(name: str) -> None:
    children = Children("rq:w01", "relay:0", "redis")

    assert hands_on(children, {"r01": "rq:w01"}).restart(name)
    assert children.heard == [("rq:w01" if name == "rq:r01" else name, signal.SIGTERM)]


def test_the_rq_worker_that_was_paused_goes_on_whomever_it_runs_by_then() -> None:
    # Given an RQ worker that was paused for so long that its robot lives elsewhere
    children, runs = Children("rq:w00", "rq:w01"), {"r01": "rq:w01"}
    victims = hands_on(children, runs)
    assert victims.pause("rq:r01")
    runs["r01"] = "rq:w00"

    # When it is resumed, then it is that one who goes on
    assert victims.resume("rq:r01")
    assert children.heard == [("rq:w01", signal.SIGSTOP), ("rq:w01", signal.SIGCONT)]

    # And nobody does if it has died
    assert victims.pause("rq:r01")
    del children.living["rq:w00"]
    assert not victims.resume("rq:r01")


def test_a_robot_that_nobody_runs_cannot_be_struck() -> None:
    victims = hands_on(Children("rq:w00"), {})

    assert not any(strike(name) for strike in (victims.restart, victims.pause) for name in ("r01", "rq:r01", "relay:9"))
