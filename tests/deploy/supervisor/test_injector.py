"""The injector of a live run: which process a name means when a fault is injected. No process is made here."""

import signal

import pytest

from broker.faults.feasible import Lab
from broker.streams.connection import Server, connect
from deploy.attach.context import RunInfo, context_on
from deploy.rq.observed import JobSeen
from deploy.supervisor.injector import LiveInjector
from robots.run.deal import Terms
from robots.run.stop_rule import Bounds


class Children:
    """A fleet of which every child only remembers its signals. `runs` tells which of them runs each robot now."""

    def __init__(self, *names: str) -> None:
        self.living = dict.fromkeys(names, 0)
        self.received: list[tuple[str, int]] = []
        self.runs: dict[str, str] = {}

    def signal(self, name: str, number: int) -> None:
        self.received.append((name, number))

    def worker_of(self, robot: str) -> str | None:
        return self.runs.get(robot)


def injector_on(children: Children, runs: dict[str, str], afar: str = "", lab: Lab = "run") -> LiveInjector:
    """An injector on children: `runs` says which child runs each robot now, another host runs `afar`."""
    children.runs = runs
    client = connect("unix:///nowhere.sock")  # never asked
    info = RunInfo("abc123", ("r00", "r01"), Terms(2, 1, 1, 100_000, 0, 0), [], Bounds(0, 0), lab=lab)
    context = context_on(Server(client, client), info, "lab", lambda _stamped: None)
    if afar:
        context.job_table.jobs = {afar: JobSeen(afar, "running", "w", "lease")}
    return LiveInjector(context, children)


@pytest.mark.parametrize("name", ["rq:r01", "relay:0", "redis"])
def test_an_end_in_order_is_asked_for_by_sigterm(name: str) -> None:
    children = Children("rq:w01", "relay:0", "redis")

    assert injector_on(children, {"r01": "rq:w01"}).restart(name)
    assert children.received == [("rq:w01" if name == "rq:r01" else name, signal.SIGTERM)]


def test_the_rq_worker_that_was_paused_goes_on_whichever_robot_it_runs_by_then() -> None:
    # Given an RQ worker that was paused for so long that its robot lives elsewhere
    children, runs = Children("rq:w00", "rq:w01"), {"r01": "rq:w01"}
    injector = injector_on(children, runs)
    assert injector.pause("rq:r01")
    runs["r01"] = "rq:w00"

    # When it is resumed, then it is that one that goes on
    assert injector.resume("rq:r01")
    assert children.received == [("rq:w01", signal.SIGSTOP), ("rq:w01", signal.SIGCONT)]

    # And none goes on if it has died
    assert injector.pause("rq:r01")
    del children.living["rq:w00"]
    assert not injector.resume("rq:r01")


@pytest.mark.parametrize(("name", "child"), [("rq:r01", "rq:w01"), ("relay:0", "relay:0"), ("redis", "redis")])
def test_a_process_in_the_place_of_one_that_was_paused_was_never_paused(name: str, child: str) -> None:
    # Given a process that was paused, died, and was replaced
    children = Children("rq:w01", "relay:0", "redis")
    injector = injector_on(children, {"r01": "rq:w01"})
    assert injector.pause(name)
    children.living[child] = 4711

    # When it is resumed / Then that cannot be done, and no signal is sent
    assert not injector.resume(name)
    assert children.received == [(child, signal.SIGSTOP)]


def test_no_request_is_to_be_sent_to_a_server_that_is_paused() -> None:
    children = Children("redis", "relay:0")
    injector = injector_on(children, {})
    assert injector.pause("relay:0")
    assert not injector.has_paused_server

    # Given a server that is paused / Then that is known until it is resumed,
    assert injector.pause("redis")
    assert injector.has_paused_server
    assert injector.resume("redis")
    assert not injector.has_paused_server

    # or was replaced
    assert injector.pause("redis")
    children.living["redis"] = 4711
    assert not injector.has_paused_server


def test_no_fault_can_be_injected_into_a_robot_that_no_worker_runs() -> None:
    injector = injector_on(Children("rq:w00"), {})

    assert not any(
        inject(name) for inject in (injector.restart, injector.pause) for name in ("r01", "rq:r01", "relay:9")
    )


# What could be done, before it is.

CLUSTER = ("kill supervisor", "kill r01", "pause r01", "restart r01", "amnesia r01", "kill rq:r01", "restart rq:r01")
PARENT = (
    *("kill redis", "pause redis", "restart redis", "kill relay:0", "pause relay:0", "restart relay:0"),
    *("kill rq:r00", "pause rq:r00", "restart rq:r00"),
)
OF_NEITHER = ("kill r00", "pause r00", "amnesia r00", "kill relay:1", "kill rq:r07", "restart supervisor")


def test_a_parent_can_inject_into_its_children_and_a_supervisor_of_a_cluster_into_remote_robots_and_itself() -> None:
    # Given a parent whose RQ worker has no horse, and a supervisor without children, of whom others run r01
    parent = injector_on(Children("rq:w00", "relay:0", "redis"), {"r00": "rq:w00"})
    supervisor = injector_on(Children(), {}, afar="r01", lab="cluster")

    # Then each can do what it can, and says so
    injections = (*CLUSTER, *PARENT, *OF_NEITHER, "pause rq:r01")
    assert [injection for injection in injections if parent.can(*injection.split())] == [*PARENT]
    assert [injection for injection in injections if supervisor.can(*injection.split())] == [*CLUSTER]


@pytest.mark.parametrize("injection", [*PARENT, *OF_NEITHER, "kill supervisor", "pause rq:r01"])
def test_what_can_be_done_is_and_nothing_else(injection: str) -> None:
    fault, name = injection.split()
    children = Children("rq:w00", "relay:0", "redis")
    injector = injector_on(children, {"r00": "rq:w00"})

    is_possible = injector.can(fault, name)

    assert not children.received, "to ask is not to inject"
    assert getattr(injector, fault)(name) == is_possible == bool(children.received)
