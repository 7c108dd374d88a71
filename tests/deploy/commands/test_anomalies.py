"""`robots anomalies`, and the lines about anomalies that a run prints."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.commands import main

PAUSED = ("simulate", "--seed", "5", "--for", "6s", "--chaos", "pause r03 @2s+1800ms")


@pytest.fixture
def robots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROBOTS_ANOMALIES", raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return call


def test_a_simulation_prints_what_is_unusual_and_the_record_shows_it_again(
    robots: Callable[..., tuple[int, str, str]],
) -> None:
    # Given a simulated run in which a robot is paused
    code, _, err = robots(*PAUSED)
    assert code == 0
    began, ended = [line for line in err.splitlines() if "unusual" in line]
    assert re.fullmatch(r" +3\.\d{3}s  unusual: r03 \(late beat\): no event for 1\.[56] s", began)
    assert re.fullmatch(r" +3\.\d{3}s  not unusual any more: r03 \(late beat\)", ended)
    # When its record is asked
    code, out, _ = robots("anomalies")
    # Then it is there, with its times
    head, row = out.splitlines()
    assert code == 0
    assert head.split() == ["after", "go", "lasted", "rule", "about", "detail"]
    assert re.fullmatch(r"3\.\d s +0\.\d s +late beat +r03 +no event for 1\.[56] s", row)
    # and as one object
    _, out, _ = robots("anomalies", "latest", "--json")
    [anomaly] = json.loads(out)["anomalies"]
    assert (anomaly["rule"], anomaly["about"]) == ("late beat", "r03")
    assert 0 < anomaly["ended_us"] - anomaly["began_us"] < 500_000


def test_the_thresholds_are_those_of_the_run_unless_others_are_given(
    robots: Callable[..., tuple[int, str, str]],
) -> None:
    # Given a run with a threshold of its own, under which nothing is unusual
    _, _, err = robots(*PAUSED, "--anomalies", "beat_ticks 30")
    assert "unusual" not in err
    # Then its record is seen with that,
    _, out, _ = robots("anomalies")
    assert out.endswith("nothing unusual\n")
    # or with another one,
    _, out, _ = robots("anomalies", "--anomalies", "beat_ticks 15")
    assert "late beat" in out
    # also one of the file
    Path("robots.toml").write_text("[anomalies]\nbeat_ticks = 14\n")
    _, out, _ = robots("anomalies")
    assert "late beat" in out


def test_a_run_is_repeated_with_its_thresholds(robots: Callable[..., tuple[int, str, str]]) -> None:
    # Given a run with a threshold of its own
    _, out, _ = robots(*PAUSED, "--anomalies", "beat_ticks 30", "--json")
    first = json.loads(out)
    assert "--anomalies 'beat_ticks 30'" in first["again"]
    # When it is repeated from its record, and by its command line
    for command in (("simulate", "--again", "latest"), tuple(shlex.split(first["again"])[1:])):
        _, out, err = robots(*command, "--json")
        # Then the history is the same, without an anomaly
        assert json.loads(out)["digest"] == first["digest"]
        assert "unusual" not in err


def test_a_threshold_that_is_none_is_refused(robots: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = robots("simulate", "--anomalies", "stuck 3")

    assert (code, out) == (2, "")
    assert err.startswith("robots: --anomalies: 'stuck' is no threshold; allowed are restarts, ")
    assert len(err.splitlines()) == 1
