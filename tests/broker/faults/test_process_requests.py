"""Requests that concern process faults alone: relays need not know of them."""

from __future__ import annotations

import pytest

from broker.faults.grammar import parse_lines
from broker.faults.schedule import timed
from broker.faults.scheduler import AnsweredRequest, PlanScheduler, scheduler_so_far

PLAN = "loss 0.2; kill r03 @9s"


def scheduler() -> PlanScheduler:
    return PlanScheduler(timed(parse_lines(PLAN)), 60_000_000)


@pytest.mark.parametrize(
    "request_text",
    ["set kill r03", " set\tpause r01 @1s+2s;crash r00/inbox_reader; ", "clear kill", "clear kill r03", "clear #1"],
)
def test_process_faults_alone_leave_the_message_faults_as_they_are(request_text: str) -> None:
    lead = scheduler()

    assert lead.is_about_processes(request_text, 0)
    answer = lead.answer("1-0", request_text, 0)
    assert (answer.faults, answer.refusal) == (lead.first.faults, "")


@pytest.mark.parametrize(
    "request_text",
    [
        "",
        " ",
        "\t\n",
        "\u2003",
        ";",
        "#1",
        "set",
        "clear",
        "clear ;",
        "clear #",
        "set kill unknown",
        "set pause r03 loss",
        "clear kill unknown",
        "clear #1 #1",
        "set \x00",
        "🦆",
    ],
)
def test_what_is_no_request_is_refused_in_a_plan_change(request_text: str) -> None:
    lead = scheduler()

    assert not lead.is_about_processes(request_text, 0)
    answer = lead.answer("1-0", request_text, 0)
    assert (answer.faults, answer.request) == (lead.first.faults, request_text)
    assert answer.refusal


@pytest.mark.parametrize(
    "request_text",
    [
        "set loss 0.5",
        "set kill r03; loss 0.5",
        "clear loss",
        "clear #0",
        "clear #7",
        "heal",
        "kill r03",
        "set",
        "set ;",
    ],
)
def test_all_others_are_for_relays(request_text: str) -> None:
    assert not scheduler().is_about_processes(request_text, 0)


def test_a_successor_gets_the_requests_that_were_done_each_once_and_no_refused_one() -> None:
    # Given answers to three requests, of which one was refused and one stands twice
    killed = AnsweredRequest("1-0", "set kill r01 @1s", 2_000)
    refused = AnsweredRequest("2-0", "set kill r02", 2_000, "no")

    # When a successor begins with them, in a run that began at 1 s
    successor = scheduler_so_far([], 60_000_000, [killed, killed, refused], 1_000)

    # Then the process fault is due once, one second after it was requested
    assert successor.due_faults(1_999_999) == []
    assert [due.fault.text() for due in successor.due_faults(9_000_000)] == ["kill r01"]


def test_a_process_fault_bears_the_request_that_it_comes_from() -> None:
    # Given a plan with a process fault, and requests for others
    lead = scheduler()
    lead.answer("1-0", "set kill r01; pause r02 @0s+1s", 1_000_000)
    lead.answer("2-0", "set loss 0.5", 1_000_000)
    lead.answer("3-0", "set kill r01 @2s", 1_000_000)

    # When they are due, then each bears its own request, and what was in the plan none
    dues = lead.due_faults(9_000_000)
    assert [(due.fault.text(), due.is_end, due.request_id) for due in dues] == [
        ("kill r01", False, "1-0"),
        ("pause r02", False, "1-0"),
        ("pause r02", True, "1-0"),
        ("kill r01", False, "3-0"),
        ("kill r03", False, ""),
    ]
