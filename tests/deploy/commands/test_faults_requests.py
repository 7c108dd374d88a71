"""`robots faults set, clear, heal`: complaints, requests that come into force, and the wait for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from broker.control_entries import PlanChange, Planned
from broker.ports.robot import Acknowledgement
from broker.streams import keys
from broker.streams.embedded import EmbeddedServer
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.plan_log import StreamRequests
from deploy.attach import live_plan
from tests.deploy.commands.scheduled_run import SPLIT, Lab
from tests.support.checkout import ROOT
from tests.support.terminal import Terminal
from tests.support.waiting import DEADLINE_S, await_true

pytestmark = pytest.mark.live


# What is complained of before the run hears of it.


BAD = [
    (["set", "loss 1.2"], "a probability from 0 to 1"),
    (["set", "los .2"], "did you mean loss"),
    (["set", "los", ".2"], "did you mean loss"),
    (["set", " ; "], "'loss .5'"),
    (["set", "loss", "1.5"], "a probability from 0 to 1"),
    (["set", "loss .5 r04"], "r00 to r03"),
    (["set", "loss .5 @2m+1s every 5s"], "--for"),
    (["set", "; ".join(f"loss .123456 r00,r02>r01,r03 @{number}s" for number in range(200))], "4096"),
    (["set", "loss .5", "{run}", "surplus"], "'surplus'"),
    (["set"], "requires"),
    (["clear", "reorder"], "loss 0.2 (#0), duplicate 0.1 (#1), partition hold r00|r01 (#2)"),
    (["clear", "partition r00|r01"], "neither in force nor to come"),
    (["clear", "#7"], "neither in force nor to come"),
    (["clear", "loss .3"], "neither in force nor to come"),
    (["clear", "heal"], "neither in force nor to come"),
    (["clear", ""], "neither in force nor to come"),
    (["clear", "loss", "{run}", "surplus"], "'surplus'"),
    (["heal", "{run}", "surplus"], "surplus"),
    (["show", "--colour", "red"], "--colour"),
    (["mend"], "mend"),
]


@pytest.mark.parametrize(("arguments", "word"), BAD, ids=[" ".join(bad[0])[:40] for bad in BAD])
def test_a_bad_request_is_one_line_and_the_run_does_not_get_it(
    lab: Lab, terminal: Terminal, arguments: list[str], word: str
) -> None:
    printed = terminal.faults(*(argument.format(run=lab.run) for argument in arguments))

    assert (printed.code, word in printed.complaint) == (2, True), printed.err
    assert not lab.client.exists(lab.keys.requests)


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        (["set", "loss", ".5"], 'robots faults set "loss .5"'),
        (["set", "loss", ".5", "r03"], 'robots faults set "loss .5 r03"'),
        (["set", "loss", ".5", "7b08e1"], 'robots faults set "loss .5" 7b08e1'),
        (["set", "burst-loss", ".3", "5", "@2s+3s"], 'robots faults set "burst-loss .3 5 @2s+3s"'),
        (["clear", "loss", ".5"], 'robots faults clear "loss .5"'),
        (["clear", "loss", ".5", "r03"], 'robots faults clear "loss .5 r03"'),
        (["clear", "loss", ".5", "r03", "7b08e1"], 'robots faults clear "loss .5 r03" 7b08e1'),
    ],
)
def test_forgotten_quotes_are_recognised(here: Path, terminal: Terminal, arguments: list[str], right: str) -> None:
    printed = terminal.faults(*arguments)

    assert (printed.code, printed.complaint) == (2, f"robots: a fault is one text; write it in quotes: {right}\n")


def test_nothing_in_force_is_printed_as_it_is(lab: Lab, terminal: Terminal) -> None:
    terminal.faults("heal")
    terminal.faults("clear", "partition")

    assert "there is nothing to clear" in terminal.faults("clear", "loss").complaint


# Requests that come into force.


def test_what_is_set_is_in_force_at_every_relay_when_the_command_ends(lab: Lab, terminal: Terminal) -> None:
    row = terminal.faults("set", "loss .9;delay 20ms r03", "--json").row

    assert row["run"] == lab.run
    assert [fault["fault"] for fault in row["old"]] == ["loss 0.2", "duplicate 0.1"]
    assert sorted(fault["fault"] for fault in row["new"]) == ["delay 20ms r03", "duplicate 0.1", "loss 0.9"]
    assert (row["relays"], row["to_come"]) == (2, [])
    assert 0 < row["seconds"] < DEADLINE_S
    assert lab.requests() == ["set loss 0.9; delay 20ms r03"]
    for shard in range(2):
        [(_, fields)] = lab.client.xrevrange(lab.keys.control(shard), count=1)
        assert row["request"].encode() in fields[keys.CONTROL]


def test_people_are_reported_old_and_new_and_how_long_it_took(lab: Lab, terminal: Terminal) -> None:
    printed = terminal.faults("set", "loss .9")

    plan, took = printed.out.splitlines()
    assert (printed.code, printed.err) == (0, "")
    assert plan == "plan: loss 0.2, duplicate 0.1 → loss 0.9, duplicate 0.1"
    assert took.startswith("in force at 2 relays after ")
    assert took.endswith(" ms")


@pytest.mark.parametrize("what", ["loss", "loss .20", "#0", "0"])
def test_a_fault_is_cleared_by_name_by_text_or_by_number(lab: Lab, terminal: Terminal, what: str) -> None:
    printed = terminal.faults("clear", what, lab.run)

    assert printed.out.splitlines()[0] == "plan: loss 0.2, duplicate 0.1 → duplicate 0.1"


def test_heal_ends_what_has_begun(lab: Lab, terminal: Terminal) -> None:
    printed = terminal.faults("heal", f"runs/{lab.run}")

    assert printed.out.splitlines()[0] == "plan: loss 0.2, duplicate 0.1 → calm"
    assert lab.requests() == ["heal"]
    row = terminal.faults("show", "--json").row
    assert row["in_force"] == []
    assert [change["begin"] for change in row["to_come"]] == [[SPLIT], []]


def test_heal_reports_what_is_still_to_come_and_how_to_cancel_it(lab: Lab, terminal: Terminal) -> None:
    # Given a fault that was set for later, beside the plan's own dated one
    terminal.faults("set", "delay 5ms @20s+1s; loss .3 @50s")

    # When everything is healed
    lines = terminal.faults("heal").out.splitlines()

    # Then what has not begun is reported, the next one first, with a number by which it can be cancelled
    assert [line.partition(", in ")[0] for line in lines[2:5]] == [
        "still to come: #3 delay 5ms",
        "still to come: #4 loss 0.3",
        "still to come: #2 partition hold r00|r01",
    ]
    assert lines[5] == f"cancel one with: robots faults clear '#3' {lab.run}"
    assert terminal.faults("clear", "#3", lab.run).code == 0
    left = terminal.faults("heal", "--json").row["to_come"]
    assert [fault["instance"] for fault in left] == [4, 2]
    assert 0 < left[0]["in_s"] < 50
    # And when nothing is left, nothing is printed
    terminal.faults("clear", "loss")
    terminal.faults("clear", "partition")
    assert len(terminal.faults("heal").out.splitlines()) == 2


@pytest.mark.parametrize("what", ["partition", "partition hold r00|r01", "#2", "2"])
def test_what_is_still_to_come_can_be_cancelled(lab: Lab, terminal: Terminal, what: str) -> None:
    printed = terminal.faults("clear", what)

    assert printed.out.splitlines()[0] == "plan: loss 0.2, duplicate 0.1 → loss 0.2, duplicate 0.1"
    assert terminal.faults("show", "--json").row["to_come"] == []


def test_a_healing_that_is_still_to_come_can_be_cancelled(lab: Lab, terminal: Terminal) -> None:
    terminal.faults("set", "heal @1h")

    assert terminal.faults("clear", "heal").code == 0
    assert [change["end"] for change in terminal.faults("show", "--json").row["to_come"]] == [[], [SPLIT]]


def test_what_is_refused_is_an_error_with_the_reason(lab: Lab, terminal: Terminal) -> None:
    # Given a plan with room for one more line
    for _ in range(4):
        terminal.faults("set", "; ".join(["delay 0ms r03"] * 63))

    # When two more are asked for
    printed = terminal.faults("set", "loss .3 r03; loss .4 r03")

    # Then that is no success, and the plan is what it was
    assert printed.code == 2
    assert f"run {lab.run} refused it: " in printed.complaint
    assert "a plan of 256 lines and 32768 characters in all; clear some before" in printed.complaint
    row = terminal.faults("show", "--json").row
    assert "loss 0.3 r03" not in [fault["fault"] for fault in row["in_force"]]
    # And what fits is given the number that was left
    assert terminal.faults("set", "loss .5 r03", "--json").row["new"][-1] == {"instance": 255, "fault": "loss 0.5 r03"}


@pytest.mark.parametrize("words", ["nonsense", "set loss 2", "\x1b[2Jset\n loss 2", "set \x9b31mloss"])
def test_after_a_refused_request_what_is_to_come_is_still_known(lab: Lab, terminal: Terminal, words: str) -> None:
    # Given a request by hand that is none, and a good one after it
    StreamRequests(lab.client, lab.run).add(words)
    terminal.faults("set", "loss .9 @20s")

    # Then what is to come is what the run's own scheduler has planned, and nothing harms a terminal
    printed = terminal.faults("show")
    assert "begins: #3 loss 0.9" in printed.out
    assert printed.out.replace("\n", "").isprintable()


def test_what_stands_on_the_server_cannot_harm_a_terminal(lab: Lab, terminal: Terminal) -> None:
    # Given a plan, and later the end of the run, that somebody put on the server by hand
    evil = "loss\x1b]0;me\x07 0.2\u202e\n" + "x" * 300
    lab.put(PlanChange((Planned(0, evil),)))
    assert r"loss\x1b]0;me\x07 0.2\u202e\nxxx" in terminal.faults("show").out

    for arguments in (["show"], ["set", "loss .9"], ["clear", "lo"]):
        printed = terminal.faults(*arguments)
        assert (printed.out + printed.err).replace("\n", "").isprintable()
    lab.run_control.order("stop", evil.encode())
    for command in ("show", "heal"):
        printed = terminal.faults(command)
        assert (printed.out + printed.err).replace("\n", "").isprintable()


def test_a_refusal_that_somebody_wrote_by_hand_cannot_harm_a_terminal(
    server: EmbeddedServer, here: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(server, here, shards=1)
    ask = StreamRequests.add

    def and_refuse(self: StreamRequests, words: str) -> str:
        request = ask(self, words)
        lab.put(PlanChange((), request, words, "\x1b[2Jno\r"))
        return request

    monkeypatch.setattr(StreamRequests, "add", and_refuse)

    printed = terminal.faults("heal")

    assert (printed.code, printed.complaint) == (2, f"robots: run {lab.run} refused it: \\x1b[2Jno\\r\n")
    lab.close()


def test_a_dated_request_counts_from_now_and_prints_so(lab: Lab, terminal: Terminal) -> None:
    printed = terminal.faults("set", "loss .9 @20s+3s; duplicate .3")

    plan, _, begins = printed.out.splitlines()
    assert plan == "plan: loss 0.2, duplicate 0.1 → loss 0.2, duplicate 0.3"
    assert begins == "begins in 20s: loss 0.9 @20s+3s"
    row = terminal.faults("show", "--json").row
    begin, end = row["to_come"][:2]
    late = {"instance": 3, "fault": "loss 0.9"}
    assert (begin["begin"], end["end"]) == ([late], [late])
    assert 0 < begin["at_s"] - row["now_s"] <= 20
    assert end["at_s"] - begin["at_s"] == pytest.approx(3)


def test_a_request_that_changes_nothing_is_answered_all_the_same(lab: Lab, terminal: Terminal) -> None:
    row = terminal.faults("set", "reorder 0", "--json").row

    assert row["old"] == row["new"]


def test_changes_of_others_in_between_are_not_taken_for_the_answer(
    lab: Lab, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a change of the plan's own that is met after the request was stored, before its answer
    ask = StreamRequests.add

    def with_another(self: StreamRequests, words: str) -> str:
        lab.put(PlanChange((), "", ""))
        return ask(self, words)

    monkeypatch.setattr(StreamRequests, "add", with_another)

    # When something is asked, then `old` is what was in force right before the answer
    row = terminal.faults("clear", "loss", "--json").row
    assert row["old"] == []
    assert [fault["fault"] for fault in row["new"]] == ["duplicate 0.1"]


def test_a_run_of_another_host_is_changed_by_server_and_id(
    server: EmbeddedServer, lab: Lab, terminal: Terminal
) -> None:
    where = (lab.run, "--redis-url", server.url, "--runs-dir", "elsewhere", "--json")

    assert terminal.faults("clear", "loss", *where).row["relays"] == 2
    assert terminal.faults("show", *where).row["to_come"] is None
    # And what is dated in a plan that is not known here can be cancelled all the same
    assert terminal.faults("clear", "partition", *where).code == 0
    assert terminal.faults("show", lab.run, "--json").row["to_come"] == []
    assert terminal.faults("heal", *where).row["to_come"] is None
    assert "what is dated to begin later still does; not known here" in terminal.faults("heal", *where[:-1]).out
    assert "neither" in terminal.faults("clear", "los", *where).complaint


# No answer.


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_plan, "WAIT_S", 0.2)


def test_without_a_scheduler_the_wait_ends_in_one_line(
    server: EmbeddedServer, here: Path, terminal: Terminal, hasty: None
) -> None:
    # Given a run without a scheduler
    lab = Lab(server, here, shards=1)

    # When a change is asked for
    began = time.monotonic()
    printed = terminal.faults("set", "loss .9")

    # Then it is reported soon, and that the request stands
    assert (printed.code, time.monotonic() - began < DEADLINE_S) == (4, True)
    assert f"run {lab.run} has no supervisor" in printed.complaint
    assert lab.requests() == ["set loss 0.9"]
    lab.close()


def test_a_relay_that_meets_nothing_is_named(
    server: EmbeddedServer, here: Path, terminal: Terminal, hasty: None
) -> None:
    lab = Lab(server, here, shards=3, silent=(1,))
    lab.start()

    printed = terminal.faults("clear", "loss")

    assert (printed.code, "in force at 2 of 3 relays" in printed.complaint) == (4, True)
    assert "at relay 1" in printed.err
    [cleared] = [fault for fault in terminal.faults("show", "--json").row["in_force"] if fault["instance"] == 1]
    assert cleared["relays"] == [0, 2]  # relay 1 has met nothing at all
    lab.close()


def test_process_faults_are_acknowledged_though_no_relay_lives(
    server: EmbeddedServer, here: Path, terminal: Terminal, hasty: None
) -> None:
    # Given a run whose relays apply nothing
    lab = Lab(server, here, shards=2, silent=(0, 1))
    lab.start()

    # When process faults are requested, in any way
    killed, paused = (
        terminal.faults("set", "kill r03; crash r01/inbox_reader"),
        terminal.faults("set", "pause r02 @9s+1s"),
    )
    row = terminal.faults("clear", "pause", "--json").row

    # Then each is acknowledged, and no outbox got a plan change
    assert killed.out.startswith("acknowledged by the supervisor after ")
    assert "begins in 9s: pause r02 @9s+1s" in paused.out
    assert (row["relays"], row["old"] == row["new"]) == (0, True)
    rows = StreamFleetLog(lab.client, lab.run).rows()
    assert [row.request for row in rows if isinstance(row, Acknowledgement)] == [
        "set kill r03 @0s; crash r01/inbox_reader @0s",
        "set pause r02 @9s+1s",
        "clear pause",
    ]
    assert [lab.client.xlen(lab.keys.outbox(shard)) for shard in range(2)] == [1, 1]
    # And faults of messages need relays
    assert terminal.faults("set", "kill r03; loss .9").code == 4
    lab.close()


def test_process_faults_that_are_refused_are_an_error_with_the_reason(
    lab: Lab, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = StreamRequests.add
    monkeypatch.setattr(StreamRequests, "add", lambda self, _request: add(self, "set kill unknown"))

    printed = terminal.faults("set", "kill r03")

    assert printed.code == 2
    assert f"run {lab.run} refused it: in 'set kill unknown'" in printed.complaint


def test_a_run_that_is_being_stopped_gets_no_more_requests(lab: Lab, terminal: Terminal) -> None:
    lab.run_control.order("stop", b"complete")

    printed = terminal.faults("heal")

    assert (printed.code, lab.requests()) == (2, [])
    assert f"run {lab.run} is over (complete); judge it with: robots verify {lab.run}" in printed.complaint
    assert "ending: complete" in terminal.faults("show").out


def test_a_run_that_ends_while_one_waits_is_reported_from_a_run_without_a_scheduler(
    server: EmbeddedServer, here: Path, terminal: Terminal, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(server, here, shards=1)
    ask = StreamRequests.add

    def and_stop(self: StreamRequests, words: str) -> str:
        lab.run_control.order("stop", b"complete")
        return ask(self, words)

    monkeypatch.setattr(StreamRequests, "add", and_stop)

    printed = terminal.faults("heal")

    assert (printed.code, "is over (complete)" in printed.complaint) == (2, True)
    lab.close()


def test_an_interrupted_wait_ends_without_a_word(server: EmbeddedServer, here: Path) -> None:
    # Given a run without a scheduler, and a command that waits for its relay
    lab = Lab(server, here, shards=1)
    command = [
        sys.executable,
        "-c",
        "from deploy.attach import live_plan; live_plan.WAIT_S = 30\nfrom deploy.entry import main\nmain()",
    ]
    with subprocess.Popen(
        [*command, "faults", "heal"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as waiting:
        try:
            await_true(lab.requests, what="the request")

            # When the person interrupts it
            waiting.send_signal(signal.SIGINT)
            out, err = waiting.communicate(timeout=DEADLINE_S)
        finally:
            waiting.kill()

    # Then it ends at once and prints nothing
    assert (waiting.returncode, out, err) == (130, b"", b"")
    lab.close()
