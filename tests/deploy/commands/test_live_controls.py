"""The knobs that screens turn, at a run that looks live from outside: what is done, what is refused, and a server that
went away, all in lines.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from broker.streams.address import Address
from broker.streams.embedded import EmbeddedServer
from deploy.attach import live_plan, outcomes, stopping
from deploy.attach.discovery import RunLocation
from deploy.observing.controls import LiveControls
from tests.deploy.commands.scheduled_run import Lab
from tests.support.terminal import Terminal

pytestmark = pytest.mark.live


@pytest.fixture
def controls(lab: Lab) -> LiveControls:
    return LiveControls(RunLocation(lab.run, Address.one(lab.url), lab.folder, os.getpid()))


def test_a_fault_is_set_cleared_and_healed_and_each_is_answered(lab: Lab, controls: LiveControls) -> None:
    changed, cleared, healed = controls.request("loss .9"), controls.clear("loss"), controls.heal()

    assert (changed.is_done, cleared.is_done, healed.is_done) == (True, True, True)
    assert changed.lines[0] == "plan: loss 0.2, duplicate 0.1 → loss 0.9, duplicate 0.1"
    assert changed.lines[1].startswith("in force at 2 relays after ")
    assert cleared.lines[0] == "plan: loss 0.9, duplicate 0.1 → duplicate 0.1"
    assert healed.lines[0] == "plan: duplicate 0.1 → calm"
    assert healed.lines[2].startswith("still to come: #2 partition hold r00|r01, in ")
    assert lab.requests() == ["set loss 0.9", "clear loss", "heal"]


def test_a_later_fault_is_answered_with_its_time(controls: LiveControls) -> None:
    assert controls.request("delay 20ms @1m+2s; kill r01 @2m").lines[-2:] == [
        "begins in 1m: delay 20ms @1m+2s",
        "begins in 2m: kill r01 @2m",
    ]


def test_the_words_are_those_of_the_commands(lab: Lab, controls: LiveControls, terminal: Terminal) -> None:
    for verb in ("kill r01", "contradict r02", "crash r03/inbox_reader"):
        reply, printed = controls.request(verb), terminal.do(*verb.split(), lab.run)
        assert reply == (printed.out.splitlines(), True)


def test_a_pause_of_five_seconds_is_the_one_of_the_command(lab: Lab, controls: LiveControls) -> None:
    assert controls.request("pause r01 @0s+5s") == ([f"done run {lab.run}: pause r01 for 5s"], True)
    assert controls.request("resume r01") == ([f"done run {lab.run}: resume r01"], True)
    assert controls.request("resume r01") == (["not done: no pause of r01 has begun"], False)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("los .5", "did you mean loss"),
        ("", "FAULT: there is none"),
        ("loss .5 r09", "r00 to r03"),
        ("kill \x1b[31m", "allowed is"),
        ("loss .5 @2m+1s every 5s", "--for"),
    ],
)
def test_what_is_not_allowed_is_one_line_and_the_run_does_not_get_it(
    lab: Lab, controls: LiveControls, fault: str, why: str
) -> None:
    reply = controls.request(fault)

    assert (reply.is_done, len(reply.lines)) == (False, 1)
    assert why in reply.lines[0]
    assert lab.requests() == []


def test_what_is_neither_in_force_nor_to_come_cannot_be_cleared(controls: LiveControls) -> None:
    reply = controls.clear("reorder")

    assert not reply.is_done
    assert "neither in force nor to come" in reply.lines[0]


def test_a_run_that_is_stopped_answers_so_from_then_on(
    lab: Lab, controls: LiveControls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "ROBOTS_END_S", 0.0)

    assert controls.stop() == ([f"run {lab.run}: stopped"], True)
    assert controls.stop() == ([f"run {lab.run}: was stopped before"], True)
    assert controls.heal() == (
        [f"run {lab.run} is over (stopped); judge it with: robots verify {lab.run}"],
        False,
    )
    assert controls.go() == ([f"run {lab.run} is over; judge it with: robots verify {lab.run}"], False)


def test_a_run_that_is_not_held_back_cannot_be_let_go(lab: Lab, controls: LiveControls) -> None:
    assert controls.go() == ([f"run {lab.run} has begun before: go was given"], False)


def test_a_run_without_a_leader_is_answered_so(
    server: EmbeddedServer, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run that was begun, and that no supervisor leads now
    monkeypatch.setattr(live_plan, "WAIT_S", 0.1)
    monkeypatch.setattr(outcomes, "WAIT_S", 0.1)
    lab = Lab(server, here, shards=1)
    lab.run_control.order("go")
    controls = LiveControls(RunLocation(lab.run, Address.one(lab.url), lab.folder, os.getpid()))

    # When something is requested
    replies = [controls.request("loss .5"), controls.request("kill r01"), controls.heal()]
    lab.close()

    # Then each says that there was no answer
    assert [reply.is_done for reply in replies] == [False] * 3
    assert all("no answer within 0.1 s" in reply.lines[0] for reply in replies)


def test_a_server_that_went_away_and_a_run_that_is_gone_are_lines(here: Path) -> None:
    # Given a server
    with EmbeddedServer() as server:
        url = server.url
        gone = LiveControls(RunLocation("f99999", Address.one(url), None))
        replies = [gone.heal(), gone.stop(), gone.go()]
    # When it went away
    away = LiveControls(RunLocation("f99999", Address.one(url), None))
    replies += [away.request("kill r01"), away.clear("loss"), away.heal(), away.stop(), away.go()]

    # Then nothing is raised, and every line says why
    assert [(reply.is_done, len(reply.lines)) for reply in replies] == [(False, 1)] * 8
    assert all("f99999" in reply.lines[0] for reply in replies[:3])
    assert all("no usable server at" in reply.lines[0] for reply in replies[3:])
