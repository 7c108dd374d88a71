"""`robots schema`: real records and real answers fit it, and what is no record does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from deploy.commands import app
from deploy.commands.schema import OUTPUTS
from telemetry.schema.table import FILES
from tests.support.terminal import Terminal

FILLED = [file for file in FILES if file.content is not None and file.name not in ("live.json", "logs/")]
PLAN = (
    *("--seed", "7", "-n", "5", "--for", "4s", "--chaos", "kill robot every 900ms", "--kill", "relay@2s"),
    *("--chaos", "crash r03/secret_merger @500ms", "--chaos", "contradict r02 @700ms", "--preset", "storm"),
)


def validator_of(terminal: Terminal, *name: str) -> Draft202012Validator:
    schema = json.loads(terminal.do("schema", *name).out)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def contents(folder: Path, name: str) -> list[Any]:
    """The values of a file: one, or those of its lines."""
    text = (folder / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()] if name.endswith(".jsonl") else [json.loads(text)]


def test_every_file_of_a_record_and_the_printed_result_fit_their_schemas(here: Path, terminal: Terminal) -> None:
    # Given the record of a run in which much happened
    result = json.loads(terminal.do("simulate", "--json", *PLAN).out)
    folder = here / result["record"]
    # Then each of its files is as its schema says
    seen = 0
    for file in FILLED:
        validator = validator_of(terminal, file.name)
        for value in contents(folder, file.name):
            errors = [error.message for error in validator.iter_errors(value)]
            assert errors == [], file.name
            seen += 1
    assert seen > 500
    # And so are the result, a list of runs, and a line of the log
    assert list(validator_of(terminal, "simulate").iter_errors(result)) == []
    assert list(validator_of(terminal, "runs").iter_errors(terminal.do("runs", "--json").row)) == []
    assert list(validator_of(terminal, "verify").iter_errors(json.loads(terminal.do("verify", "--json").out))) == []
    assert list(validator_of(terminal, "events").iter_errors(terminal.do("events", "--json", "-n", "1").row)) == []
    asked = {"traces": (), "why": ("r01",), "anomalies": (), "metrics": (), "traces export": ()}
    for command, more in asked.items():
        printed = terminal.do(*command.split(), *more, "--json").row
        assert list(validator_of(terminal, command).iter_errors(printed)) == [], command
    one = terminal.do("traces", "latest", "run", "--json").row
    assert list(validator_of(terminal, "traces exchange").iter_errors(one)) == []


def test_the_schema_of_all_names_each_file_and_each_command_with_json(terminal: Terminal) -> None:
    schema = json.loads(terminal.do("schema").out)

    Draft202012Validator.check_schema(schema)
    assert set(schema["properties"]) == {file.name for file in FILLED} | {"live.json", "logs/"} | set(OUTPUTS)
    assert all(each["description"] for each in schema["properties"].values())


def test_a_value_of_another_shape_does_not_fit(terminal: Terminal) -> None:
    fates, runs = validator_of(terminal, "fates.jsonl"), validator_of(terminal, "runs")

    assert not fates.is_valid({"row": "redo", "shard": 0, "stored": "yesterday", "redo": []})
    assert not fates.is_valid({"row": "fate", "shard": 0})
    assert not runs.is_valid({"runs": [{"run": "7b08e1"}]})


def test_the_result_labels_what_counts_until_completion_and_what_for_the_whole_run(terminal: Terminal) -> None:
    schema = json.loads(terminal.do("schema", "run").out)

    described = {name: schema["$defs"][name]["description"] for name in ("UntilComplete", "WholeRun")}
    assert described["UntilComplete"].startswith("What was sent from `go` until all robots were complete")
    assert described["WholeRun"].startswith("What counts from the deal to the end")


def test_an_unknown_name_is_refused_in_one_line(terminal: Terminal) -> None:
    refused = terminal.do("schema", "fate")

    assert refused.code == 2
    assert refused.complaint.startswith("robots: NAME: 'fate' has no schema; allowed are settings.json, deal.json,")


@pytest.mark.parametrize("command", list(OUTPUTS))
def test_every_command_with_a_schema_has_json(command: str) -> None:
    words = [
        *command.split(),
        *["r03"] * (command not in ("run", "simulate", "deal", "runs", "config", "doctor")),
        "--json",
    ]

    _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)

    assert bound.kwargs["json_"] is True
