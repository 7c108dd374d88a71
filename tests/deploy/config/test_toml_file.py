"""What is no TOML is refused by its line, with the way to write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.config.toml_file import read_toml
from deploy.errors import UsageError


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("loss = .4", "line 1: not TOML: a number has digits on both sides of its point: loss = 0.4"),
        (
            "robots = 3\n  loss = -.4  # much",
            "line 2: not TOML: a number has digits on both sides of its point: loss = -0.4",
        ),
        ("\n\nloss = 4.", "line 3: not TOML: a number has digits on both sides of its point: loss = 4.0"),
        ("for = 5s", 'line 1: not TOML: a text has quotes around it: for = "5s"'),
        ("preset = storm", 'line 1: not TOML: a text has quotes around it: preset = "storm"'),
        ("for = 5s\r\nrobots = 3\r\n", 'line 1: not TOML: a text has quotes around it: for = "5s"'),
        ("loss = .", 'line 1: not TOML: a text has quotes around it: loss = "."'),
        ("loss =", "not TOML: Invalid value (at end of document)"),
        ("robots = 3\nkill = [.4]", "not TOML: Invalid value (at line 2, column 9)"),
        ("robots = 3\nrobots = 4\n", "not TOML: Cannot overwrite a value (at line 2, column 11)"),
        ("loss = 0.3\nloss = 0.4\n", "not TOML: Cannot overwrite a value (at line 2, column 11)"),
    ],
)
def test_a_line_that_is_no_toml_is_named_with_the_way_to_write_it(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "robots.toml"
    path.write_bytes(content.encode())

    with pytest.raises(UsageError) as refused:
        read_toml(path, "robots.toml")

    assert str(refused.value) == f"robots.toml: {complaint}"


def test_what_may_be_a_password_is_not_repeated(tmp_path: Path) -> None:
    # Given a URL without quotes
    path = tmp_path / "robots.toml"
    path.write_text("redis_url = redis://lab:hidden@redis\n")

    with pytest.raises(UsageError) as refused:
        read_toml(path, "robots.toml")

    # Then the line is named, and its content is not shown
    assert str(refused.value) == "robots.toml: not TOML: Invalid value (at line 1, column 13)"
