"""A simulated run in which the end of a pause is recorded and not done: what the judge says about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from robots.simulation.fleet import SimulatedFleet
from tests.robots.simulation.judged_runs import run


@pytest.mark.parametrize("process", ["relay:0", "r03"])
def test_a_process_whose_resume_is_recorded_must_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: str
) -> None:
    # Given a run with a pause
    pause = f"pause {process} @1s+1s"
    assert run(tmp_path, pause, for_="9s").result.promises["played"].state == "HELD"
    # When its end is recorded only
    monkeypatch.setattr(SimulatedFleet, "resume", lambda _, __: True)
    found = run(tmp_path, pause, for_="9s").result.promises["played"]
    # Then nothing shows that the process went on
    assert (found.state, found.why) == ("UNPROVEN", f"{process} was resumed, and nothing shows that it went on")
