"""Chaos on each version of the server: the promises hold whatever is killed, paused or restarted."""

from __future__ import annotations

import pytest

from tests.support.live_place import LIVE, Place, not_held
from tests.support.server_programs import VERSIONS, path_to, program_of

pytestmark = LIVE


LONG = [pytest.param(version, marks=pytest.mark.long) for version in VERSIONS if version != "Redis 8"]


@pytest.mark.parametrize("version", ["Redis 8", *LONG])
def test_a_run_under_every_kind_of_death_is_held(
    version: str, place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Given robots, RQ workers, the relay and a server of each version, into each of which a fault is injected; first
    # into robots by name, while they are certainly there, and then into any
    place.environment["PATH"] = path_to(program_of(version), tmp_path_factory.mktemp("path"))
    chaos = ("--chaos", "kill robot @2s every 500ms", "--chaos", "kill rq:r02 @500ms", "--kill", "relay@3s")

    # When the run goes on under all that
    code, result, err = place.run(
        *("-n", "6", "--seed", "3", "--loss", ".3", "--for", "7s", *chaos),
        *("--restart", "redis@4s", "--pause", "r01@1500ms+3s"),
    )

    # Then every promise holds, and each death has its successor and its place in the record
    assert code == 0, (not_held(result), err)
    injected = {row["victim"] for row in place.rows("fleet.jsonl") if row["row"] == "injection"}
    assert {"relay:0", "redis", "r01", "rq:r02"} <= injected
    assert result["whole_run"]["recoveries"]["count"] >= 5  # on a slow machine some die again before they are born
    assert result["whole_run"]["lives"]["r02"] >= 2
    assert place.is_clean()
