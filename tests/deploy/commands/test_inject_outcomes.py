"""`robots kill`, `pause`, `resume`, `restart`, `crash`, `contradict`, `amnesia`: what they say became of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.faults.feasible import RunFacts
from broker.faults.schedule import Due
from broker.streams.embedded import EmbeddedServer
from broker.streams.run.plan_log import StreamRequests
from deploy.attach import outcomes
from tests.deploy.commands.scheduled_run import Lab
from tests.support.terminal import Terminal
from tests.support.waiting import DEADLINE_S

pytestmark = pytest.mark.live


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "WAIT_S", 0.4)
    monkeypatch.setattr(outcomes, "PROGRESS_S", 0.1)


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (("kill", "r01"), "kill r01; it died"),
        (("kill", "relay"), "kill relay, which was relay:0; it died"),
        (("kill", "supervisor"), "kill supervisor"),
        (("amnesia", "r01"), "amnesia r01; it died"),
        (("pause", "rq:r01", "--for", "9s"), "pause rq:r01 for 9s"),
        (("restart", "redis"), "restart redis"),
        (("crash", "r01/secret_merger"), "crash r01/secret_merger"),
        (("contradict", "r01"), "contradict r01"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_was_done_is_printed_as_done_with_the_death_that_followed(
    lab: Lab, terminal: Terminal, arguments: tuple[str, ...], asked: str
) -> None:
    printed = terminal.do(*arguments)

    assert (printed.code, printed.out, printed.err) == (0, f"done run {lab.run}: {asked}\n", "")


def test_a_program_gets_the_victim_and_whether_it_died(lab: Lab, terminal: Terminal) -> None:
    killed, crashed = terminal.do("kill", "relay", "--json").row, terminal.do("crash", "r01/inbox_reader", "--json").row

    assert (killed["asked"], killed["victim"], killed["died"]) == ("kill relay", "relay:0", True)
    assert (crashed["victim"], crashed["died"]) == ("r01/inbox_reader", None)
    assert (killed["run"], killed["request"] < crashed["request"]) == (lab.run, True)
    assert 0 < killed["seconds"] < DEADLINE_S


def test_what_could_not_be_done_now_is_an_error_with_the_reason(lab: Lab, terminal: Terminal) -> None:
    # Given a robot that no RQ worker runs, and one that goes between the check and the injection
    lab.injector.beyond.add("r01")
    lab.injector.late.add("r02")

    # When each is asked for something, and a third that is not paused is to be resumed
    requests = (("kill", "r01"), ("restart", "r02"), ("kill", "r02"), ("resume", "r03"))
    printed = [terminal.do(*words) for words in requests]

    # Then the arguments were right, and the run could not do it
    assert [(each.code, each.complaint) for each in printed] == [
        (4, "robots: not done: it cannot be done to r01 now\n"),
        (4, "robots: not done: it cannot be done to r02 now\n"),
        (4, "robots: not done: it cannot be done to r02 now\n"),
        (4, "robots: not done: no pause of r03 has begun\n"),
    ]


def test_a_pause_is_ended_by_a_resume_and_only_once(lab: Lab, terminal: Terminal) -> None:
    assert terminal.do("pause", "r01", "--for", "1m").code == 0
    assert terminal.do("resume", "r01").out == f"done run {lab.run}: resume r01\n"
    assert terminal.do("resume", "r01").code == 4


def test_what_the_run_can_never_do_is_refused_by_its_leader(lab: Lab, terminal: Terminal) -> None:
    # Given a run on another's server in which r03 was dealt nothing, which only its leader knows
    lab.facts = RunFacts(4, 2, holders=frozenset({0, 1, 2}), lab="guest")

    # When that is asked for
    printed = [terminal.do(*words) for words in (("kill", "redis"), ("contradict", "r03"), ("kill", "supervisor"))]

    # Then it is refused, each with its reason
    reasons = ("the server is not the lab's own", "r03 is dealt no part", "no other supervisor could follow")
    for each, reason in zip(printed, reasons, strict=True):
        assert (each.code, reason in each.complaint) == (2, True), each.err
        assert f"run {lab.run} refused it: " in each.err


def test_the_outcome_of_another_request_is_not_taken_for_the_own(
    lab: Lab, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given another person who asks, just before, for what cannot be done to the same robot
    add = StreamRequests.add

    def after_another(self: StreamRequests, text: str) -> str:
        add(self, "set resume r01")
        return add(self, text)

    monkeypatch.setattr(StreamRequests, "add", after_another)

    assert terminal.do("kill", "r01").out == f"done run {lab.run}: kill r01; it died\n"


def test_a_death_that_is_not_recorded_is_not_reported(lab: Lab, terminal: Terminal, hasty: None) -> None:
    lab.injector.immortal.add("r01")

    printed = terminal.do("kill", "r01")

    assert (printed.code, printed.out) == (0, f"done run {lab.run}: kill r01; no death is recorded after 0.4 s\n")
    assert printed.err == "accepted: kill r01; waiting until it is done\n"


def test_an_injection_that_does_not_come_ends_the_wait_in_one_line(
    lab: Lab, terminal: Terminal, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a leader that acknowledges, and gets no further
    monkeypatch.setattr(lab.scheduler, "due_faults", lambda _now_us: [])

    # When a kill is asked for, then it is reported that it was accepted, and that it is not done
    printed = terminal.do("kill", "r01")
    assert (printed.code, printed.out) == (4, "")
    assert printed.err.splitlines() == [
        "accepted: kill r01; waiting until it is done",
        f"robots: accepted, and not done after 0.4 s: run {lab.run} has no supervisor now; it may still be done",
    ]


def test_a_run_that_ends_before_the_injection_is_reported_as_over(
    lab: Lab, terminal: Terminal, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a leader that ends the run instead of the injection
    stopped: list[bool] = []

    def stop(_now_us: int) -> list[Due]:
        if lab.requests() and not stopped:
            stopped.append(True)
            lab.run_control.order("stop", b"complete")
        return []

    monkeypatch.setattr(lab.scheduler, "due_faults", stop)

    printed = terminal.do("kill", "r01")

    assert (printed.code, f"run {lab.run} is over (complete)" in printed.err) == (2, True)


def test_before_the_run_begins_it_is_accepted(server: EmbeddedServer, here: Path, terminal: Terminal) -> None:
    # Given a run whose leader answers, and has not given the order go
    lab = Lab(server, here, shards=1)
    lab.start(go=False)
    try:
        printed = terminal.do("kill", "r01")
    finally:
        lab.close()

    assert (printed.code, printed.out) == (0, f"accepted run {lab.run}: kill r01, once the run has begun\n")
