"""From what a person asks for to the plan of a run: presets, shorthands, plan files, and recorded runs."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from broker.faults.schedule import Timed
from deploy.commands import main
from deploy.config.experiment import bounds_of, load_plan, prepare
from deploy.config.settings import load_settings
from deploy.errors import Unrepeatable, UsageError

LONG_TARGET = ",".join(["r0", "r2", "r4", "r6", "r8", "r10", *(f"r{number}" for number in range(1000, 2356, 2))])
"""A target that is as long as what is read may be, but longer when it is written out."""

LOSSY = ["loss 0.2", "duplicate 0.1", "delay 5ms..20ms", "reorder 0.1"]


def texts(plan: list[Timed]) -> list[str]:
    return [planned.line.text() for planned in plan]


def plan_of(**given: object) -> list[str]:
    return texts(prepare(given).plan)


def test_a_fault_for_everyone_and_always_replaces_the_one_of_its_name_in_the_preset() -> None:
    assert plan_of() == LOSSY
    assert plan_of(loss=".5") == ["loss 0.5", *LOSSY[1:]]
    assert plan_of(fault=("loss .5",)) == ["loss 0.5", *LOSSY[1:]]
    assert plan_of(loss="0", reorder="0") == LOSSY[1:3]


def test_a_fault_with_a_target_or_a_date_is_added() -> None:
    assert plan_of(loss=".9 r03") == [*LOSSY, "loss 0.9 r03"]
    assert plan_of(fault=("loss .9 @1s+1s", "throttle 20/s")) == [*LOSSY, "loss 0.9 @1s+1s", "throttle 20/s"]


def test_every_fault_has_a_shorthand() -> None:
    given = {
        "preset": "calm",
        "loss": ".1",
        "burst_loss": ".2 5",
        "duplicate": ".1 x3",
        "delay": "20ms~0.5",
        "reorder": ".1",
        "corrupt": ".01",
        "throttle": "20/s",
        "partition": "hold r00|r01 @1s+2s",
    }

    assert sorted(plan_of(**given)) == [
        "burst-loss 0.2 5",
        "corrupt 0.01",
        "delay 20ms~0.5",
        "duplicate 0.1 x3",
        "loss 0.1",
        "partition hold r00|r01 @1s+2s",
        "reorder 0.1",
        "throttle 20/s",
    ]


def test_as_many_faults_as_a_plan_may_have_can_be_flags_of_their_own() -> None:
    faults = tuple(f"loss 0.5 r00,r01>r03,r04 @{number}ms+500us" for number in range(1, 201))

    assert plan_of(fault=faults, preset="calm") == list(faults)
    with pytest.raises(UsageError, match="allowed is a plan of 256 lines"):
        plan_of(fault=("loss .5 r00",) * 257)


@pytest.mark.parametrize("given", [{"fault": (f"loss .5 {LONG_TARGET}",)}, {"loss": f".5 {LONG_TARGET}"}])
def test_a_fault_that_cannot_be_read_again_once_written_out_is_reported(given: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="allowed is a text of 4096 characters"):
        plan_of(**given)


def test_the_environment_may_name_several_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBOTS_FAULT", "loss .3; corrupt .1 r01")

    assert plan_of() == ["loss 0.3", *LOSSY[1:], "corrupt 0.1 r01"]


def test_a_plan_file_takes_the_preset_s_place(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('faults = ["loss 0.3", "delay 5ms; reorder .2"]\n')

    assert plan_of(faults=str(path)) == ["loss 0.3", "delay 5ms", "reorder 0.2"]
    assert plan_of(faults=str(path), loss=".5") == ["loss 0.5", "delay 5ms", "reorder 0.2"]
    path.write_text('preset = "lossy"\nfaults = ["loss 0.3"]\n')
    assert plan_of(faults=str(path)) == ["loss 0.3", *LOSSY[1:]]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("fault = []", "'fault' is unknown"),
        ("faults = 'loss 1'", "a list of texts"),
        ("faults = [1]", "a list of texts"),
        ("preset = 'hurricane'", "allowed are calm, lossy"),
        ("faults = [", "not TOML"),
        ("#" * 300_000, "at most that many"),
        ("faults = " + "[" * 100_000, "not TOML"),
        (f"faults = {['loss .5 r00'] * 257}", "too long; allowed is a plan of 256 lines"),
        (f"faults = ['loss .5 {LONG_TARGET}']", "written out it has"),
    ],
)
def test_a_plan_file_that_is_wrong_is_reported_in_one_line(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(content)

    with pytest.raises(UsageError, match=complaint) as error:
        plan_of(faults=str(path))

    assert "\n" not in str(error.value)


def test_a_run_s_limit_leaves_time_for_its_plan() -> None:
    settings = load_settings({"fault": ("loss .9 @40s+5s",), "preset": "calm"})

    assert bounds_of(settings, load_plan(settings)).limit_us == 75_000_000


SERVER = ("--redis-url", "redis://nowhere.example:1")  # never reached


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("run", "-n", "3", "--secret", "word", "--seed", "1", "--chaos", "contradict r00 @1s"), "is dealt no part"),
        (("simulate", "-n", "3", "--secret", "word", "--seed", "1", "--chaos", "contradict r00"), "is dealt no part"),
        (("run", *SERVER, "--kill", "redis@1s"), "the server is not the lab's own"),
        (("run", *SERVER, "--pause", "redis@1s+1s"), "the server is not the lab's own"),
        (("run", *SERVER, "--restart", "redis@1s"), "the server is not the lab's own"),
        (("run", "--kill", "r99"), "r99 is none of the robots; they are r00 to r05"),
        (("run", "--kill", "relay:1"), "there is no relay:1; they are relay:0 to relay:0"),
        (("run", "--kill", "supervisor"), "no other supervisor could follow"),
        (("run", "--chaos", "crash r03/merger"), "allowed is inbox_reader"),
        (("run", "--loss", ".5 r03>r03"), "no robot sends to itself"),
        (("run", "--for", "5s", "--limit", "9s", "--kill", "r03@9s"), "when the run is over: --limit is 9s"),
        (("run", "--for", "5s", "--limit", "9s", "--kill", "r03@10s"), "--limit: 9s is too short"),
        (("simulate", "--kill", "supervisor"), "a simulation has no supervisor"),
        (("simulate", "--pause", "rq:r03@1s+1s"), "an RQ worker is no process of its own"),
        (("simulate", "--chaos", "resume r03 @1s"), "no pause of r03 goes on by then"),
        (("deal", *SERVER, "--kill", "redis"), "no supervisor can reach it"),
        (("deal", *SERVER, "--restart", "relay:0"), "no supervisor can reach it"),
        (("deal", *SERVER, "--pause", "rq:r03@1s+1s"), "could not be resumed"),
        (("deal", *SERVER, "--chaos", "contradict r00", "--secret", "word", "--seed", "1"), "is dealt no part"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_the_run_can_never_do_is_refused_before_the_start_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit) as ended:
        main(list(command))

    printed = capsys.readouterr()
    assert (ended.value.code, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert words in printed.err
    assert list(tmp_path.iterdir()) == [], "nothing was started, and nothing recorded"


def simulate(*arguments: str, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "--json", *arguments])
    result: dict[str, object] = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0, result
    return result


def test_a_recorded_run_is_run_again_with_all_that_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a run with a plan of its own, some of it dated, and another secret than usual
    monkeypatch.chdir(tmp_path)
    faults = ("--preset", "calm", "--loss", ".3", "--fault", "partition hold r00|r01 @300ms+700ms", "--delay", "5ms")
    first = simulate(*faults, "--secret", "one two three", "--seed", "7", "-n", "4", "--relays", "2", capsys=capsys)

    # When it is run again from its record alone
    monkeypatch.setenv("ROBOTS_SECRET", "of somebody else")
    again = simulate("--again", "latest", capsys=capsys)

    # Then everything is the same, to the digest
    assert again["digest"] == first["digest"]
    assert again["again"] == f"robots simulate --again {first['run']}"
    assert (tmp_path / "runs" / str(again["run"]) / "secret.txt").read_text() == "one two three"


def test_an_exhibit_is_shown_again_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given the record of a run that shows an exhibit, and that of one that shows none
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["simulate", "--json", "--exhibit", "ignores-last", "--seed", "7"])
    shown = json.loads(capsys.readouterr().out)
    standard = simulate("--seed", "7", capsys=capsys)

    # When they are prepared to be run again, where the environment names another exhibit
    monkeypatch.setenv("ROBOTS_EXHIBIT", "forgets")

    # Then each shows what it showed
    assert prepare({"again": shown["run"]}).settings.exhibit == "ignores-last"
    assert prepare({"again": str(standard["run"])}).settings.exhibit is None
    assert shown["promises"]["right"]["state"] == "BROKEN"


def test_a_plan_comes_again_line_for_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a run with a fault that came more often than a plan may have lines, times between milliseconds, and a heal
    monkeypatch.chdir(tmp_path)
    faults = ("loss .5 r00 @1us+5ms every 10ms", "delay 1ms @100001us+300003us", "heal @2900ms", "loss .1 @2950ms")
    flags = [word for fault in faults for word in ("--fault", fault)]
    first = simulate("-n", "3", "--seed", "7", "--for", "3s", *flags, capsys=capsys)
    rows = (tmp_path / "runs" / str(first["run"]) / "plan.jsonl").read_text().splitlines()
    assert sum('"loss 0.5 r00"' in row for row in rows) > 256

    # When it is run again, and that run again
    again = simulate("--again", str(first["run"]), capsys=capsys)
    anew = simulate("--again", str(again["run"]), capsys=capsys)

    # Then it is the same run, to the digest, with the same plan
    assert first["digest"] == again["digest"] == anew["digest"]
    assert texts(prepare({"again": str(anew["run"])}).plan)[4:] == [
        "loss 0.5 r00 @1us+5ms every 10ms",
        "delay 1ms @100001us+300003us",
        "heal @2900ms",
        "loss 0.1 @2950ms",
    ]

    # And the line that runs the first one again does so
    words = shlex.split(str(first["again"]))
    assert words.count("--fault") == 4
    assert simulate(*words[2:], capsys=capsys)["digest"] == first["digest"]


def test_a_run_that_was_not_quite_the_recorded_one_is_run_again_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a run that repeats a record with another seed
    monkeypatch.chdir(tmp_path)
    first = str(simulate("--seed", "7", "-n", "3", "--runs-dir", "kept", capsys=capsys)["run"])
    other = simulate("--again", first, "--runs-dir", "kept", "--seed", "8", capsys=capsys)

    # When its line is followed
    assert other["again"] == f"robots simulate --again {other['run']} --runs-dir kept"
    again = simulate(*shlex.split(str(other["again"]))[2:], capsys=capsys)

    # Then it is that run, and not the recorded one
    assert again["digest"] == other["digest"]
    assert again["again"] == other["again"]


def test_a_plan_that_a_person_changed_is_part_of_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given the record of a run in whose plan a person made a change, one second after go
    monkeypatch.chdir(tmp_path)
    run = str(simulate("--seed", "7", "--for", "3s", capsys=capsys)["run"])
    folder = tmp_path / "runs" / run
    orders = json.loads((folder / "streams.json").read_text())["orders"]
    [go_ms] = [int(order["id"].split("-")[0]) for order in orders if order["order"] == "go"]
    first, *rows = (folder / "plan.jsonl").read_text().splitlines()
    faults = [{"instance": 1, "fault": "duplicate 0.1"}, {"instance": 4, "fault": "loss 0.5 r03"}]
    row = {
        "shard": 0,
        "id": f"{go_ms + 1000}-0",
        "control": "plan",
        "faults": faults,
        "request_id": "1-1",
        "request": "set",
        "refusal": "",
    }
    # and whose end was stored twice, because an answer was lost
    (folder / "plan.jsonl").write_text("\n".join([first, *rows[:-1], json.dumps(row), rows[-1], rows[-1], ""]))

    # When it is prepared to be run again
    plan = prepare({"again": run}).plan

    # Then the change is in its plan, with its date and its dice
    assert [(planned.instance, planned.line.text()) for planned in plan] == [
        (0, "loss 0.2 @0s+1s"),
        (1, "duplicate 0.1"),
        (2, "delay 5ms..20ms @0s+1s"),
        (3, "reorder 0.1 @0s+1s"),
        (4, "loss 0.5 r03 @1s"),
    ]


def test_a_pause_that_a_person_ended_comes_again_with_its_real_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given the record of a run with three pauses of one process, of which the second was ended before its time, and
    # which a person changed
    monkeypatch.chdir(tmp_path)
    pauses = "pause r01 @100ms+300ms; pause r01 @1s+1s; pause r01 @3s+200ms"
    chaos = f"{pauses}; resume r01 @1500ms; restart r02 @3s"
    reported = simulate("--preset", "calm", "-n", "3", "--for", "4s", "--chaos", chaos, capsys=capsys)
    folder = tmp_path / str(reported["record"])
    rows = [json.loads(row) for row in (folder / "plan.jsonl").read_text().splitlines()]
    rows[-1]["request"] = "heal"
    (folder / "plan.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    # and who also killed the supervisor
    with (folder / "fleet.jsonl").open("a") as fleet:
        last = json.loads((folder / "fleet.jsonl").read_text().splitlines()[-1])
        killed = {"row": "injection", "verb": "kill", "target": "supervisor", "victim": "supervisor"}
        fleet.write(json.dumps({"id": last["id"], **killed}) + "\n")

    # When it is prepared to be run again, then each is as long as it was, and no process has to be resumed
    assert texts(prepare({"again": folder.name}).plan) == [
        "pause r01 @100ms+300ms",
        "pause r01 @1s+500ms",
        "pause r01 @3s+200ms",
        "restart r02 @3s",
    ]


def test_a_plan_that_a_person_changed_may_have_come_in_more_pieces_than_a_plan_has_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given the record of a run with a fault that came 300 times, which a person changed
    monkeypatch.chdir(tmp_path)
    fault = ("--fault", "loss .5 @1us+5ms every 10ms")
    folder = tmp_path / str(simulate("--preset", "calm", "-n", "3", "--for", "3s", *fault, capsys=capsys)["record"])
    rows = [json.loads(row) for row in (folder / "plan.jsonl").read_text().splitlines()]
    rows[-2]["request"] = "heal"
    (folder / "plan.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    # When it is prepared to be run again, then there is a line for each time
    assert len(prepare({"again": folder.name}).plan) == 300

    # When it prints that more was in force at once than a run may have, then it is refused
    rows[-2]["faults"] = [{"instance": number, "fault": "loss 0.5 r00"} for number in range(257)]
    (folder / "plan.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UsageError, match="allowed is a plan of 256 lines"):
        prepare({"again": folder.name})


Row = dict[str, Any]
ODD: list[tuple[Callable[[Row], object], str]] = [
    (lambda row: row.pop("tick_us"), "tick_us"),
    (lambda row: row.update(tick_us=0), "settings.json: .*tick_us"),
    (lambda row: row.update(tick_us=9_000), "tick in the record of run .*: '9ms' is too short; at least 10ms"),
    (lambda row: row.update(tick_us=True), "tick_us"),
    (lambda row: row.update(tick_us="100ms"), "tick_us"),
    (lambda row: row.update(quiet_period_us=-1), "quiet_period_us"),
    (lambda row: row.update(limit_us=10**30), "limit_us"),
    (lambda row: row.update(limit_us=10**18), "limit in the record of run .* at most a year"),
    (lambda row: row.update(for_us=1.5), "for_us"),
    (lambda row: row.update(robots=1), "robots in the record of run .*: 1 is outside of what is allowed"),
    (lambda row: row.update(robots=10**9), "settings.json: .*robots"),
    (lambda row: row.update(copies=0), "copies in the record of run .*: 0 is outside"),
    (lambda row: row.update(shards=99), "relays in the record of run .*: 99 is outside"),
    (lambda row: row.update(seed=2**63), "seed"),
    (lambda row: row.update(plan="loss 0.2"), "plan"),
    (lambda row: row.update(plan=["loss 2"], instances=[0]), "a probability from 0 to 1"),
    (lambda row: row.update(plan=["loss 0.2 r99"], instances=[0]), "r99 is none of the robots"),
    (lambda row: row.update(plan=["loss 0.2"], instances=[]), "1 lines, but 0 instances"),
    (lambda row: row.update(plan=["loss 0.2"], instances=[-1]), "instances"),
    (lambda row: row.update(plan=["loss 0.2 r00"] * 300, instances=[*range(300)]), "a plan of 256 lines"),
]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, in a `runs` of its own."""
    place = tmp_path_factory.mktemp("recorded")
    with pytest.raises(SystemExit):
        main(["simulate", "--seed", "7", "-n", "3", "--runs-dir", str(place / "runs"), "--json"])
    return (place / "runs" / "latest").resolve()


@pytest.mark.parametrize(("make_odd", "complaint"), ODD, ids=[complaint for _, complaint in ODD])
def test_a_record_that_is_odd_is_reported_in_one_line(
    recorded: Path, make_odd: Callable[[Row], object], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded / "settings.json"
    text = path.read_text()
    row = json.loads(text)
    make_odd(row)
    path.write_text(json.dumps(row))

    with pytest.raises(SystemExit) as ended:
        main(["simulate", "--again", recorded.name, "--runs-dir", str(recorded.parent)])
    path.write_text(text)

    reported = capsys.readouterr()
    assert (ended.value.code, reported.out, reported.err.count("\n")) == (2, "", 1)
    assert re.search(complaint, reported.err), reported.err


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000, b"{}"])
def test_settings_that_cannot_be_read_are_reported_in_one_line(recorded: Path, content: bytes) -> None:
    path = recorded / "settings.json"
    text = path.read_bytes()
    path.write_bytes(content)

    with pytest.raises(Unrepeatable, match=f"run {recorded.name} has no settings that can be read") as error:
        prepare({"again": recorded.name, "runs_dir": str(recorded.parent)})
    path.write_bytes(text)

    assert "\n" not in str(error.value)
