"""The taste that matters, as tests: arrows only downwards, no circles, every file opens with its rule."""

import ast
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest

from tests.support.checkout import ROOT

FLOORS = ("telemetry", "broker", "robots", "deploy")  # from the ground up
FILES = sorted(chain.from_iterable((ROOT / floor).rglob("*.py") for floor in FLOORS))
HOMES = {  # a library, and where alone it may be imported
    "redis": ("broker/streams/", "broker/streams/embedded.py", "deploy/"),
    "rq": ("deploy/",),
    "pydantic": ("deploy/",),
    "pydantic_settings": ("deploy/",),
    "cyclopts": ("deploy/commands/", "deploy/config/"),
    "uvloop": ("deploy/",),
    "opentelemetry": ("telemetry/",),
    "textual": ("telemetry/watch/",),
}
IMPURE = {"time", "random", "secrets", "os", "socket", "threading", "subprocess", "datetime"}
NONDETERMINISTIC = ("TaskGroup", "wait_for", "gather", "to_thread", "run_in_executor")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path, *, top_level: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_arrows_point_only_downwards(path: Path) -> None:
    floor = FLOORS.index(path.relative_to(ROOT).parts[0])

    above = {name for name in imports_of(path) if name.split(".")[0] in FLOORS[floor + 1 :]}

    assert not above


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_libraries_stay_where_they_belong(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()

    for library in {name.split(".")[0] for name in imports_of(path)} & HOMES.keys():
        assert where.startswith(HOMES[library]), f"{library} in {where}"


def test_there_is_no_circle_and_no_lazy_import_that_would_hide_one() -> None:
    modules = {name_of(path): path for path in FILES}
    graph = {
        name: {other for other in imports_of(path) if other in modules and other != name}
        for name, path in modules.items()
    }

    TopologicalSorter(graph).prepare()  # raises CycleError

    for path in FILES:
        hidden = (imports_of(path) - imports_of(path, top_level=True)) & modules.keys()
        assert not hidden, f"{path} imports {hidden} inside a function"


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_a_file_opens_with_its_rule(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))

    assert docstring
    assert len(docstring) > (20 if path.name == "__init__.py" else 40)


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_no_module_is_a_heap_of_leftovers(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "common", "misc"}
    assert len(path.read_text().splitlines()) <= 420


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_functions_fit_the_eye(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 45, f"{node.name} in {path}"


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.is_relative_to(ROOT / "robots")] + [ROOT / "broker/relay/core.py"], ids=ids
)
def test_what_runs_simulated_asks_no_clock_no_chance_and_no_system(path: Path) -> None:
    names = {name for name in imports_of(path) if name.split(".")[0] in IMPURE}

    assert names <= {"random", "random.Random"}, "only the type of a generator that is handed in"
    for word in NONDETERMINISTIC:
        assert word not in path.read_text()


def test_the_top_level_holds_what_it_must_and_nothing_else() -> None:
    visible = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}

    assert visible - {"runs", "compose.yaml"} == {"pyproject.toml", "README.md", "LICENSE", "tests", *FLOORS}
