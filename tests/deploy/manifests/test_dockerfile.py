"""The image as facts: what is copied into it, as whom it runs, and that nothing of the build stays in it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.checkout import ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
TEXT = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text())
LINES = [line for line in TEXT.splitlines() if line and not line.startswith("#")]
BUILD, FINAL = re.split(r"^(?=FROM )", TEXT, flags=re.MULTILINE)[1:]
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
    "packages"
]
IGNORED = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]


def test_hadolint_finds_no_fault() -> None:
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed here")

    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_no_other_frontend_is_needed() -> None:
    """A `# syntax=` line would be fetched from a registry at each build."""
    assert not DOCKERFILE.read_text().startswith("# syntax")


def test_both_stages_have_one_pinned_base() -> None:
    version = re.search(r"^ARG PYTHON=(.+)$", TEXT, re.MULTILINE)

    assert version is not None
    assert re.fullmatch(r"\d+\.\d+\.\d+-slim-\w+", version[1])
    assert re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE) == ["python:${PYTHON}"] * 2


def test_it_runs_as_a_user_without_a_name_in_manifests() -> None:
    """Kubernetes cannot tell whether a name is root's."""
    assert re.findall(r"^USER (.+)$", FINAL, re.MULTILINE) == ["10001:10001"]


def test_the_image_has_no_tool_to_install_with_and_no_trace_of_an_index() -> None:
    assert "pip uninstall --yes pip" in BUILD
    assert "pip" not in FINAL
    # pip's configuration is a secret of the build: no argument and no layer holds it
    assert len(re.findall(r"^RUN --mount=type=secret,id=pip ", BUILD, re.MULTILINE)) == BUILD.count("pip install")
    assert re.findall(r"^ARG (\w+)", TEXT, re.MULTILINE) == ["PYTHON"]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_whole_lab_reaches_the_build_and_nothing_else(package: str) -> None:
    assert f"COPY {package} {package}" in LINES
    assert f"!{package}/**/*.py" in IGNORED


def test_what_is_copied_is_not_ignored() -> None:
    copied = {name for line in BUILD.splitlines() if line.startswith("COPY ") for name in line.split()[1:-1]}
    copied |= {"deploy/healthy.sh"}

    assert IGNORED[0] == "*"
    assert {line.removeprefix("!").removesuffix("/**/*.py") for line in IGNORED[1:]} == copied
    assert all((ROOT / name).exists() for name in copied)


def test_the_health_check_is_in_the_image_and_can_be_executed() -> None:
    assert "COPY deploy/healthy.sh /usr/local/bin/robots-healthy" in FINAL
    assert 'CMD ["robots-healthy"]' in FINAL
    assert (ROOT / "deploy" / "healthy.sh").stat().st_mode & 0o111 == 0o111
