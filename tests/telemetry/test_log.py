"""The log: one JSON object a line, with the ids of the very span that is derived later."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry.events import ExchangeEnded, RunStopped, Stamped, WorkerCrashed
from telemetry.handlers.log import StructuredLog
from telemetry.handlers.log_context import LogContext
from telemetry.pipeline import Pipeline
from telemetry.record.reader import RecordReader
from telemetry.tracing.exchanges import traces_of
from telemetry.tracing.run_trace import run_trace
from tests.support.terminal import Terminal

GO_US = 1_800_000_000_123_456


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = logging.getLogger("robots")
    before = logger.propagate
    logger.propagate = True
    yield caplog
    logger.propagate = before


def test_a_notable_event_is_a_line_with_who_where_and_when(lines: pytest.LogCaptureFixture) -> None:
    # Given a log at INFO
    lines.set_level(logging.INFO, "robots")
    log = Pipeline(StructuredLog(seed=7))

    # When a notable event comes, and one that is not
    log(Stamped("7b08e1", "r03", 2, 8, GO_US, 0, WorkerCrashed("secret_merger", "InjectedCrash: lab")))
    log(Stamped("7b08e1", "r03", 2, 9, GO_US, 0, ExchangeEnded("r05", "1f", "equal", 1, 2)))

    # Then the first is a line
    [record] = lines.records
    line = json.loads(record.getMessage())
    assert (len(line.pop("trace_id")), len(line.pop("span_id"))) == (32, 16)
    assert line == {
        "time": "2027-01-15T08:00:00.123456Z",
        "level": "INFO",
        "run": "7b08e1",
        "source": "r03",
        "robot": "r03",
        "incarnation": 2,
        "number": 8,
        "event": {"name": "worker.crashed", "worker": "secret_merger", "error": "InjectedCrash: lab"},
    }


def test_a_line_has_no_ids_until_the_seed_is_known_and_a_source_that_is_no_robot_is_none(
    lines: pytest.LogCaptureFixture,
) -> None:
    lines.set_level(logging.DEBUG, "robots")
    handler = StructuredLog()
    log = Pipeline(handler)

    log(Stamped("7b08e1", "lab", 0, 1, GO_US, 0, RunStopped("complete")))
    handler.identify(7)
    log(Stamped("7b08e1", "lab", 0, 2, GO_US, 0, RunStopped("complete")))

    before, after = (json.loads(record.getMessage()) for record in lines.records)
    assert "trace_id" not in before
    assert "trace_id" in after
    assert "robot" not in after


def test_the_ids_are_those_of_the_derived_spans(here: Path, terminal: Terminal) -> None:
    # Given a simulated run with losses, duplicates, garbage, deaths and a contradiction, and its derived spans
    chaos = (
        "--chaos",
        "kill robot every 900ms",
        "--chaos",
        "crash r03/secret_merger @500ms",
        "--chaos",
        "contradict r04 @700ms",
        "--fault",
        "corrupt .1",
    )
    result = json.loads(terminal.do("simulate", "--json", "--seed", "7", "--for", "4s", *chaos).out)
    history = RecordReader(here / result["record"]).history()
    names = {(span.trace, span.span): span.name for trace in traces_of(history) for span in trace.spans}
    names |= {(span.trace, span.span): span.name for span in run_trace(history).spans}

    # When each source's log computes the ids of its events
    logs: dict[tuple[str, int], LogContext] = {}
    seen: dict[str, set[str]] = {}
    for stamped in history.events:
        log = logs.setdefault((stamped.source, stamped.incarnation), LogContext(history.settings.seed))
        log.observe(stamped)
        context = log.of(stamped)
        name = names.get((int(context.trace_id, 16), int(context.span_id, 16)), "none")
        event = str(type(stamped.event).__name__)
        seen.setdefault(event, set()).add(name.split()[0])

    # Then they are those of the spans that tell of these events
    assert seen["ExchangeEnded"] == {"exchange"}
    assert seen["MessageSent"] == {"send"}
    assert seen["MessageReceived"] == {"process", "life"}  # the lab's contradiction belongs to no exchange
    assert seen["InvariantViolated"] == {"life"}
    assert seen["PartsMerged"] == {"merge"}
    assert seen["RobotComplete"] == seen["RobotBorn"] == seen["WorkerCrashed"] == {"life"}
    assert seen["RunStopped"] == seen["FatesDecided"] == {"run"}
    assert "refuse" in seen["MessageRefused"]
