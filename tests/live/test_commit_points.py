"""Death at every commit point: a process of a real run kills itself exactly there, and the promises hold all the same.

The command runs in this very process, and its children are forks of it: so they can be told where to die, and the code
under test knows nothing of it.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from broker.relay.core import Id, parse_id
from deploy.commands.run import run
from deploy.config.settings import DEFAULT_SECRET
from robots.secret import cut
from tests.support.live_place import LIVE
from tests.support.mortal_ports import Doom, mortal_ports, mortal_relay

pytestmark = LIVE

UNBORN = "before journal birth"
OVER = "after order stop"
LIFELESS = (UNBORN, OVER)  # who dies there has no life to lose, or none that would follow
POINTS = [  # in the order of a life; where the same lies before one act as after another, it has one name
    (UNBORN, 1),
    ("after journal birth", 1),  # and not announced
    ("after register birth", 1),  # announced, and unknown to the relay
    ("after outbox birth", 1),
    ("after order go", 1),
    ("before orders", 3),  # go is followed
    ("before send", 3),
    ("after send", 3),  # and not told
    ("after receive", 3),
    ("before journal parts", 1),
    ("after journal parts", 2),  # stored, and not published
    ("before acknowledge news", 2),  # published
    ("after acknowledge news", 1),  # in memory alone
    ("after acknowledgements", 3),
    ("before journal quiet", 1),
    ("after journal quiet", 1),  # and nothing written
    ("after write", 1),  # and not told
    (OVER, 1),
    ("taken", 3),
    ("noted", 1),
    ("put-out", 3),
    ("acked", 3),
    ("holding", 2),
]
NAMES = [point for point, _ in POINTS]
OFTEN = {UNBORN, "after journal parts", "after write", "taken"}
CASES = [pytest.param(*point, marks=[] if point[0] in OFTEN else pytest.mark.long) for point in POINTS]
PAIRS = int(os.environ.get("LAB_PAIRS", "1"))  # more of them by hand

TERMS = {"robots": "4", "seed": "7", "tick": "50ms", "quiet_period": "300ms", "for_": "1500ms", "limit": "2m"}
BUSY_BIRTH_MS = 1_500
NETWORK = {"preset": "calm", "loss": ".2", "duplicate": ".2", "delay": "1ms..10ms"}


class Mortals:
    """A run whose processes die at the dooms, and its record."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._dooms: list[Doom] = []
        for name in list(os.environ):
            if name.startswith("ROBOTS_"):
                monkeypatch.delenv(name)

    def doom(self, point: str, nth: int) -> None:
        """Let somebody die there."""
        self._dooms.append(Doom(point, nth, self._folder / f"died {point}"))

    def run(self) -> int:
        """The exit code of the whole run."""
        self._monkeypatch.setattr("deploy.rq.job.ports_for", mortal_ports(*self._dooms))
        self._monkeypatch.setattr("deploy.fleet.relay_main.RelayDriver", mortal_relay(*self._dooms))
        self._monkeypatch.setattr("deploy.lifecycle.live_run.STARTED_S", time.monotonic())
        try:
            return run(**TERMS, **NETWORK, runs_dir=str(self._folder / "runs"), ui="plain")
        finally:
            gc.unfreeze()

    @property
    def injector(self) -> dict[str, str | None]:
        """Who died, by the point."""
        return {doom.point: doom.victim for doom in self._dooms}

    def read(self, name: str) -> Any:
        """A file of the record that is one object."""
        return json.loads((self._record / f"{name}.json").read_text())

    def rows(self, name: str) -> list[dict[str, Any]]:
        """A file of the record that has an object in each line."""
        return [json.loads(line) for line in (self._record / f"{name}.jsonl").read_text().splitlines()]

    @property
    def secret(self) -> bytes:
        return (self._record / "secret.txt").read_bytes()

    @property
    def _record(self) -> Path:
        return self._folder / "runs/latest"


@pytest.fixture
def mortals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mortals:
    return Mortals(tmp_path, monkeypatch)


def assert_all_died(mortals: Mortals) -> None:
    """One process died at each point, no other did, and a robot that died had one more life, if the run went on for
    long enough."""
    injector = mortals.injector
    assert None not in injector.values(), injector
    meant = Counter((str(victim), "signal", -int(signal.SIGKILL)) for victim in injector.values())
    assert deaths_in(mortals, is_late=False) <= meant <= deaths_in(mortals, is_late=True)
    ended = Counter(
        victim for point, victim in injector.items() if point not in LIFELESS and "relay" not in str(victim)
    )
    lives = mortals.read("verdict")["whole_run"]["lives"]
    due = {robot: 1 + deaths for robot, deaths in ended.items() if robot in lives or not died_late(mortals, robot)}
    assert lives == due


def died_late(mortals: Mortals, robot: str | None) -> bool:
    """Whether the run was stopped before a busy machine could be expected to have started the robot again."""
    died_ms = max(parse_id(row["id"])[0] for row in mortals.rows("fleet") if row.get("robot") == robot)
    return stopped_at(mortals)[0] - died_ms < BUSY_BIRTH_MS


def deaths_in(mortals: Mortals, is_late: bool) -> Counter[tuple[str, str, int]]:
    """The deaths until the order to stop; `is_late`: those after it as well, where a process that is slow to end on a
    busy machine is killed too."""
    deaths = [row for row in mortals.rows("fleet") if row["row"] == "death"]
    counted = [row for row in deaths if is_late or parse_id(row["id"]) <= stopped_at(mortals)]
    return Counter((row["victim"], row["how"], row["status"]) for row in counted)


def stopped_at(mortals: Mortals) -> Id:
    [stop] = [order for order in mortals.read("streams")["orders"] if order["order"] == "stop"]
    return parse_id(stop["id"])


def assert_nothing_lost(mortals: Mortals) -> None:
    """The run ended by itself, every robot kept every part once, and the secret was written once, byte for byte."""
    assert mortals.read("verdict")["ended"] == "complete"
    kept = Counter((row["robot"], row["index"]) for row in mortals.rows("journals") if row["entry"] == "part")
    indices = range(len(cut(DEFAULT_SECRET)))
    assert kept == Counter((f"r{robot:02d}", index) for robot in range(4) for index in indices)
    assert mortals.secret == mortals.read("register")["writes"][0]["text"].encode() == DEFAULT_SECRET.encode()


@pytest.mark.parametrize(("point", "nth"), CASES, ids=NAMES)
def test_a_process_may_die_at_any_point(mortals: Mortals, point: str, nth: int) -> None:
    # Given a run in which the process that first passes that point for the n-th time kills itself there
    mortals.doom(point, nth)

    # When it goes on
    code = mortals.run()

    # Then all promises hold, and nothing is lost
    assert code == 0, mortals.read("verdict")["promises"]
    assert_all_died(mortals)
    assert_nothing_lost(mortals)


@pytest.mark.parametrize("seed", range(PAIRS))
def test_two_may_die_at_any_two_points(mortals: Mortals, seed: int) -> None:
    # Given two points
    for point, nth in Random(seed).sample(POINTS, 2):
        mortals.doom(point, nth)

    # When a run goes on in which somebody dies at each, perhaps the same in two of its lives
    code = mortals.run()

    # Then all promises hold, and nothing is lost
    assert code == 0, (mortals.injector, mortals.read("verdict")["promises"])
    assert_all_died(mortals)
    assert_nothing_lost(mortals)
