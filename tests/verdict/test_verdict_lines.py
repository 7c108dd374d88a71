"""What people read of a verdict: what does not hold first, and no more than a small terminal shows."""

from __future__ import annotations

from telemetry.explanations.robot_figures import RobotFigures
from telemetry.plain.verdict import Beside, verdict_lines
from tests.verdict.honest_record import Files
from tests.verdict.judged import verdict_on


def robots(count: int) -> list[RobotFigures]:
    return [RobotFigures(f"r{number:02}", number / 10, 1, 10, 2, "r00") for number in range(count)]


def test_what_is_broken_comes_first_then_what_is_unproven_and_what_holds_is_one_line(files: Files) -> None:
    # Given a result with each of them
    result = verdict_on(files).json
    result["promises"]["played"] = {"state": "BROKEN", "why": "a kill was not done (witness: there)", "tested": 1}
    for name in ("frugal", "once"):
        result["promises"][name] = {"state": "UNPROVEN", "why": "the record is cut", "tested": 1}
    # When it is printed
    lines = list(verdict_lines(result))
    # Then they stand in that order
    assert lines[1] == "  BROKEN      played: a kill was not done (witness: there)"
    assert lines[2] == "  UNPROVEN    once, frugal: the record is cut"
    assert sum(line.startswith("  HELD") for line in lines) == 1
    # and with --verbose each that holds says why
    verbose = list(verdict_lines(result, is_verbose=True, width=300))
    held = [name for name, promise in result["promises"].items() if promise["state"] == "HELD"]
    assert sum(line.startswith(("  HELD", "  not tested")) for line in verbose) == len(held)


def test_no_line_is_longer_than_the_terminal_is_wide_nor_broken_within_a_word(files: Files) -> None:
    result = verdict_on(files).json
    result["promises"]["played"] = {"state": "BROKEN", "why": "word " * 60 + "w" * 70, "tested": 1}
    for width in (80, 100):
        lines = list(verdict_lines(result, Beside(robots=robots(6)), width=width))
        assert max(len(line) for line in lines if "www" not in line) <= width
        assert any("w" * 70 in line for line in lines)


def test_the_command_that_runs_it_again_stays_one_command_over_several_lines(files: Files) -> None:
    result = verdict_on(files).json
    result["again"] = "robots run -n 6 --seed 7 --partition 'r00..r02|r03..r05 @1s+1s' --chaos 'kill robot every 500ms'"
    lines = list(verdict_lines(result))
    at = next(number for number, line in enumerate(lines) if line.startswith("  again"))
    command = "\n".join([lines[at].removeprefix("  again"), *lines[at + 1 :]])
    assert command.replace("\\\n", " ").split() == result["again"].split()


def test_a_secret_is_shown_harmless_and_its_beginning_alone(files: Files) -> None:
    result = verdict_on(files).json
    shown = list(verdict_lines(result, Beside(secret=b"\x1b[2J\xff\n" + b"x" * 100)))
    assert f"  secret      \\x1b[2J\ufffd\\n{'x' * 54}…" in shown


def test_up_to_twenty_five_robots_are_listed_and_of_more_the_slowest_five(files: Files) -> None:
    result = verdict_on(files).json

    def listed(count: int, never: int = 0) -> list[str]:
        figures = [*robots(count - never), *(RobotFigures(f"x{number}", None, 2, 5, 5, "") for number in range(never))]
        lines = verdict_lines(result, Beside(robots=figures))
        return [line.split()[0] for line in lines if line.startswith(("  r0", "  r1", "  r2", "  x"))]

    assert len(listed(25)) == 25
    assert listed(26) == ["r25", "r24", "r23", "r22", "r21"]
    assert listed(27, never=2)[:3] == ["x0", "x1", "r24"]
