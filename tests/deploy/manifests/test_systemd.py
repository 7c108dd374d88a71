"""The units of deploy/systemd: what systemd itself says of them, and what they say of this lab."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.errors import ENVIRONMENT, INTERRUPTED, SOFTWARE, USAGE
from deploy.fleet.worker_group import END_S
from tests.deploy.manifests.commands import demand_command, unknown_variables
from tests.support.checkout import ROOT

SYSTEMD = ROOT / "deploy/systemd"
SERVICES = ("robots-worker@.service", "robots-relay.service", "robots-supervisor.service")
INSTANCES = ("robots.target", *(name.replace("@.", "@1.") for name in SERVICES))
PROGRAM = "/opt/robots/bin/robots"
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="no `systemd-analyze` on PATH: the units are only read here")
WORST_EXPOSURE = 1.6  # of 10, where systemd calls everything below 4 good


def settings_of(unit: str) -> dict[str, list[str]]:
    """The settings of a unit, and those that it shares: each with all of its values."""
    found: dict[str, list[str]] = {}
    for path in (SYSTEMD / unit, SYSTEMD / "robots-.service.d/lab.conf"):
        for line in path.read_text().splitlines():
            name, is_setting, value = line.partition("=")
            if is_setting and not line.startswith("#"):
                found.setdefault(name, []).append(value)
    return found


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, for a program that is on this machine: systemd looks whether it can be executed."""
    shutil.copytree(SYSTEMD, tmp_path / "units")
    for name in SERVICES:
        path = tmp_path / "units" / name
        path.write_text(path.read_text().replace(PROGRAM, "/bin/true"))
    return tmp_path / "units"


def analyze(units: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    environment = {"SYSTEMD_UNIT_PATH": f"{units}:", "SYSTEMD_LOG_LEVEL": "warning", "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [ANALYZE, *arguments], env=environment, capture_output=True, text=True, timeout=50, check=False
    )


@needs_systemd
def test_systemd_finds_nothing_to_complain_about(units: Path) -> None:
    done = analyze(units, "verify", *(str(units / name) for name in INSTANCES))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
@pytest.mark.parametrize("service", INSTANCES[1:])
def test_a_service_that_is_taken_over_can_do_little(units: Path, service: str) -> None:
    done = analyze(units, "security", "--offline=yes", "--no-pager", str(units / service))

    [exposure] = re.findall(r"exposure level for \S+: (\d+\.\d)", done.stdout)
    assert float(exposure) <= WORST_EXPOSURE


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_runs_a_command_of_the_lab(service: str) -> None:
    [start] = settings_of(service)["ExecStart"]

    program, *arguments = start.split()
    assert program == PROGRAM
    demand_command(arguments)
    assert (arguments[0] == "worker") == ("--stay" not in arguments)  # they serve all runs


@pytest.mark.parametrize("service", SERVICES)
def test_a_wrong_setting_is_not_tried_again_and_everything_else_is(service: str) -> None:
    settings = settings_of(service)

    assert settings["Restart"] == ["on-failure"]
    assert settings["RestartPreventExitStatus"] == [str(USAGE)]
    assert settings["SuccessExitStatus"] == [str(INTERRUPTED)]
    assert {ENVIRONMENT, SOFTWARE}.isdisjoint({USAGE, INTERRUPTED})
    assert settings["StartLimitIntervalSec"] == ["0"]  # a server may be away for long


@pytest.mark.parametrize("service", SERVICES)
def test_an_end_in_order_has_its_time(service: str) -> None:
    settings = settings_of(service)

    assert settings["KillMode"] == ["mixed"]
    assert float(settings["TimeoutStopSec"][0]) > 2 * END_S


@pytest.mark.parametrize("service", SERVICES)
def test_the_password_is_a_credential_and_no_variable(service: str) -> None:
    settings = settings_of(service)

    [credential] = settings["LoadCredential"]
    name, _, _ = credential.partition(":")
    assert settings["Environment"] == [f"ROBOTS_REDIS_PASSWORD_FILE=%d/{name}"]


def test_every_variable_is_a_setting() -> None:
    lines = [line for service in SERVICES for line in settings_of(service)["Environment"]]
    lines += [line for line in (SYSTEMD / "robots.env").read_text().splitlines() if not line.startswith("#")]

    names = {line.partition("=")[0] for line in lines}
    assert names == {"ROBOTS_REDIS_URL", "ROBOTS_REDIS_PASSWORD_FILE"}
    assert unknown_variables(names) == []


def test_the_target_starts_and_stops_them_all() -> None:
    for service in SERVICES:
        settings = settings_of(service)
        assert (settings["WantedBy"], settings["PartOf"]) == (["robots.target"], ["robots.target"]), service
