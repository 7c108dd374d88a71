"""The command lines that a screen shows beside what it does: they do the same, and hold no password."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from broker.streams.address import Address, parse_url, without_password
from deploy.attach.discovery import RunLocation
from deploy.observing.controls import LiveControls

URL = "redis://lab.example:6379/2"


def controls_of(folder: Path | None, parent: int | None = 1, control: str = URL, data: str = URL) -> LiveControls:
    return LiveControls(RunLocation("7b08e1", Address(control, data), folder, parent))


@pytest.mark.parametrize(
    ("verb", "argument", "command"),
    [
        ("set", "loss .5", 'robots faults set "loss .5" 7b08e1'),
        ("set", "partition r00..r02|r03>r05; delay 20ms~0.5", 'robots faults set "partition r00..r02|r03>r05; '
         'delay 20ms~0.5" 7b08e1'),
        ("set", 'loss "$(reboot)`', "robots faults set 'loss \"$(reboot)`' 7b08e1"),
        ("clear", "loss", "robots faults clear loss 7b08e1"),
        ("clear", "#4", 'robots faults clear "#4" 7b08e1'),
        ("heal", "", "robots faults heal 7b08e1"),
        ("kill", "r03", "robots kill r03 7b08e1"),
        ("crash", "r03/secret_merger", "robots crash r03/secret_merger 7b08e1"),
        ("kill", "rq:r03", "robots kill rq:r03 7b08e1"),
        ("stop", "", "robots stop 7b08e1"),
        ("go", "", "robots go 7b08e1"),
    ],
)  # fmt: skip
def test_a_run_of_this_folder_is_named_by_its_id_alone(here: Path, verb: str, argument: str, command: str) -> None:
    shown = controls_of((here / "runs" / "7b08e1").resolve()).command_of(verb, argument)

    assert shown == command
    assert argument in [*shlex.split(shown), ""]


def test_a_run_elsewhere_is_named_with_what_finds_it(here: Path) -> None:
    folder, socket = here / "my runs" / "7b08e1", "unix:///run/redis.sock?db=3"

    assert controls_of(folder).command_of("stop") == f"robots stop 7b08e1 --runs-dir '{here}/my runs'"
    assert controls_of(None, None).command_of("stop") == f"robots stop 7b08e1 --redis-url {URL}"
    assert controls_of(here / "runs" / "7b08e1", None).command_of("stop") == f"robots stop 7b08e1 --redis-url {URL}"
    assert controls_of(None, None, URL, socket).command_of("stop") == (
        f"robots stop 7b08e1 --control-url {URL} --data-url '{socket}'"
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (URL, URL),
        ("redis://:s3cret@lab.example:6379/2", URL),
        ("rediss://ada:s3cret@lab.example:6379?ssl_cert_reqs=none", "rediss://ada@lab.example:6379?ssl_cert_reqs=none"),
        ("unix://:s3cret@/run/redis.sock?db=3", "unix:///run/redis.sock?db=3"),
        (
            "redis+sentinel://ada:s3cret@[::1]:1,b:2/m?sentinel_password=s3cret&sentinel_username=eve",
            "redis+sentinel://ada@[::1]:1,b:2/m?sentinel_username=eve",
        ),
        ("redis-cluster://:s3cret@a:1,b:2", "redis-cluster://a:1,b:2"),
        ("redis://a:6379?password=s3cret", "redis://a:6379"),
    ],
)
def test_no_command_shows_a_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
    if "password=s3cret" not in url.replace("sentinel_password", ""):
        assert parse_url(shown).hosts == parse_url(url).hosts

    command = controls_of(None, None, url, url).command_of("heal")

    assert "s3cret" not in command
    assert shlex.split(command)[4:6] == ["--redis-url", shown]
    assert command.endswith(" --redis-password-file FILE") == (url != shown)
