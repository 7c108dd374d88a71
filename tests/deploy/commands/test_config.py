"""`robots config`: what is in force, where it comes from, and what is never shown. Also the warning that every command
gives for a variable that is no setting."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from deploy.config.listing import masked
from deploy.config.settings import LabSettings, load_settings, setting_names
from tests.support.terminal import Terminal


@pytest.fixture(autouse=True)
def folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in setting_names():
        monkeypatch.delenv(f"ROBOTS_{name.upper()}", raising=False)
    return here


def shown(terminal: Terminal, *arguments: str) -> dict[str, dict[str, Any]]:
    row = terminal.do("config", "--json", *arguments).row
    return {setting["name"]: setting for setting in row["settings"]}


def test_every_setting_has_a_value_and_a_source(
    folder: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a setting in each place, and one in two
    (folder / "robots.toml").write_text('loss = 0.1\nquiet-period = "2s"\ncopies = 2\n')
    monkeypatch.setenv("ROBOTS_COPIES", "3")
    monkeypatch.setenv("robots_tick", "50ms")

    settings = shown(terminal, "--kill", "r03@2s")

    assert settings.keys() == setting_names()
    assert settings["loss"] == {"name": "loss", "value": "0.1", "source": "robots.toml: loss"}
    assert settings["quiet_period"] == {"name": "quiet_period", "value": "2s", "source": "robots.toml: quiet_period"}
    assert settings["copies"] == {"name": "copies", "value": 3, "source": "ROBOTS_COPIES"}
    assert settings["tick"] == {"name": "tick", "value": "50ms", "source": "robots_tick"}
    assert settings["kill"] == {"name": "kill", "value": ["r03 @2s"], "source": "--kill"}
    assert settings["robots"] == {"name": "robots", "value": 6, "source": "default"}
    assert settings["seed"] == {"name": "seed", "value": None, "source": "default"}


def test_of_two_that_exclude_each_other_the_loser_is_not_in_force(
    folder: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "robots.toml").write_text('faults = "plan.toml"\n')
    monkeypatch.setenv("ROBOTS_PRESET", "storm")

    settings = shown(terminal)

    assert (settings["preset"]["value"], settings["preset"]["source"]) == ("storm", "ROBOTS_PRESET")
    assert (settings["faults"]["value"], settings["faults"]["source"]) == (None, "default")


def test_what_an_exhibit_brings_has_the_exhibit_as_its_source(terminal: Terminal) -> None:
    settings = shown(terminal, "--exhibit", "no-delay", "--for", "9s")

    assert (settings["fault"]["value"], settings["fault"]["source"]) == (["delay 300ms"], "--exhibit no-delay")
    assert (settings["for"]["value"], settings["for"]["source"]) == ("9s", "--for")


def test_what_a_record_brings_has_the_record_as_its_source(terminal: Terminal) -> None:
    # Given a record
    run = json.loads(terminal.do("simulate", "--json", "--seed", "7", "-n", "4").out)["run"]

    settings = shown(terminal, "--again", run, "--tick", "200ms")

    assert settings["seed"] == {"name": "seed", "value": 7, "source": f"--again: seed in the record of run {run}"}
    assert settings["again"] == {"name": "again", "value": run, "source": "--again"}
    assert settings["tick"]["source"] == "--tick"


def test_what_is_printed_sets_the_same_again(folder: Path, terminal: Terminal) -> None:
    # Given settings of every type
    flags = (
        "--fault",
        "loss .3 r03",
        "--kill",
        "r03@2s",
        "--for",
        "3s",
        "--anomalies",
        "stuck_ticks 30, rate_begin_odds 1e-7",
    )
    more = ("--seed", "7", "--handlers", "mine:One", "--runs-dir", 'a "b"\\\tc', "--limit", "1500ms", "--for", "1s")
    printed = terminal.do("config", *flags[:4], *flags[6:], *more).out

    # When a robots.toml holds what was printed
    (folder / "robots.toml").write_text(printed)

    # Then another command with no flag has the same settings
    assert terminal.do("config").out == printed
    settings = load_settings({})
    assert (settings.seed, settings.limit, settings.kill) == (7, 1_500_000, ("r03 @2s",))
    assert (settings.runs_dir, settings.anomalies.stuck_ticks) == (Path('a "b"\\\tc'), 30)


def test_the_sources_stand_in_comments(terminal: Terminal) -> None:
    lines = terminal.do("config", "--sources", "--loss", ".3").out.splitlines()

    assert [line.split() for line in lines if line.startswith("loss")] == [["loss", "=", '"0.3"', "#", "--loss"]]
    assert tomllib.loads("\n".join(lines))["loss"] == "0.3"


@pytest.mark.parametrize("json_", [(), ("--json",)])
def test_no_password_and_no_secret_is_shown(terminal: Terminal, json_: tuple[str, ...]) -> None:
    secrets = ("--secret", "hidden words", "--jaeger-url", "http://me:hidden2@h")

    done = terminal.do("config", *json_, *secrets, "--redis-url", "redis://lab:hid%2Fden@h:1/0")

    assert "hid" not in done.out
    for line in ("redis://lab:***@h:1/0", "http://me:***@h"):
        assert line in done.out
    assert done.err == ""
    if not json_:  # and no robots.toml that is made of it sets the mask
        assert not {"secret", "redis_url", "jaeger_url"} & tomllib.loads(done.out).keys()


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://robots@redis:6379", "redis://robots@redis:6379"),
        ("redis://:pass@h", "redis://:***@h"),
        ("rediss://u:p@ss@h?ssl_ca_certs=/ca", "rediss://u:***@h?ssl_ca_certs=/ca"),
        ("redis://u:p/a#s?s@h/1", "redis://u:***@h/1"),
        ("redis+sentinel://u:p@h1:26379,h2:26379/lab?db=1", "redis+sentinel://u:***@h1:26379,h2:26379/lab?db=1"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        (
            "redis+sentinel://h1:26379,h2:26379/lab?sentinel_password=p@ss&db=1",
            "redis+sentinel://h1:26379,h2:26379/lab?sentinel_password=***&db=1",
        ),
    ],
)
def test_only_the_password_of_a_url_is_masked(url: str, line: str) -> None:
    assert masked(url) == line


def test_every_setting_can_be_listed_whatever_its_type(terminal: Terminal) -> None:
    assert len(shown(terminal)) == len(setting_names()) >= len(LabSettings.model_fields)


def test_what_is_printed_fits_its_schema(terminal: Terminal) -> None:
    schema = json.loads(terminal.do("schema", "config").out)

    printed = terminal.do("config", "--json", "--kill", "r03@2s", "--secret", "a").row

    assert list(Draft202012Validator(schema).iter_errors(printed)) == []


def test_a_variable_that_is_no_setting_is_reported_once_and_the_result_is_as_before(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = terminal.do("runs", "--json")
    monkeypatch.setenv("ROBOTS_ROBOT", "3")

    for command in (("runs", "--json"), ("config", "--again", "none"), ("ps",)):
        done = terminal.do(*command)
        assert done.err.count("robots: ROBOTS_ROBOT is no setting; do you mean ROBOTS_ROBOTS?\n") == 1, command
    after = terminal.do("runs", "--json")
    assert (after.code, after.out) == (before.code, before.out)
    # And a command that loads no settings does not mention it
    assert terminal.do("schema", "ps").err == ""


def test_a_wrong_key_in_the_file_is_refused_with_the_nearest_name(folder: Path, terminal: Terminal) -> None:
    (folder / "robots.toml").write_text('"quiet-perio" = "3s"\n')

    refused = terminal.do("runs")

    assert (refused.code, refused.complaint) == (
        2,
        "robots: robots.toml: 'quiet-perio' is no setting; do you mean quiet_period?\n",
    )
