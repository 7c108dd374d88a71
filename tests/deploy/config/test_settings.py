"""Where a setting comes from: flags, environment, robots.toml, defaults; and how a wrong one is refused."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from deploy.commands import main
from deploy.config.experiment import prepare
from deploy.config.flags import takes
from deploy.config.settings import LabSettings, load_place, load_settings
from deploy.errors import UsageError
from deploy.lifecycle.recording import again
from telemetry.anomalies.thresholds import Thresholds


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in LabSettings.model_fields:
        monkeypatch.delenv(f"ROBOTS_{name.rstrip('_').upper()}", raising=False)
    return tmp_path


def test_flags_win_over_the_environment_and_that_over_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a setting in the file, one also in the environment, and one in all places
    (folder / "robots.toml").write_text(
        'loss = 0.1\nduplicate = ".2 x3"\nrobots = 9\nfor = "3s"\nquiet-period = "2s"\n'
    )
    monkeypatch.setenv("ROBOTS_DUPLICATE", ".3")
    monkeypatch.setenv("ROBOTS_ROBOTS", "8")
    monkeypatch.setenv("ROBOTS_LIMIT", "9s")

    settings = load_settings({"robots": "7"})

    assert (settings.robots, settings.duplicate, settings.loss) == (7, "0.3", "0.1")
    assert (settings.for_, settings.quiet_period, settings.limit) == (3_000_000, 2_000_000, 9_000_000)
    assert settings.tick == 100_000


def test_the_file_sets_what_commands_share(folder: Path) -> None:
    (folder / "robots.toml").write_text('runs_dir = "kept"\njson = true\nloss = 0.1\nredis_url = "redis://h"\n')

    place = load_place({"redis_url": "unix:///s"})

    assert (place.runs_dir, place.json_, place.redis_url) == (Path("kept"), True, "unix:///s")


def test_thresholds_of_anomalies_are_a_table_in_the_file_and_a_text_elsewhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a table in the file
    (folder / "robots.toml").write_text("[anomalies]\nstuck_ticks = 30\nunheard = 40\n")
    assert load_settings({}).anomalies == Thresholds(stuck_ticks=30, unheard=40)
    # Then the environment replaces it whole, and a flag that
    monkeypatch.setenv("ROBOTS_ANOMALIES", "beat_ticks 20")
    assert load_settings({}).anomalies == Thresholds(beat_ticks=20)
    assert load_settings({"anomalies": "lag_ticks=3"}).anomalies == Thresholds(lag_ticks=3)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("anomalies = 3", "robots.toml: anomalies: '3' is no threshold with a number"),
        ("[anomalies]\nstuck = 3", "robots.toml: anomalies: 'stuck' is no threshold"),
        ("[anomalies]\nstuck_ticks = -1", "robots.toml: anomalies: "),
        ("[anomalies]\nstuck_ticks = 'soon'", "robots.toml: anomalies: "),
    ],
)
def test_a_threshold_in_the_file_that_is_none_is_named_with_its_place(
    folder: Path, content: str, complaint: str
) -> None:
    (folder / "robots.toml").write_text(content)

    with pytest.raises(UsageError, match=f"^{complaint}"):
        load_settings({})


def test_several_faults_are_a_list_in_the_file(folder: Path) -> None:
    (folder / "robots.toml").write_text('fault = ["loss .3", "corrupt .1 r01"]\nkill = ["r03@2s", "relay@3s"]\n')

    settings = load_settings({})

    assert settings.fault == ("loss 0.3", "corrupt 0.1 r01")
    assert settings.kill == ("r03 @2s", "relay @3s")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("loss = 7", "robots.toml: loss: "),
        ("loss = true", "robots.toml: loss: "),
        ("robots = 'many'", "robots.toml: robots: 'many' is not a whole number"),
        ("for = 5", "robots.toml: for: '?5'? is not a time"),
        ("quiet-period = 'soon'", "robots.toml: quiet_period: 'soon' is not a time"),
        ("secret = 5", "robots.toml: secret: "),
        ("json = 'perhaps'", "robots.toml: json: "),
        ("redis_url = 'http://h'", "robots.toml: redis_url: "),
        ("colour = 'red'", "robots.toml: 'colour' is no setting"),
        ("los = 1\nlimits = 2", "robots.toml: 'los', 'limits' are no settings"),
        ("[network]\nloss = 1", "robots.toml: 'network' is no setting"),
        ("loss =", "robots.toml: not TOML: "),
        ("secret = 'a'\nsecret_file = 'b'", "robots.toml: secret and robots.toml: secret_file: only one"),
        ("preset = 'calm'\nfaults = 'b'", "robots.toml: preset and robots.toml: faults: only one"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(
    folder: Path, content: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "robots.toml").write_text(content)

    with pytest.raises(UsageError, match=complaint):
        load_settings({})
    with pytest.raises(SystemExit) as ended:
        main(["simulate"])

    out, err = capsys.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (2, "", 1)


def test_a_file_that_cannot_be_read_is_reported(folder: Path) -> None:
    (folder / "robots.toml").mkdir()

    with pytest.raises(UsageError, match=r"robots\.toml: Is a directory"):
        load_settings({})


@pytest.mark.parametrize(("name", "value"), [("loss", "x"), ("for", "soon"), ("redis_url", "http://h"), ("json", "x")])
def test_an_error_names_where_the_value_came_from(
    folder: Path, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = name if name in LabSettings.model_fields else f"{name}_"
    flag = f"--{name.replace('_', '-')}"

    with pytest.raises(UsageError, match=f"^{flag}: "):
        load_settings({field: value})
    monkeypatch.setenv(f"ROBOTS_{name.upper()}", value)
    with pytest.raises(UsageError, match=f"^ROBOTS_{name.upper()}: "):
        load_settings({})
    (folder / "robots.toml").write_text(f"{name} = '{value}'")
    monkeypatch.delenv(f"ROBOTS_{name.upper()}")
    with pytest.raises(UsageError, match=rf"^robots\.toml: {name}: "):
        load_settings({})


def test_of_two_that_exclude_each_other_the_one_with_the_higher_place_counts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "robots.toml").write_text('secret = "a b"\nfaults = "plan.toml"\n')

    assert (load_settings({}).secret, load_settings({}).faults) == ("a b", Path("plan.toml"))
    assert load_settings({"preset": "calm"}).faults is None
    monkeypatch.setenv("ROBOTS_SECRET_FILE", "letter.txt")
    settings = load_settings({})
    assert (settings.secret, settings.secret_file) == (None, "letter.txt")
    settings = load_settings({"secret": "c"})
    assert (settings.secret, settings.secret_file) == ("c", None)


def test_every_setting_is_a_flag() -> None:
    def command(*, given: object) -> int:
        return 0

    flags = inspect.signature(takes(LabSettings)(command)).parameters

    assert sorted(flags) == sorted(LabSettings.model_fields)


def test_the_command_that_repeats_a_run_names_only_what_was_set() -> None:
    # Given a run of which only the seed was chosen
    experiment = prepare({"seed": "7"})

    # Then its preset, which was not named, is not in the command
    assert again("x", "run", experiment) == "robots run -n 6 --seed 7"


def test_the_command_that_repeats_a_run_names_every_setting_that_was_set(folder: Path) -> None:
    # Given a file, and a flag that sets a default against it
    (folder / "robots.toml").write_text('tick = "50ms"\nloss = 0.1\nfaults = "plan.toml"\n')
    (folder / "plan.toml").write_text("faults = []")

    experiment = prepare({"tick": "100ms", "seed": "7"})

    # Then the line does not depend on the file
    assert again("x", "simulate", experiment) == (
        "robots simulate -n 6 --seed 7 --faults plan.toml --loss 0.1 --tick 100ms"
    )


def test_an_exhibit_brings_the_settings_that_show_it_and_a_flag_replaces_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an exhibit that needs a delay, an environment that sets other faults, and a flag
    monkeypatch.setenv("ROBOTS_PRESET", "storm")
    monkeypatch.setenv("ROBOTS_EXHIBIT", "no-delay")
    experiment = prepare({"for_": "5s", "seed": "7"})

    # Then the plan is the exhibit's, the duration that of the flag, and all processes are told
    assert [planned.line.text() for planned in experiment.plan] == ["delay 300ms"]
    assert experiment.bounds.for_us == 5_000_000
    assert experiment.terms.exhibit == "no-delay"
    assert again("x", "run", experiment) == (
        "robots run -n 6 --seed 7 --exhibit no-delay --preset calm --fault 'delay 300ms' --for 5s"
    )


def test_handlers_of_a_user_are_named_by_flag_environment_or_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "robots.toml").write_text('handlers = ["mine:One", "pack.age:Two"]\n')
    assert load_settings({}).handlers == ("mine:One", "pack.age:Two")

    monkeypatch.setenv("ROBOTS_HANDLERS", "mine:Three; mine:Four")
    assert load_settings({}).handlers == ("mine:Three", "mine:Four")
    assert load_settings({"handlers": ("mine:Five",)}).handlers == ("mine:Five",)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('handlers = "os"', "robots.toml: handlers: 'os' names no handler; allowed is MODULE:CLASS"),
        ('handlers = ["os:system()"]', "robots.toml: handlers: 'os:system()' names no handler"),
        ("handlers = 3", "robots.toml: handlers: 3 is no list"),
    ],
)
def test_what_names_no_handler_is_refused_and_nothing_is_imported(folder: Path, content: str, complaint: str) -> None:
    (folder / "robots.toml").write_text(content)

    with pytest.raises(UsageError) as refused:
        load_settings({})

    assert str(refused.value).startswith(complaint)


def test_handlers_are_no_part_of_an_experiment_that_is_repeated(folder: Path) -> None:
    experiment = prepare({"handlers": ("mine:One",), "seed": "7"}, "simulation")

    assert "mine" not in again("7b08e1", "simulate", experiment)
