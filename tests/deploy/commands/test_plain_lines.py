"""What a person reads of a whole run: six that are simulated, to the letter. Each file in plain_lines/ begins with its
command; of what follows, only the run's id and its digest differ from what is printed.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.support.terminal import Terminal

GOLDEN = Path(__file__).parent / "plain_lines"


def shown(text: str, run: str) -> str:
    return re.sub(r"(?m)^(  digest +)[0-9a-f]{64}$", r"\1DIGEST", text.replace(run, "RUN"))


@pytest.mark.parametrize("name", ["calm", "killed", "healed", "sole_holder", "crash_storm", "server"])
def test_a_run_is_shown_in_sentences_in_order_of_time_and_its_verdict_after_them(
    name: str, here: Path, terminal: Terminal
) -> None:
    # Given a command, and what it is to print
    command, expected = (GOLDEN / f"{name}.txt").read_text().split("\n", 1)
    # When it is done
    printed = terminal.do(*shlex.split(command.removeprefix("$ robots ")))
    # Then it prints that: the story of the run on standard error, the verdict on standard output,
    run = (here / "runs" / "latest").resolve().name
    text = shown(printed.err + printed.out, run)
    assert text == expected
    # in order of time, with lines and a verdict that fit a small terminal
    times = [float(at) for at in re.findall(r"(?m)^ *([0-9.]+)s  ", printed.err)]
    assert times == sorted(times)
    assert max(map(len, printed.out.splitlines())) <= 80
    assert printed.out.count("\n") < 24
