"""The judge: an honest record is HELD, a check that crashes is UNPROVEN, and no code is shared with what is judged."""

from __future__ import annotations

import ast
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from telemetry.plain.verdict import verdict_lines
from telemetry.verdict import judge as judging
from telemetry.verdict.case import load
from telemetry.verdict.judge import PROMISES, judge
from tests.verdict.alterations import rows
from tests.verdict.honest_record import put
from tests.verdict.judged import verdict_on
from tests.verdict.scribe import Files


def test_an_honest_record_is_held(files: Files) -> None:
    # Given a record in which a robot was killed and came back, and an older life's envelope went stale
    assert rows(files, "fates", fate="stale")
    assert any(row["fate"] == "lost" for row in files["fates"])
    assert any(len(row["deliveries"]) > 1 for row in files["fates"])
    # When it is judged
    result = verdict_on(files)
    # Then every promise is HELD, in the order of the result's schema
    assert {name: promise.state for name, promise in result.promises.items()} == dict.fromkeys(PROMISES, "HELD")
    assert (result.verdict, result.exit_code) == ("HELD", 0)
    assert "tail of r02/1" in result.promises["monotonic"].why
    assert "refused: 1" in result.promises["once"].why


def test_a_promise_counts_what_put_it_to_the_test(files: Files) -> None:
    # Given two attempts to write, a death and its later life
    tested = {name: promise.tested for name, promise in verdict_on(files).promises.items()}
    # Then each promise counts what put it to the test
    assert (tested["once"], tested["right"], tested["patient"]) == (2, 1, 2)
    assert (tested["supervised"], tested["fenced"], tested["convergent"]) == (1, 1, 3)
    assert tested["accounted"] == len(files["fates"])
    assert tested["played"] == len(files["settings"]["plan"])


def test_a_promise_that_met_nothing_is_printed_as_not_tested(files: Files) -> None:
    # Given a result in which no robot died
    result = verdict_on(files).json
    result["promises"]["supervised"] = {"state": "HELD", "why": "no death of a robot", "tested": 0}
    # Then its line says that nothing tried it
    assert "  not tested  supervised" in list(verdict_lines(result))
    lines = list(verdict_lines(result, is_verbose=True))
    assert "  not tested  supervised: no death of a robot" in lines
    assert sum(line.startswith("  not tested") for line in lines) == 1


def test_a_record_on_disk_and_one_in_memory_are_judged_alike(files: Files, tmp_path: Path) -> None:
    # Given the same evidence as a folder and as values
    folder = put(tmp_path / "abc123", files)
    # When both are judged
    from_disk, from_memory = judge(load(folder, "runs/abc123")), verdict_on(files)
    # Then the results are equal, and the folder's own name is used when none is given
    assert from_disk.json == from_memory.json
    assert judge(load(folder)).record == str(folder)


def test_the_result_has_exactly_the_keys_of_its_schema(files: Files) -> None:
    result = verdict_on(files).json
    assert " ".join(result) == (
        "schema version run verdict promises ended robots parts seed preset plan winner winner_incarnation seconds "
        "rounds until_complete whole_run record again"
    )
    assert list(result["promises"]) == [
        *("once", "right", "monotonic", "unique", "idempotent", "patient", "convergent", "supervised", "fenced"),
        *("frugal", "honest faults", "accounted", "played"),
    ]
    assert list(result["promises"]["once"]) == ["state", "why", "tested"]
    assert list(result["seconds"]) == ["born", "first_complete", "written", "all_complete", "total"]
    assert list(result["rounds"]) == ["first_complete", "all_complete"]
    assert list(result["until_complete"]) == ["messages", "model_bytes_per_robot", "wire_bytes_per_robot"]
    assert " ".join(result["until_complete"]["messages"]) == (
        "sent delivered lost duplicated delayed reordered corrupted per_robot"
    )
    assert " ".join(result["whole_run"]) == "faults refused repeated restarts recoveries lives joined"
    assert " ".join(result["whole_run"]["faults"][0]) == "name set offered injected rate band state"
    assert " ".join(result["whole_run"]["repeated"]) == "redone copies"
    assert " ".join(result["whole_run"]["recoveries"]) == "count p50_s max_s"
    assert json.dumps(json.loads(json.dumps(result))) == json.dumps(result)


def test_every_promise_has_a_breach_that_convicts_it() -> None:
    files = {promise: import_module(f"tests.verdict.test_{promise.replace(' ', '_')}") for promise in PROMISES}
    assert {promise for promise, file in files.items() if file.BREACHES} == set(PROMISES)


def test_a_check_that_crashes_is_unproven(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_case: Any) -> Any:
        raise ZeroDivisionError("of the judge's own")

    monkeypatch.setitem(PROMISES, "once", crash)
    result = verdict_on(files)
    assert result.promises["once"].state == "UNPROVEN"
    assert "ZeroDivisionError" in result.promises["once"].why
    assert (result.verdict, result.exit_code) == ("UNPROVEN", 3)


def test_the_judge_shares_no_code_with_what_it_judges() -> None:
    folder = Path(judging.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                ours = module.split(".")[0] in ("broker", "robots", "deploy")
                assert not ours, f"{path.name} imports {module}"
                if module.startswith("telemetry"):
                    assert module.startswith(("telemetry.verdict", "telemetry.events", "telemetry.record.folder"))
