"""`robots faults show`: what is in force since when, and what is to come."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from broker.control_entries import PlanChange, Planned
from broker.streams.embedded import EmbeddedServer
from tests.deploy.commands.scheduled_run import SPLIT, Lab, announce
from tests.support.recorded_settings import settings_row
from tests.support.terminal import Terminal

pytestmark = pytest.mark.live


def test_show_reports_what_is_in_force_since_when_and_what_is_to_come(lab: Lab, terminal: Terminal) -> None:
    # Given a fault that was set after go
    terminal.faults("set", "loss .9")

    # When a person looks
    row = terminal.faults("show", "--json").row

    # Then each fault has its number and its beginning, and the plan's own dated one is announced
    duplicate, loss = row["in_force"]
    assert (duplicate["instance"], duplicate["fault"], duplicate["since_s"]) == (1, "duplicate 0.1", None)
    assert (loss["instance"], loss["fault"], loss["relays"]) == (3, "loss 0.9", [0, 1])
    assert 0 <= loss["since_s"] <= row["now_s"] < 60
    assert row["to_come"] == [
        {"at_s": 3600.0, "begin": [SPLIT], "end": []},
        {"at_s": 3603.0, "begin": [], "end": [SPLIT]},
    ]


def test_show_is_readable(lab: Lab, terminal: Terminal) -> None:
    lines = terminal.faults("show", lab.run).out.splitlines()

    assert lines[0].startswith(f"run {lab.run}  ")
    assert lines[0].endswith(" s after go  2 relays")
    assert lines[1:4] == [
        "in force",
        "  #0   loss 0.2       since the deal",
        "  #1   duplicate 0.1  since the deal",
    ]
    assert lines[4] == "to come"
    assert lines[5].endswith("3600.0 s after go  begins: #2 partition hold r00|r01")


def test_what_comes_again_and_again_is_cut_short(lab: Lab, terminal: Terminal) -> None:
    terminal.faults("set", "loss .9 @1s+10ms every 20ms")

    lines = terminal.faults("show").out.splitlines()

    assert lines[-1] == "  and perhaps more"
    assert len(lines) < 30


def test_a_run_that_is_not_dealt_yet_is_reported_from_one_that_is_over(
    server: EmbeddedServer, here: Path, terminal: Terminal
) -> None:
    announce(here, "early", server.url)

    assert "run early is not dealt on its server, or not yet" in terminal.faults("show").complaint


def test_reading_changes_nothing(lab: Lab, terminal: Terminal) -> None:
    def streams() -> dict[bytes, bytes]:
        return {key: lab.client.dump(key) for key in lab.client.scan_iter(f"*{lab.run}*")}

    before = streams()

    terminal.faults("show")

    assert streams() == before


def test_garbage_in_orders_and_controls_is_passed_over(lab: Lab, terminal: Terminal) -> None:
    lab.client.xadd(lab.keys.orders, {"order": "dance"})
    lab.client.xadd(lab.keys.orders, {"shape": b"\xc1", "control": "y"})
    lab.client.xadd(lab.keys.control(0), {"control": b"\xc1garbage"})
    lab.client.xadd(lab.keys.control(1), {"nothing": "at all"})

    assert len(terminal.faults("show", "--json").row["in_force"]) == 2
    assert terminal.faults("heal", "--json").row["new"] == []


def test_before_go_nothing_is_dated_from_it(server: EmbeddedServer, here: Path, terminal: Terminal) -> None:
    lab = Lab(server, here, shards=1)
    lab.put(lab.scheduler.answer("1-1", "set loss 0.9", -1))

    row = terminal.faults("show", "--json").row

    assert (row["now_s"], [fault["fault"] for fault in row["in_force"]]) == (None, ["duplicate 0.1", "loss 0.9"])
    assert "since before go" in terminal.faults("show").out
    lab.close()


def test_settings_that_cannot_be_read_only_hide_what_is_to_come(lab: Lab, terminal: Terminal) -> None:
    for content in (
        b"{",
        json.dumps(settings_row(plan=5)).encode(),
        json.dumps(settings_row(plan=["?"])).encode().replace(b"?", b"\xff"),
        json.dumps(settings_row(plan=["noise 3"], instances=[0])).encode(),
        json.dumps(settings_row(plan=["loss 0.2"], instances=[])).encode(),
        json.dumps(settings_row(plan=["loss 0.2"], instances=[-1])).encode(),
    ):
        (lab.folder / "settings.json").write_bytes(content)

        assert terminal.faults("show", "--json").row["to_come"] is None
    assert "not known here" in terminal.faults("show").out


def test_faults_to_come_bear_the_numbers_that_the_run_gave_them(
    server: EmbeddedServer, here: Path, terminal: Terminal
) -> None:
    # Given a run whose plan has numbers of an earlier run
    lab = Lab(server, here, shards=1)
    path = lab.folder / "settings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"instances": [4, 9, 7]}))
    lab.put(PlanChange((Planned(4, "loss 0.2"), Planned(9, "duplicate 0.1")), "5-1", "set delay 5ms @1m"))

    # When a person looks
    row = terminal.faults("show", "--json").row

    # Then what is dated has its own number, and what was asked for the next one
    assert [change["begin"][0]["instance"] for change in row["to_come"] if change["begin"]] == [10, 7]
    assert "(#7)" in terminal.faults("clear", "corrupt").complaint
    lab.close()


@pytest.mark.parametrize("command", [[], ["show"], ["set"], ["clear"], ["heal"]])
def test_every_command_has_help(terminal: Terminal, command: list[str]) -> None:
    printed = terminal.faults(*command, "--help")

    assert (printed.code, printed.err) == (0, "")
    assert "robots faults" in printed.out
    assert command == [] or "--runs-dir" in printed.out
