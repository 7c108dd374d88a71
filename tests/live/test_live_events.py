"""The event log of a live run, and handlers of a user beside it: each event once, and no handler harms the run."""

import json
import signal
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator

from telemetry.events import event_name
from telemetry.handlers.log import LogLine
from telemetry.schema.json_schema import schema_of
from telemetry.schema.table import FILES
from tests.support.live_place import END_S, LIVE, UNTIL_STOPPED, Place, not_held

pytestmark = LIVE

HANDLERS = '''
import time
from pathlib import Path

class Notes:
    """Writes each event's identity, and where it was called."""

    def __init__(self):
        self.file = open("notes", "a", buffering=1)

    def handle(self, stamped, following):
        comm = Path("/proc/self/comm").read_text().strip()
        print(stamped.source, stamped.incarnation, stamped.number, comm, file=self.file)
        following(stamped)

class Fails:
    def handle(self, stamped, following):
        raise ValueError("always")

class Slow:
    def handle(self, stamped, following):
        time.sleep(1)
        following(stamped)
'''


def identities(rows: list[dict[str, object]]) -> list[tuple[object, ...]]:
    return [(row["source"], row["incarnation"], row["number"]) for row in rows]


def test_a_live_run_is_followed_from_its_history_to_its_last_event(place: Place) -> None:
    # Given a run that goes on
    run = place.start("run", "--json", "-n", "4", *UNTIL_STOPPED, "--chaos", "kill r02 @1500ms")
    place.await_event("run.started")

    # When one terminal follows all of it, another one a part, and a third shows what there is
    all_of_it = place.start("events", "--follow", "--json")
    a_part = place.start("events", "-f", "--filter", "robot.born life=2", "--filter", "run.*")
    so_far = place.start("events", "-n", "3", "--json")
    out, err = so_far.communicate(timeout=END_S)
    assert (so_far.returncode, out.count(b"\n"), err) == (0, 3, b"")
    place.await_event("robot.born", source="r02", incarnation=2)
    assert place.stop(run)[0] == 0

    # Then the first has had each event once, those before it came and the last ones too
    out, err = all_of_it.communicate(timeout=END_S)
    assert (all_of_it.returncode, err) == (0, b"")
    shown = [json.loads(line) for line in out.splitlines()]
    assert sorted(identities(shown)) == sorted(identities(place.events()))
    assert len(set(identities(shown))) == len(shown)
    # And the second only those that it wanted
    out, err = a_part.communicate(timeout=END_S)
    assert (a_part.returncode, err) == (0, b"")
    names = [line.split()[1:3] for line in out.decode().splitlines()]
    assert names == [["lab", "run.dealt"], ["lab", "run.started"], ["r02/2", "robot.born"], ["lab", "run.stopped"]]


def test_the_record_of_a_live_run_fits_its_schemas(place: Place) -> None:
    # Given a run with deaths, requests, and two shards
    code, result, progress = place.run(
        *("-n", "4", "--relays", "2", "--for", "3s", "--preset", "storm"),
        *("--chaos", "kill robot @1s", "--kill", "relay@1500ms", "--chaos", "crash r01/secret_merger @700ms"),
    )
    assert code in (0, 3), (not_held(result), progress)  # on a busy machine an injection may find its victim gone

    # Then every line of every file is as its schema says
    for file in FILES:
        if file.content is None or file.name in ("live.json", "logs/"):
            continue
        validator = Draft202012Validator(schema_of(file.content, file.name, file.meaning))
        text = (place.folder / result["record"] / file.name).read_text()
        for value in map(json.loads, text.splitlines() if file.has_rows else [text]):
            assert [error.message for error in validator.iter_errors(value)] == [], (file.name, value)


def test_ctrl_c_ends_the_log_and_not_the_run(place: Place) -> None:
    # Given a run, and a terminal that follows it
    run = place.start("run", "--json", "-n", "3", *UNTIL_STOPPED)
    place.await_event("run.started")
    log = place.start("events", "--follow", "--filter", "run.started")
    assert log.stdout is not None
    assert b"run.started" in log.stdout.readline()

    # When a person presses Ctrl-C there
    log.send_signal(signal.SIGINT)

    # Then it ends, and the run goes on
    assert log.wait(timeout=END_S) == 130
    assert log.stderr is not None
    assert log.stderr.read() == b""
    assert place.stop(run)[0] == 0


def test_handlers_of_a_user_run_beside_the_run_and_a_bad_one_does_not_harm_it(place: Place) -> None:
    # Given a module of handlers, one that fails always and one that notes where it runs, in robots.toml
    (place.folder / "my_handlers.py").write_text(HANDLERS)
    (place.folder / "robots.toml").write_text('handlers = ["my_handlers:Fails", "my_handlers:Notes"]\n')

    # When a run is made
    code, result, progress = place.run("-n", "3", "--preset", "calm")

    # Then it is held, and the one has had every event, in the handlers' own process
    assert code == 0, (not_held(result), progress)
    noted = [line.split() for line in (place.folder / "notes").read_text().splitlines()]
    assert {line[3] for line in noted} == {"handlers"}
    rows = place.events()
    assert [(source, int(life), int(number)) for source, life, number, _ in noted] == identities(rows)
    # And the failures of the other are counted, and were printed twice: at the first, and at the end
    counters = json.loads((place.folder / result["record"] / "counters.json").read_text())
    assert counters["failed_handlers"] == {"my_handlers:Fails": len(rows)}
    assert counters["missed_by_handlers"] == 0
    assert progress.count("my_handlers:Fails") == 2
    assert "robots: handler my_handlers:Fails failed, and goes on: ValueError: always" in progress
    assert place.is_clean(), place.processes()


@pytest.mark.long
def test_a_slow_handler_is_late_and_what_it_missed_is_counted_and_reported(place: Place) -> None:
    # Given a handler that takes a second for each event
    (place.folder / "my_handlers.py").write_text(HANDLERS)

    # When a run is made
    code, result, progress = place.run("-n", "3", "--preset", "calm", "--handler", "my_handlers:Slow")

    # Then the run took no longer until it was stopped, and what the handler never got is counted
    assert code == 0, (not_held(result), progress)
    assert result["ended"] == "complete"
    counters = json.loads((place.folder / result["record"] / "counters.json").read_text())
    missed, total = counters["missed_by_handlers"], sum(counters["events"].values())
    assert total - 30 < missed < total
    assert f"handlers missed {missed} of {total} events" in progress
    assert place.is_clean(), place.processes()


def test_a_handler_that_cannot_be_imported_is_refused_before_the_start(place: Place) -> None:
    process = place.start("run", "--handlers", "no_such_module_:Handler")

    out, err = process.communicate(timeout=END_S)
    assert (process.returncode, out) == (2, b"")
    assert err.decode().startswith(
        "robots: --handlers: no_such_module_:Handler cannot be imported: ModuleNotFoundError"
    )
    assert err.count(b"\n") == 1
    assert not any(Path(place.folder).iterdir())


def test_no_log_and_no_event_holds_a_word_of_the_secret(place: Place) -> None:
    # Given a secret of words that stand nowhere else
    words = [f"zq{number:02d}xw" for number in range(40)]
    (place.folder / "secret").write_text(" ".join(words))

    # When a run deals it, with garbage, a crash, a kill and a contradiction
    code, result, progress = place.run(
        *("--secret-file", "secret", "-n", "5", "--for", "3s", "--preset", "storm", "--kill", "robot@1s"),
        *("--chaos", "crash r01/secret_merger @700ms", "--chaos", "contradict r02 @1200ms"),
    )
    assert code in (0, 3), (not_held(result), progress)  # on a busy machine an injection may find its victim gone

    # Then none of them stands in a log, in the progress, in the result, or in any event
    record = place.folder / result["record"]
    logs = {path.name: path.read_text() for path in (record / "logs").iterdir()}
    printed = {
        **logs,
        "progress": progress,
        "result": json.dumps(result),
        "events": (record / "events.jsonl").read_text(),
    }
    assert [(name, word) for name, text in printed.items() for word in words if word in text] == []
    # And the lines of the logs that tell of events lead to a trace
    lines = [line for text in logs.values() for line in text.splitlines() if line.startswith("{")]
    rows = [msgspec.json.decode(line, type=LogLine) for line in lines]
    assert code == 3 or {"invariant.violated", "worker.crashed"} <= {event_name(row.event) for row in rows}
    assert {row.level for row in rows} == {"INFO"}
    assert all(len(row.trace_id) == 32 and len(row.span_id) == 16 for row in rows)
    assert {row.run for row in rows} == {result["run"]}
