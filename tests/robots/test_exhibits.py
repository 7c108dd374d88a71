"""The judge is tested with broken labs: it convicts each of them, by the promise that it breaks, and no lab besides."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from robots.components import STANDARD, Components
from robots.exhibits import catalogue
from robots.exhibits.catalogue import EXHIBITS, UnknownExhibit, components_of
from telemetry.verdict.judge import PROMISES
from tests.robots.simulation.judged_runs import Ended, run

SEEDS: Final = range(1, 6)


def simulated(runs: Path, name: str, seed: int, *, is_shown: bool) -> Ended:
    """A run with the settings of an exhibit, which is shown or not."""
    settings = {"seed": seed, **EXHIBITS[name].settings}
    return run(runs, **{**settings, "exhibit": name} if is_shown else settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", EXHIBITS)
def test_the_judge_convicts_a_broken_lab_by_the_promise_that_it_breaks(tmp_path: Path, name: str) -> None:
    # Given a lab that is broken in one place
    promise = EXHIBITS[name].promise
    # When it runs, with one seed after the other
    for seed in SEEDS:
        judged = simulated(tmp_path, name, seed, is_shown=True).result.promises.get(promise)
        # Then one of the runs convicts it
        if judged is not None and judged.state == "BROKEN":
            return
    pytest.fail(f"{promise} was not BROKEN in {len(SEEDS)} runs")


@pytest.mark.parametrize("name", EXHIBITS)
def test_the_same_run_without_the_exhibit_holds_every_promise(tmp_path: Path, name: str) -> None:
    for seed in SEEDS:
        assert simulated(tmp_path, name, seed, is_shown=False).broken() == {}, seed


@pytest.mark.parametrize("worker", ["summary_processor", "gossip_initiator"])
def test_each_of_two_broken_workers_is_convicted_alone(
    tmp_path: Path, worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given the exhibit `full-state`, of which only the answers or only the updates carry too much
    exhibit = EXHIBITS["full-state"]
    alone = Components(**{worker: getattr(exhibit.components, worker)})
    monkeypatch.setattr(catalogue, "EXHIBITS", {"full-state": replace(exhibit, components=alone)})
    # When it runs / Then a message of that kind is the reason
    kind = "an answer" if worker == "summary_processor" else "an update"
    frugal = simulated(tmp_path, "full-state", 1, is_shown=True).result.promises["frugal"]
    assert (frugal.state, frugal.why.startswith(f"{kind} of ")) == ("BROKEN", True), frugal.why


def test_every_promise_is_tested_by_an_exhibit() -> None:
    assert PROMISES.keys() <= {exhibit.promise for exhibit in EXHIBITS.values()}


def test_an_exhibit_differs_from_the_standard_lab() -> None:
    assert [name for name, exhibit in EXHIBITS.items() if exhibit.components == STANDARD] == []


def test_a_lab_without_an_exhibit_is_the_standard_one_and_an_unknown_exhibit_is_refused() -> None:
    assert components_of(None) is STANDARD
    with pytest.raises(UnknownExhibit, match="no exhibit 'robots'"):
        components_of("robots")
