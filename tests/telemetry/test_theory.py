"""The theory of gossip: what it must give by itself, and how near simulated runs come to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from statistics import median
from typing import NamedTuple

import pytest

from deploy.config.experiment import prepare
from robots.simulation.simulate import simulate
from telemetry.events import RobotComplete, RunStarted
from telemetry.theory import STEPS, Conditions, Kind, Lab, predicted, uniform, until_complete
from telemetry.view import View

SEEDS = range(1, 6)


class Measured(NamedTuple):
    """Medians over seeds. `shares`: at each tick after `go`."""

    all_complete: float  # ticks
    shares: list[float]


@cache
def measured(robots: int, loss: float) -> Measured:
    runs = [_run(robots, loss, seed) for seed in SEEDS]
    ticks = max(len(shares) for _, shares in runs)
    filled = [shares + [1.0] * (ticks - len(shares)) for _, shares in runs]
    return Measured(median(complete for complete, _ in runs), [median(at) for at in zip(*filled, strict=True)])


def _run(robots: int, loss: float, seed: int) -> tuple[float, list[float]]:
    """When all were complete, and the mean share at each tick."""
    experiment = prepare({"robots": str(robots), "seed": str(seed), "preset": "calm", "loss": str(loss)})
    tick_us, shares, begun_us = experiment.terms.tick_us, [], []

    def observe(view: View, now_us: int) -> str | None:
        if view.started_us is not None:
            begun_us.append(now_us)
            if now_us - begun_us[0] >= len(shares) * tick_us:
                shares.append(view.share)
        return "stopped" if view.complete == robots else None

    events = simulate("5eed01", experiment.deal, experiment.terms, experiment.plan, experiment.bounds, observe).events
    go_us = next(each.wall_us for each in events if isinstance(each.event, RunStarted))
    complete_us = max(each.wall_us for each in events if isinstance(each.event, RobotComplete))
    return (complete_us - go_us) / tick_us, shares


def _always(loss: float) -> Callable[[float], Conditions]:
    return lambda _: Conditions(((loss,),))


@pytest.mark.parametrize(
    ("robots", "loss", "share_off", "ticks_off"),
    [(16, 0.0, 0.1, 0.5), (16, 0.4, 0.1, 0.5), (16, 0.6, 0.15, 1.0), (50, 0.2, 0.1, 0.5), (50, 0.6, 0.1, 2.5)],
)
def test_simulated_runs_are_near_the_theory(robots: int, loss: float, share_off: float, ticks_off: float) -> None:
    # Given what theory expects of a run with 11 parts
    lab = uniform(robots, 11, 1)
    shares = predicted(lab, _always(loss), 64)
    duration = until_complete(lab, shares)
    assert duration is not None
    # When runs of several seeds are simulated
    runs = measured(robots, loss)
    # Then the mean share is near at each tick, and so is the time until all are complete
    for tick, share in enumerate(runs.shares):
        expected = shares[tick * STEPS] if tick * STEPS < len(shares) else 1.0
        assert abs(share - expected) <= share_off, (tick, share, expected)
    assert duration.least - ticks_off <= runs.all_complete <= duration.most + ticks_off


def test_what_is_held_only_grows_until_all_hold_all() -> None:
    lab = uniform(30, 7, 2)
    shares = predicted(lab, _always(0.0), 100)

    assert shares[0] == pytest.approx(2 / 30)
    assert shares == sorted(shares)
    assert (1 - shares[-1]) * 30 * 7 < 0.5
    assert len(shares) < 100 * STEPS


@pytest.mark.parametrize(("less", "more"), [(0.0, 0.2), (0.2, 0.5), (0.5, 0.8)])
def test_the_more_is_lost_the_longer_it_takes(less: float, more: float) -> None:
    lab = uniform(50, 11, 1)
    few, many = (until_complete(lab, predicted(lab, _always(loss), 200)) for loss in (less, more))

    assert few is not None
    assert many is not None
    assert few.least <= many.least
    assert few.most < many.most
    assert few.least < few.most


def test_a_delay_slows_it_down() -> None:
    lab = uniform(50, 11, 1)
    prompt = until_complete(lab, predicted(lab, _always(0.0), 64))
    slow = until_complete(lab, predicted(lab, lambda _: Conditions(((0.0,),), delay=0.5), 64))

    assert prompt is not None
    assert slow is not None
    assert slow.least > prompt.least + 0.5


def test_with_all_lost_nothing_spreads_and_no_end_is_foreseen() -> None:
    lab = uniform(10, 5, 1)
    shares = predicted(lab, _always(1.0), 20)

    assert shares == pytest.approx([0.1] * len(shares))
    assert until_complete(lab, shares) is None


def test_it_goes_on_from_there_when_the_loss_changes() -> None:
    # Given that all is lost from the second tick on, until the fifth
    lab = uniform(40, 11, 1)
    shares = predicted(lab, lambda at: Conditions(((1.0 if 2 <= at < 5 else 0.2,),)), 64)
    calm = predicted(lab, _always(0.2), 64)
    # Then it is as if nothing had happened until then, stands still, and ends about three ticks later
    assert shares[: 2 * STEPS + 1] == calm[: 2 * STEPS + 1]
    assert shares[2 * STEPS] == shares[5 * STEPS] < 1
    late, early = until_complete(lab, shares), until_complete(lab, calm)
    assert late is not None
    assert early is not None
    assert late.most - early.most == pytest.approx(3, abs=0.5)


def test_groups_that_are_cut_from_each_other_learn_their_own_parts_and_no_more() -> None:
    # Given three robots with four parts, and nine with seven, and no link between them
    lab = Lab((3, 9), (Kind((1, 0), 4), Kind((0, 1), 7)))
    cut = Conditions(((0.0, 1.0), (1.0, 0.0)))

    shares = predicted(lab, lambda _: cut, 40)

    assert shares[-1] == pytest.approx((3 * 4 + 9 * 7) / (12 * 11), abs=1e-3)
    assert until_complete(lab, shares) is None


def test_groups_with_equal_links_are_as_one() -> None:
    same = Conditions(((0.3, 0.3), (0.3, 0.3)))
    one = predicted(uniform(12, 11, 4), _always(0.3), 30)

    two = predicted(Lab((3, 9), (Kind((1, 3), 11),)), lambda _: same, 30)

    assert two == pytest.approx(one, abs=1e-9)
