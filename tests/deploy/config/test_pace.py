"""A run that is slowed down: everything that a person sets takes as many times as long, and only once."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from deploy.commands import main
from deploy.config.experiment import Experiment, prepare
from deploy.config.settings import LabSettings, load_settings
from deploy.errors import UsageError
from deploy.lifecycle.recording import again, run_settings

PLAN = {"preset": "calm", "fault": ("delay 5ms..20ms", "reorder .1", "loss .3 r00 @1s+500ms"), "throttle": "20/s"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in LabSettings.model_fields:
        monkeypatch.delenv(f"ROBOTS_{name.rstrip('_').upper()}", raising=False)
    return tmp_path


def texts(experiment: Experiment) -> list[str]:
    return [planned.line.text() for planned in experiment.plan]


def simulate(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "--json", *arguments])
    assert ended.value.code == 0
    result: dict[str, object] = json.loads(capsys.readouterr().out)
    return result


def settings_of(result: dict[str, object]) -> dict[str, object]:
    settings: dict[str, object] = json.loads((Path(str(result["record"])) / "settings.json").read_text())
    return settings


@pytest.mark.parametrize(("text", "pace"), [("1", 1), ("10x", 10), ("10", 10), ("100x", 100)])
def test_a_pace_is_a_whole_number(text: str, pace: int) -> None:
    assert load_settings({"pace": text}).pace == pace


@pytest.mark.parametrize("text", ["0", "0.5x", "101", "x", "ten", "-3x", ""])
def test_what_is_no_pace_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--pace: .* 1 to 100$"):
        load_settings({"pace": text})


def test_everything_takes_as_many_times_as_long() -> None:
    # Given an experiment, and the same at a tenth of its speed
    given = {"for_": "3s", "limit": "9s", "seed": "7", **PLAN}
    usual, slow = prepare(given), prepare({**given, "pace": "10x"})

    # Then the robots' times, the bounds and each time of the plan are ten times as long
    assert (slow.terms.tick_us, slow.terms.quiet_period_us) == (1_000_000, 10_000_000)
    assert slow.terms.median_delay_us == 10 * usual.terms.median_delay_us > 0
    assert (slow.bounds.for_us, slow.bounds.limit_us) == (30_000_000, 90_000_000)
    assert texts(usual)[1:] == ["delay 5ms..20ms", "reorder 0.1", "loss 0.3 r00 @1s+500ms"]
    assert texts(slow) == [
        "throttle 2/s",
        "delay 50ms..200ms",
        "reorder 0.1 100ms..500ms",
        "loss 0.3 r00 @10s+5s",
    ]
    # and so is the limit that was not set
    assert prepare({"pace": "10x"}).bounds.limit_us == 10 * prepare({}).bounds.limit_us


def test_a_fault_that_would_be_too_slow_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"^--pace: 10x makes a fault too slow: .*'7s'|at most 1m") as error:
        prepare({"delay": "7s", "pace": "10x"})

    assert "\n" not in str(error.value)
    assert prepare({"delay": "6s", "pace": "10x"}).terms.median_delay_us == 60_000_000


def test_a_tick_that_would_be_too_long_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--tick: 100m with --pace 100x is too long; at most 1h is allowed$"):
        prepare({"tick": "1m", "pace": "100x", "limit": "2m"})
    with pytest.raises(UsageError, match=r"^--tick: 2h is too long; at most 1h is allowed$"):
        prepare({"tick": "2h", "limit": "3h"})


def test_a_limit_is_compared_with_the_plan_at_the_same_pace() -> None:
    given = {"fault": ("loss 1 @1s+2s",), "pace": "10x"}

    assert prepare({**given, "limit": "3s"}).bounds.limit_us == 30_000_000
    with pytest.raises(UsageError, match=r"^--limit"):
        prepare({**given, "limit": "2s"})


def test_the_record_holds_the_pace_and_the_times_of_the_run() -> None:
    settings = run_settings("x", "run", "1", prepare({"pace": "10x", "seed": "7", **PLAN}))

    assert (settings.pace, settings.tick_us, settings.quiet_period_us) == (10, 1_000_000, 10_000_000)
    assert "delay 50ms..200ms" in settings.plan
    assert settings.again == again("x", "run", prepare({"pace": "10x", "seed": "7", **PLAN}))


def test_the_line_that_repeats_a_slow_run_names_its_times_as_they_were_written() -> None:
    experiment = prepare({"pace": "10x", "seed": "7", "tick": "50ms", "delay": "5ms"})

    assert again("x", "run", experiment) == "robots run -n 6 --seed 7 --delay 5ms --tick 50ms --pace 10"


def test_a_slow_run_is_repeated_exactly_and_not_slowed_twice(capsys: pytest.CaptureFixture[str]) -> None:
    # Given the record of a slow run with times of its own
    faults = ("--fault", "loss .5 r00 @150ms+100ms every 300ms", "--limit", "4s", "--for", "1s")
    first = simulate(capsys, "--seed", "7", "-n", "4", "--pace", "10x", *faults)

    # When it is repeated from its record, from that record, and by its line
    repeated = simulate(capsys, "--again", str(first["run"]))
    anew = simulate(capsys, "--again", str(repeated["run"]))
    by_line = simulate(capsys, *shlex.split(str(first["again"]))[2:])

    # Then it is the same run, to the digest and the settings
    assert first["digest"] == repeated["digest"] == anew["digest"] == by_line["digest"]
    same = ("pace", "tick_us", "quiet_period_us", "for_us", "limit_us", "plan")
    assert [settings_of(anew)[name] for name in same] == [settings_of(first)[name] for name in same]


def test_a_run_is_repeated_at_another_pace_with_all_its_times(capsys: pytest.CaptureFixture[str]) -> None:
    # Given the record of a run as fast as usual
    first = simulate(capsys, "--seed", "7", "-n", "4", "--fault", "loss .5 r00 @150ms+100ms", "--preset", "calm")

    # When it is repeated ten times as slow, and that run as fast as usual again
    slow = prepare({"again": str(first["run"]), "pace": "10x"})
    recorded = simulate(capsys, "--again", str(first["run"]), "--pace", "10x")
    back = simulate(capsys, "--again", str(recorded["run"]), "--pace", "1x")

    # Then the slow one has every time ten times, once; and the last one is the first
    assert (slow.terms.tick_us, texts(slow)) == (1_000_000, ["loss 0.5 r00 @1500ms+1s"])
    assert settings_of(recorded)["limit_us"] == 10 * int(str(settings_of(first)["limit_us"]))
    assert back["digest"] == first["digest"]
    # and each names the command that repeats what it was
    assert recorded["again"] == f"robots simulate --again {recorded['run']}"


def test_the_recorded_pace_wins_over_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = simulate(capsys, "--seed", "7", "-n", "3")

    monkeypatch.setenv("ROBOTS_PACE", "10x")

    assert prepare({"again": str(first["run"])}).terms.tick_us == 100_000
    assert prepare({}).terms.tick_us == 1_000_000


def test_a_hold_is_recorded_for_real_processes_and_is_no_part_of_what_is_repeated(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a folder in which runs are held back
    (folder / "robots.toml").write_text("hold = true\n")
    experiment = prepare({"seed": "7"})

    # Then a run of real processes is, a simulation is not, and neither is what repeats it
    assert run_settings("x", "run", "1", experiment).hold
    assert not run_settings("x", "simulate", "1", experiment).hold
    assert again("x", "run", experiment) == "robots run -n 6 --seed 7"
    assert settings_of(simulate(capsys, "--seed", "7"))["hold"] is False
