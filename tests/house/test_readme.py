"""What the README says is true: its commands, the files it walks through, the promises it lists."""

import re
import shlex
from collections.abc import Iterable

import pytest

from broker.faults.grammar import parse_line
from broker.faults.process_faults import PROCESS_FAULTS
from broker.faults.registry import FAULTS, NETWORK
from broker.faults.syntax import FaultKind
from deploy.commands import app
from robots.exhibits.catalogue import EXHIBITS
from telemetry.anomalies.catalogue import RULES
from telemetry.events import Event
from telemetry.metrics.table import METRICS, Metric
from telemetry.verdict.judge import PROMISES
from tests.support.checkout import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^(python3 -m venv .+)$", README, re.MULTILINE)
EXAMPLES = re.findall(r"^(?:\.venv/bin/)?(robots .+?)(?:\s+#.*)?$", README, re.MULTILINE)


def markdown_rows(kinds: Iterable[FaultKind[object]]) -> list[str]:
    """Rows for the README."""
    return [f"| {', '.join(f'`{_escaped(example)}`' for example in kind.syntax)} | {kind.help} |" for kind in kinds]


def metric_row(metric: Metric) -> str:
    """A row for the README."""
    attributes = ", ".join(f"`{name}`" for name in metric.attributes)
    events = ", ".join(f"`{_event_name(event)}`" for event in metric.events) or "the reader itself"
    instrument = f"{metric.instrument.value} {metric.unit}"
    return f"| `{metric.name}` | {instrument} | {attributes} | {events} | {metric.meaning} |"


def _event_name(event: type[Event]) -> str:
    return str(event.__struct_config__.tag)


def _escaped(example: str) -> str:
    return example.replace("|", "\\|")


def test_two_commands_stand_in_the_first_screen() -> None:
    first_screen = "\n".join(README.splitlines()[:30])

    assert len(COMMANDS) == 2
    assert all(command in first_screen for command in COMMANDS)
    assert COMMANDS[0].endswith("robots run")
    assert "pytest" in COMMANDS[1]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_command_shown_is_understood(example: str) -> None:
    app.parse_args(shlex.split(example)[1:], exit_on_error=False, print_error=False)


def test_every_file_named_is_there() -> None:
    named = set(re.findall(r"`((?:deploy|robots|broker|telemetry|tests)/[\w/]*\.?\w*)`", README))

    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_promises_listed_are_the_promises_judged() -> None:
    rows = re.findall(r"^\| \*\*([\w ]+)\*\* \|", README, re.MULTILINE)

    assert rows == list(PROMISES)


def test_the_exhibits_listed_are_those_that_each_promise_must_convict() -> None:
    rows = re.findall(r"^\| ([\w ]+) \| ((?:`[\w-]+`(?:, )?)+) \|$", README, re.MULTILINE)

    listed = [(promise, name) for promise, names in rows for name in re.findall(r"[\w-]+", names)]
    assert listed == [(exhibit.promise, name) for name, exhibit in EXHIBITS.items()]


def test_the_tables_of_faults_are_the_registry() -> None:
    tables = re.findall(r"^\| (?:process )?fault \| what it does \|\n\|---\|---\|\n((?:\|.+\n)+)", README, re.MULTILINE)

    assert [table.splitlines() for table in tables] == [markdown_rows(NETWORK), markdown_rows(PROCESS_FAULTS)]


def test_the_table_of_metrics_is_the_codes_own() -> None:
    [table] = re.findall(r"^\| metric \| .+\n\|[-|]+\|\n((?:\|.+\n)+)", README, re.MULTILINE)

    assert table.splitlines() == [metric_row(metric) for metric in METRICS]


def test_the_rules_of_anomalies_listed_are_those_that_are_applied() -> None:
    tables = re.findall(r"^\| rule \| an anomaly begins when \|\n\|---\|---\|\n((?:\|.+\n)+)", README, re.MULTILINE)

    assert [table.splitlines() for table in tables] == [[f"| {name} | {text} |" for name, text in RULES.items()]]


@pytest.mark.parametrize("example", [example for kind in FAULTS.values() for example in kind.syntax])
def test_every_fault_shown_is_one(example: str) -> None:
    assert parse_line(example).fault.name == example.split()[0]
