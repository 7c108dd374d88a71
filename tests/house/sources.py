"""The house's Python files, each read and parsed once for all tests of this folder. No tests here."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from itertools import chain
from pathlib import Path

from tests.support.checkout import ROOT

FLOORS = ("telemetry", "broker", "robots", "deploy")  # from the ground up
FILES = sorted(chain.from_iterable((ROOT / floor).rglob("*.py") for floor in FLOORS))
TEST_FILES = sorted((ROOT / "tests").rglob("*.py"))


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def text_of(path: Path) -> str:
    return path.read_text()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path))


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree_of(path)))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Modules, and the names taken from them as `module.name`."""
    return _imported(nodes_of(path))


@cache
def top_level_imports_of(path: Path) -> frozenset[str]:
    return _imported(tree_of(path).body)


@cache
def files_imported_by(path: Path) -> frozenset[Path]:
    """Files of the four floors. `from room import file` counts as the file, not as the room's `__init__.py`."""
    found = set()
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            files = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {file if file in MODULES else node.module for file in files}
    return frozenset(MODULES[name] for name in found & MODULES.keys()) - {path}


def _imported(nodes: Iterable[ast.AST]) -> frozenset[str]:
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)
