"""A record in which one value is not what it was, one of many, with fixed seeds: what cannot be is an error that names
its file, and all else is answered, quickly."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from typing import Any, Final

import msgspec
import pytest

from broker.envelope import shard_of
from telemetry.anomalies.detector import AnomalyDetector
from telemetry.anomalies.replay import anomalies_in
from telemetry.explanations.about_robot import why_part, why_robot
from telemetry.explanations.about_run import why_run
from telemetry.explanations.run_index import RunIndex
from telemetry.metrics.fold import MetricsFold
from telemetry.metrics.prometheus import text
from telemetry.otlp.json_encoder import encode_request
from telemetry.otlp.readable import ReadableSpans, TracedRun
from telemetry.record.history import History
from telemetry.record.reader import RecordReader, Unreadable
from telemetry.tail.line import tail_line
from telemetry.tracing.clocks import shift_us_of
from telemetry.tracing.exchanges import traces_of
from telemetry.tracing.listing import rows_of
from telemetry.tracing.run_trace import run_trace
from telemetry.tracing.waterfall import waterfall
from tests.robots.simulation.judged_runs import LOSSY, run

CASES: Final = 15  # of each seed
SEEDS: Final = range(8)
MOST_S: Final = 1.0  # of computing, for one question; an undamaged record takes a twentieth of it
MADE_US: Final = 1_790_000_000_000_000
SPANS: Final = ReadableSpans(TracedRun("f00000", "test"))
FILES: Final = ("events.jsonl",) * 4 + (
    *("fates.jsonl", "fleet.jsonl", "journals.jsonl", "plan.jsonl"),
    *("streams.json", "settings.json", "deal.json"),
)
TEXTS: Final = (
    "",
    "x",
    "1-",
    "-1-2",
    "relay:x",
    "r",
    "r99",
    "0" * 16,
    "a" * 5000,
    f"{'9' * 20}-0",
    f"{'9' * 13}-0",
    "\x1b[31m",
)
NUMBERS: Final = (-1, 0, 1, 10_000, 10**6, 1 << 40, 1 << 53, (1 << 63) - 1, -(1 << 40))
OTHERS: Final = ("text", 5, None, [], True)

Place = tuple[str | int, ...]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of a run with losses, in which a robot and a relay were killed."""
    runs = tmp_path_factory.mktemp("runs")
    run(runs, *LOSSY, chaos=("kill r01 @500ms", "kill relay @800ms", "crash r02/secret_merger @300ms"), limit="3s")
    [folder] = (folder for folder in runs.iterdir() if (folder / "verdict.json").exists() and not folder.is_symlink())
    return folder


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_value_is_an_error_that_names_its_file_or_is_answered_quickly(
    seed: int, record: Path, tmp_path: Path
) -> None:
    damaged = Path(copytree(record, tmp_path / record.name))
    chance = random.Random(seed)
    for _ in range(CASES):
        # Given a record with one damaged value
        name = chance.choice(FILES)
        whole = (damaged / name).read_bytes()
        content, what = damage(whole, name.endswith(".jsonl"), chance)
        (damaged / name).write_bytes(content)
        # When it is read
        with limited(f"reading {name}: {what}"):
            history = read(damaged, name)
        # Then either that is refused by the name of the file, or each question is answered
        for question, ask in QUESTIONS.items() if history is not None else ():
            with limited(f"{question} of {name}: {what}"):
                ask(history)
        (damaged / name).write_bytes(whole)


def read(folder: Path, damaged: str) -> History | None:
    """The history in the folder; None when its error names the damaged file."""
    try:
        return RecordReader(folder).history()
    except Unreadable as error:
        if not str(error).startswith(f"{damaged}: "):
            raise
        return None


def damage(content: bytes, has_rows: bool, chance: random.Random) -> tuple[bytes, str]:
    """The content of a file with another value in one place, and what was done."""
    lines = content.splitlines() if has_rows else [content]
    number = chance.randrange(len(lines))
    value = msgspec.json.decode(lines[number])
    place = chance.choice(list(places_in(value)))
    holder = value
    for step in place[:-1]:
        holder = holder[step]
    old = holder[place[-1]]
    holder[place[-1]] = new = other_than(old, chance)
    lines[number] = msgspec.json.encode(value)
    return b"\n".join(lines) + b"\n", f"line {number + 1}, {place}: {old!r:.60} became {new!r:.60}"


def places_in(value: Any, above: Place = ()) -> Iterator[Place]:
    """The way to every value within this one."""
    steps: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, below in steps:
        yield (*above, step)
        yield from places_in(below, (*above, step))


def other_than(old: Any, chance: random.Random) -> Any:
    """Mostly of the same type, because what is not is refused."""
    if chance.random() < 0.15:
        return chance.choice(OTHERS)
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return chance.choice(NUMBERS)
    if isinstance(old, str):
        return chance.choice(TEXTS)
    return [] if isinstance(old, list) else chance.choice(OTHERS)


@contextmanager
def limited(what: str) -> Iterator[None]:
    """Fails when something takes more than a second of computing, or raises anything."""

    def give_up(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, MOST_S)
    try:
        yield
    except Exception as error:
        raise AssertionError(what) from error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


# What is asked of a history


def ask_for_traces(history: History) -> None:
    traces = list(traces_of(history, shift_us_of(history, MADE_US)))
    list(rows_of(traces))
    for trace in traces[:5]:
        list(waterfall(trace, 120))
        encode_request(SPANS.of(trace))


def ask_for_the_runs_trace(history: History) -> None:
    trace = run_trace(history, None, shift_us_of(history, MADE_US))
    list(waterfall(trace, 120))
    encode_request(SPANS.of(trace))


def ask_why(history: History) -> None:
    index = RunIndex(history)
    list(why_run(index, None).lines())
    for robot in list(index.robots)[:4]:
        list(why_robot(index, robot).lines())
        for part in list(index.dealt)[:2]:
            list(why_part(index, robot, part).lines())


def ask_for_anomalies(history: History) -> None:
    shards = history.settings.shards
    detector = AnomalyDetector(history.settings.tick_us, lambda robot: shard_of(robot, shards))
    anomalies_in(history.events, detector)


def ask_for_metrics(history: History) -> None:
    metrics = MetricsFold(1)
    for stamped in history.events:
        metrics.add(stamped)
    assert "\x1b" not in text(metrics.snapshot, {"a": "b"})


def ask_for_lines(history: History) -> None:
    go_us = history.order_us("go")
    for stamped in history.events:
        for since_us in (None, go_us):
            assert "\x1b" not in tail_line(stamped, since_us)


QUESTIONS: Final[dict[str, Callable[[History], None]]] = {
    "traces": ask_for_traces,
    "the run's trace": ask_for_the_runs_trace,
    "why": ask_why,
    "anomalies": ask_for_anomalies,
    "metrics": ask_for_metrics,
    "lines": ask_for_lines,
}
