"""The architecture of rooms, as tests: each has a rule and a size, and imports only rooms to its right.

A room is a folder. A file that lies directly on a floor, or beside sub-folders, is a room of its own.
"""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from tests.house.sources import FILES, files_imported_by, shown, tree_of
from tests.support.checkout import ROOT

FEWEST, MOST = 3, 15  # files of a room, `__init__.py` counted
MAY_HAVE_MORE = {"deploy/commands", "robots/workers", "telemetry/verdict/promises"}

ORDER: dict[str, tuple[str, ...]] = {
    # A folder, and what lies in it, from left to right. Each may import what stands to its right; what stands in one
    # string, side by side, may not import each other. A folder's own `__init__.py` stands at the far right.
    "deploy": (
        "__main__.py",
        "entry.py",
        "commands",
        "lifecycle doctor",
        "supervisor",
        "fleet watching",
        "observing",
        "attach",
        "rq",
        "processes config instrumentation.py",
        "errors.py version.py lean_redis.py",
    ),
    "robots": (
        "simulation",
        "exhibits",
        "robot.py",
        "components.py",
        "workers run",
        "restart_budget.py messages.py peers.py",
        "supervision.py channel.py knowledge.py journal.py",
        "secret.py env.py",
    ),
    "broker": (
        "streams memory",
        "ports",
        "relay",
        "faults",
        "control_entries.py envelope.py errors.py parent_death.py",
    ),
    "broker/streams": (
        "relay robot",
        "run embedded.py inspection.py",
        "connection.py retry.py reading.py outage.py",
        "sentinel.py cluster.py async_cluster.py",
        "slots.py",
        "address.py keys.py",
    ),
    "telemetry": (
        "watch",
        "drawing",
        "scene",
        "expectation.py",
        "plain",
        "schema explanations",
        "verdict handlers",
        "metrics",
        "otlp",
        "tracing tail diagnosis stories",
        "stream record console.py",
        "anomalies",
        "view.py pipeline.py",
        "events.py clock.py phrases.py theory.py",
    ),
    "telemetry/drawing": (
        "pages.py",
        "robots overview faults header.py verdict.py help.py",
        "supervision events",
        "table.py curve.py keys.py",
        "moment.py marks.py",
        "line.py",
    ),
    "telemetry/scene": (
        "states.py",
        "scene.py",
        "curve.py faults.py pairs.py promises.py rates.py teaching.py traffic.py transit.py",
        "network.py processes",
    ),
    "telemetry/verdict": (
        "judge.py",
        "promises figures.py",
        "checks",
        "case.py",
        "recomputed",
        "evidence",
        "finding.py",
    ),
}
PLACES = {
    f"{folder}/{name}": place
    for folder, order in ORDER.items()
    for place, names in enumerate((*order, "__init__.py"))
    for name in names.split()
}

FRONT_DOORS = {"deploy/__init__.py", "deploy/commands/__init__.py"}  # with code: when the process began; the command

FOLDERS = sorted({path.parent for path in FILES})


@cache
def room_of(path: Path) -> Path:
    folder = path.parent
    is_divided = folder.parent == ROOT or any(other.parent == folder for other in FOLDERS)
    return path if is_divided else folder


ROOMS = sorted({room_of(path) for path in FILES})


def parting(one: Path, other: Path) -> tuple[str, str]:
    """Where the ways to two rooms part: what lies side by side in the last folder that they share."""
    paths = one.relative_to(ROOT).parts, other.relative_to(ROOT).parts
    depth = next(number for number, (left, right) in enumerate(zip(*paths, strict=False)) if left != right)
    return "/".join(paths[0][: depth + 1]), "/".join(paths[1][: depth + 1])


def test_every_room_has_a_place_in_the_order() -> None:
    # Given what lies on a floor, or in a folder that has folders
    named = {shown(room) for room in ROOMS}
    # Then the table names it,
    assert sorted(named - PLACES.keys()) == []
    # and names nothing that is not there, save for what is on its way
    there = {shown(path) for path in (*FILES, *FOLDERS)}
    assert sorted(PLACES.keys() - there - {"deploy/instrumentation.py"}) == []


def test_rooms_import_only_what_stands_to_their_right() -> None:
    wrong = []
    for path in FILES:
        for imported in files_imported_by(path):
            room, other = room_of(path), room_of(imported)
            if room == other or path.relative_to(ROOT).parts[0] != imported.relative_to(ROOT).parts[0]:
                continue
            left, right = parting(room, other)
            if PLACES[left] >= PLACES[right]:
                wrong.append(f"{shown(path)} imports {shown(imported)}: {right} does not stand right of {left}")

    assert wrong == []


def test_there_is_no_circle_of_rooms() -> None:
    graph: dict[Path, set[Path]] = {room: set() for room in ROOMS}
    for path in FILES:
        graph[room_of(path)] |= {room_of(imported) for imported in files_imported_by(path)} - {room_of(path)}

    TopologicalSorter(graph).prepare()  # raises CycleError


def test_a_room_holds_a_few_files() -> None:
    sizes = {shown(folder): sum(path.parent == folder for path in FILES) for folder in FOLDERS}

    assert {room: size for room, size in sizes.items() if size > MOST and room not in MAY_HAVE_MORE} == {}
    assert {room for room, size in sizes.items() if size < FEWEST} == set()


def test_a_room_has_a_rule_of_one_sentence() -> None:
    folders = {*FOLDERS, *(path.parent for path in (ROOT / "tests").rglob("*.py"))}
    unruled = []
    for folder in sorted(folders):
        init = folder / "__init__.py"
        head = ast.get_docstring(tree_of(init)) if init.exists() else None
        sentence = " ".join((head or "").partition("\n\n")[0].split())
        if not (20 < len(sentence) < 240 and sentence.endswith(".")):
            unruled.append(shown(folder))

    assert unruled == []


def test_an_init_file_holds_its_rule_and_no_more() -> None:
    inits = [path for path in FILES if path.name == "__init__.py" and shown(path) not in FRONT_DOORS]

    assert [shown(path) for path in inits if len(tree_of(path).body) > 1] == []
