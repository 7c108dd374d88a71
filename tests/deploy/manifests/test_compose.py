"""compose.yaml as facts: what any service of it may do, what a health check asks, and where no password stands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.commands import app
from deploy.config.settings import LabSettings, name_of
from tests.support.checkout import ROOT

TEXT = (ROOT / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONCE = {"deal", "verdict"}  # they end, and are not started again
OURS = {name for name, service in SERVICES.items() if service["image"].startswith("robots-lab:")}
PROFILES = {"observability", "ha"}
EXAMPLE = (ROOT / ".env.example").read_text()

every_service = pytest.mark.parametrize("name", SERVICES)


def compose(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Docker Compose on the file alone: no daemon is asked. Skips where there is no Docker Compose."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed here")
    return subprocess.run(
        [docker, "compose", "--file", str(ROOT / "compose.yaml"), *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def mounts(service: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for volume in service.get("volumes", ()):
        source, _, target = volume.partition(":")
        yield source, target


# The file


def test_the_file_is_what_the_compose_specification_allows() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "check_jsonschema",
            "--builtin-schema",
            "vendor.compose-spec",
            str(ROOT / "compose.yaml"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("profiles", ["", "observability", "ha", "observability,ha"])
def test_docker_compose_understands_every_profile(profiles: str) -> None:
    done = compose("config", "--quiet", COMPOSE_PROFILES=profiles)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_the_project_has_a_name_and_no_version() -> None:
    assert COMPOSE["name"] == "robots"
    assert "version" not in COMPOSE


def test_only_the_two_profiles_add_to_what_always_runs() -> None:
    always = {name for name, service in SERVICES.items() if "profiles" not in service}

    assert always == {"redis", "deal", "robot", "relay", "supervisor", "verdict"}
    assert {profile for service in SERVICES.values() for profile in service.get("profiles", ())} == PROFILES


# Every service


@every_service
def test_no_service_may_do_more_than_it_must(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert int(service["user"].partition(":")[0]) > 0


@every_service
def test_every_service_has_limits(name: str) -> None:
    assert re.fullmatch(r"\d+m", SERVICES[name]["mem_limit"])
    assert 0 < SERVICES[name]["pids_limit"] <= 128


@every_service
def test_the_log_of_no_service_fills_a_disk(name: str) -> None:
    assert SERVICES[name]["logging"] == {"driver": "json-file", "options": {"max-size": "5m", "max-file": "2"}}


@every_service
def test_every_image_is_pinned_to_a_whole_version(name: str) -> None:
    assert re.search(r":v?\d+\.\d+\.\d+[\w.-]*$", SERVICES[name]["image"])


@every_service
def test_a_port_is_open_to_this_host_alone(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@every_service
def test_every_service_is_named_by_compose(name: str) -> None:
    """So that `--scale` can start more of it."""
    assert "container_name" not in SERVICES[name]
    assert "hostname" not in SERVICES[name]


@every_service
def test_a_service_is_started_again_unless_it_is_to_end(name: str) -> None:
    assert SERVICES[name]["restart"] == ("no" if name in ONCE else "unless-stopped")
    assert SERVICES[name]["init"] is True


@every_service
def test_all_files_that_a_service_mounts_are_here(name: str) -> None:
    for source, target in mounts(SERVICES[name]):
        if source.startswith("./"):
            assert (ROOT / source).exists(), source
            assert target.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]


@every_service
def test_a_health_check_asks_for_more_than_a_process(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    if name == "deal":
        assert check == {"disable": True}  # it ends at once
        return

    asked = " ".join(check["test"])
    assert re.search(r"robots-healthy|redis-cli .*(ping|ckquorum)|wget .*(status|ready|health)", asked)
    assert ("robots-healthy" in asked) == (name in OURS)


# Robots


def test_robots_can_be_scaled() -> None:
    robot = SERVICES["robot"]

    assert "ports" not in robot
    assert "volumes" not in robot
    assert robot["command"] == ["worker"]
    assert robot["scale"] == "${ROBOTS_ROBOTS:-25}"  # as many as robots are dealt
    assert robot["scale"] == SERVICES["deal"]["environment"]["ROBOTS_ROBOTS"]


def test_the_image_has_the_version_of_the_lab() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert {SERVICES[name]["image"] for name in OURS} == {f"robots-lab:{version}"}


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_lab_understands_every_command(name: str) -> None:
    app.parse_args(SERVICES[name]["command"], exit_on_error=False, print_error=False)


def test_what_is_long_running_waits_for_the_next_run() -> None:
    assert all({"--stay", "--wait"} & {*SERVICES[name]["command"]} for name in OURS - {"deal", "robot"})


# Passwords


def test_passwords_are_files_and_stand_nowhere_else() -> None:
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert ".env" in ignored
    assert all(any(secret["file"].startswith(line) for line in ignored) for secret in COMPOSE["secrets"].values())


@every_service
def test_the_environment_of_no_service_holds_a_password(name: str) -> None:
    """What `docker inspect` shows: the environment and the command."""
    service = SERVICES[name]
    for variable, value in service.get("environment", {}).items():
        assert variable.endswith("_FILE") or not re.search("PASS|SECRET|TOKEN|KEY", variable), variable
        assert not re.search(r"//[^/]*:[^/]*@", str(value)), variable
    given = [*service.get("command", ()), *service.get("entrypoint", ())]
    assert not re.search(r"requirepass|masterauth|auth-pass|--pass", " ".join(given))


def test_redis_gets_hashes_and_refuses_who_has_no_password() -> None:
    users = (ROOT / "deploy/compose/redis/users.acl").read_text().splitlines()

    assert users[0].startswith("user default off resetpass ")
    for line in users[1:]:
        _, name, on, secret, *rules = line.split()
        assert on == "on"
        assert re.fullmatch(r"#@\w+@", secret) or (name, secret, rules[-2:]) == ("probe", "nopass", ["-@all", "+ping"])


def test_robots_have_no_way_out_and_no_way_in() -> None:
    assert COMPOSE["networks"]["lab"]["internal"] is True
    for name in ("redis", "redis-replica", "robot", "relay", "supervisor", "deal", "verdict"):
        assert [*SERVICES[name]["networks"]] == ["lab"]


@pytest.mark.parametrize("name", sorted(OURS | {"redis", "redis-replica", "sentinel-1", "sentinel-2", "sentinel-3"}))
def test_redis_and_its_sentinels_are_known_by_name_when_they_are_dead(name: str) -> None:
    """Docker forgets the name of a dead container, and a Sentinel that waits for a resolver elects no new master."""
    fixed = {
        name: service["networks"]["lab"]["ipv4_address"]
        for name, service in SERVICES.items()
        if "ipv4_address" in str(service["networks"])
    }

    assert {*fixed} == {"redis", "redis-replica", "sentinel-1", "sentinel-2", "sentinel-3"}
    assert dict(line.split("=") for line in SERVICES[name]["extra_hosts"]) == fixed


def test_no_container_gets_the_address_of_another_one_that_is_dead() -> None:
    filled = re.sub(r"\$\{LAB_NET:-([\d.]+)\}", r"\1", TEXT)
    [pool] = yaml.safe_load(filled)["networks"]["lab"]["ipam"]["config"]
    others = ip_network(pool["ip_range"])

    assert others.subnet_of(ip_network(pool["subnet"]))
    for service in yaml.safe_load(filled)["services"].values():
        if "ipv4_address" in str(service["networks"]):
            address = ip_address(service["networks"]["lab"]["ipv4_address"])
            assert address in ip_network(pool["subnet"])
            assert address not in others


# What a person may set


def test_the_example_names_every_variable_of_the_file() -> None:
    named = set(re.findall(r"\$\{(\w+)", TEXT))
    shown = set(re.findall(r"^#?(\w+)=", EXAMPLE, re.MULTILINE))
    options = {f"ROBOTS_{name_of(field).upper()}" for field in LabSettings.model_fields}

    assert named <= shown
    assert shown - named - {"COMPOSE_PROFILES"} <= options


def test_the_example_holds_no_password() -> None:
    assert not re.search(r"PASSWORD\w*=|://[^\n]*:[^\n/]*@", EXAMPLE)


def test_the_passwords_are_made_once_and_only_their_owner_finds_them(tmp_path: Path) -> None:
    # Given the script, in a place of its own
    script = Path(shutil.copy(ROOT / "deploy/compose/secrets.sh", tmp_path))

    # When it runs twice
    subprocess.run(["sh", script], check=True)
    made = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    subprocess.run(["sh", script], check=True)

    # Then it made one password for each secret of the file, and left them as they were
    assert set(made) == {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    assert all(re.fullmatch(r"[0-9a-f]{64}", password) for password in made.values())
    assert len({*made.values()}) == len(made)
    assert {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()} == made
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
