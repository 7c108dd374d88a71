"""`robots watch` and `robots ps --watch`: a run that is seen from other terminals, and not touched."""

from __future__ import annotations

import json
import secrets
import signal
from statistics import median
from typing import Any

import pytest
from redis.exceptions import NoPermissionError

from broker.streams.connection import connect
from tests.live.cluster import Cluster, begin
from tests.support.live_place import END_S, LIVE, UNTIL_STOPPED, Place, not_held
from tests.support.pseudo_terminal import Open
from tests.support.waiting import await_true

pytestmark = LIVE

READS = ("+xread", "+xrange", "+exists", "+zrevrange", "+info", "+time")
"""All commands that a watcher may send, beside those by which it logs in."""


def test_a_watcher_that_comes_late_sees_the_history_and_leaves_without_a_trace(
    place: Place, open_terminal: Open
) -> None:
    # Given a run that is done, and goes on
    lab = place.start("run", "--json", "-n", "3", "--seed", "3", *UNTIL_STOPPED)
    place.await_done()
    # When it is watched from another terminal
    terminal = open_terminal("watch")
    terminal.await_screens()
    terminal.await_text("complete 3/3")
    terminal.type("q")
    # Then leaving it is told in one line, and does nothing to the run
    assert terminal.await_end() == 0
    terminal.await_text(f"run {place.run_id} goes on; attach again: robots watch {place.run_id}")
    assert terminal.is_as_before
    assert lab.poll() is None
    code, result, _ = place.stop(lab)
    assert (code, result["verdict"]) == (0, "HELD"), not_held(result)
    # And a run that is over is for replay
    err = place.start("watch", result["run"]).communicate(timeout=END_S)[1].decode()
    assert err == f"robots: run {result['run']} is over; see it again with: robots replay {result['run']}\n"


def test_into_a_pipe_go_plain_lines_until_the_verdict(place: Place) -> None:
    lab = place.start("run", "--json", "-n", "3", "--seed", "3", *UNTIL_STOPPED)
    place.await_done()
    watch, events = place.start("watch"), place.start("watch", "--json")
    assert watch.stdout is not None
    assert events.stdout is not None
    first = watch.stdout.readline(), events.stdout.readline()  # they are attached
    _, result, _ = place.stop(lab)

    out = (first[0] + watch.stdout.read()).decode()
    rows = [json.loads(line) for line in (first[1] + events.stdout.read()).splitlines()]

    assert (watch.wait(END_S), events.wait(END_S)) == (0, 0)
    assert "\x1b" not in out
    assert f"{result['verdict']}  run {result['run']}" in out
    names = [row["event"]["name"] for row in rows]
    assert {"run.dealt", "robot.complete", "secret.written", "run.stopped"} <= set(names)


def test_a_watcher_needs_no_right_but_to_read(cluster: Cluster, open_terminal: Open) -> None:
    # Given a user of the server who may only read, and a run that is done
    password = secrets.token_hex(8)
    cluster.client.execute_command("ACL", "SETUSER", "watcher", "on", f">{password}", "~*", "-@all", *READS)
    begin(cluster, 3, "-n", "3", *UNTIL_STOPPED)
    url = cluster.server.url.replace("://", f"://watcher:{password}@")
    with connect(url) as client, pytest.raises(NoPermissionError):
        client.xadd("a stream", {"a": "b"})
    cluster.client.acl_log_reset()
    # When it is watched as that user, on screens and as lines
    terminal = open_terminal("watch", cluster.run, "--read-only", "--redis-url", url)
    lines = cluster.start("watch", cluster.run, "--redis-url", url)
    terminal.await_screens()
    terminal.await_text("complete 3/3")
    cluster.stop()
    # Then it sees the run to its end, and was refused nothing
    terminal.await_text(f"judge it with: robots verify --wait {cluster.run}")
    terminal.type("q")
    assert terminal.await_end() == 0
    out = lines.communicate(timeout=END_S)[0].decode()
    assert f"judge it with: robots verify --wait {cluster.run}" in out
    refused = [entry for entry in cluster.client.acl_log() if entry["username"] == "watcher"]
    assert refused == []
    code, result = cluster.verify("--forget")
    assert code == 0, not_held(result)


def is_held_back(place: Place) -> bool:
    """Whether the run that is live now waits for `go`."""
    logs = [live.parent / "events.jsonl" for live in place.folder.glob("runs/*/live.json")]
    return any(log.exists() and b"run.held.back" in log.read_bytes() for log in logs)


def test_watchers_change_neither_the_verdict_nor_the_rounds(place: Place, open_terminal: Open) -> None:
    """Compared: every promise's state of each run (`right` is that the secret was written byte for byte), and the
    median of the rounds until all robots are complete, which may differ by ten: a busy machine alone makes as much."""

    def result_of(seed: int, is_watched: bool) -> dict[str, Any]:
        lab = place.start("run", "--hold", "--json", "-n", "4", "--loss", ".2", "--seed", str(seed))
        await_true(lambda: is_held_back(place), what="a live run that is held back")
        screens, lines = (
            (open_terminal("watch"), open_terminal("watch", "--ui", "plain")) if is_watched else (None, None)
        )
        if screens and lines:  # the run begins when they are there
            screens.await_text("HELD BACK")
            lines.await_text("before go")
        assert place.start("go").wait(timeout=END_S) == 0
        result = place.result_of(lab)[1]
        if screens and lines:
            screens.await_text("OVER: HELD")
            screens.type("q")
            assert (screens.await_end(), lines.await_end()) == (0, 0)
        return result

    pairs = [(result_of(seed, is_watched=False), result_of(seed, is_watched=True)) for seed in (1, 2)]

    for one, other in pairs:
        assert (one["verdict"], other["verdict"]) == ("HELD", "HELD"), (not_held(one), not_held(other))
        assert {name: row["state"] for name, row in one["promises"].items()} == {
            name: row["state"] for name, row in other["promises"].items()
        }
    rounds = [median(result["rounds"]["all_complete"] for result in each) for each in zip(*pairs, strict=True)]
    assert abs(rounds[0] - rounds[1]) <= 10, rounds


def test_a_watcher_that_is_killed_changes_nothing(place: Place, open_terminal: Open) -> None:
    lab = place.start("run", "--json", "-n", "3", "--seed", "3", *UNTIL_STOPPED)
    place.await_event("run.started")
    terminal, lines = open_terminal("watch"), place.start("watch")
    terminal.await_screens()

    terminal.process.kill()
    lines.kill()

    terminal.process.wait()
    code, result, _ = place.stop(lab)
    assert (code, result["verdict"], result["whole_run"]["restarts"]) == (0, "HELD", 0), not_held(result)


def test_watchers_whose_windows_are_closed_end(place: Place, open_terminal: Open) -> None:
    lab = place.start("run", "--json", "-n", "3", "--seed", "3", *UNTIL_STOPPED)
    place.await_event("run.started")
    terminals = [open_terminal("watch", "--hz", "10") for _ in range(2)]
    for terminal in terminals:
        terminal.await_text("complete")
    # When they are closed while the screens are painted
    for terminal in terminals:
        terminal.close()
    # Then no process is left, and the run goes on
    for terminal in terminals:
        terminal.process.wait(timeout=END_S)
    assert lab.poll() is None
    place.stop(lab)


@pytest.mark.long
def test_a_signal_ends_a_watcher_and_restores_its_terminal(place: Place, open_terminal: Open) -> None:
    lab = place.start("run", "--json", "-n", "3", "--seed", "3", *UNTIL_STOPPED)
    place.await_event("run.started")
    terminal, lines = open_terminal("watch"), open_terminal("watch", "--ui", "plain")
    terminal.await_screens()
    lines.await_text("complete")

    terminal.process.send_signal(signal.SIGTERM)
    lines.type("\x03")

    assert (terminal.await_end(), lines.await_end()) == (130, 130)
    assert terminal.is_as_before
    lines.await_text("goes on; attach again")
    assert place.stop(lab)[0] == 0


def test_ps_is_painted_again_and_again_until_the_run_is_over(place: Place, open_terminal: Open) -> None:
    lab = place.start("run", "--json", "-n", "3", "--seed", "3", *UNTIL_STOPPED)
    place.await_event("run.started")
    # When it is painted on a terminal, and printed into a pipe
    terminal, pipe = open_terminal("ps", "--watch", "--hz", "5"), place.start("ps", "--watch", "--hz", "5", "--json")
    await_true(lambda: terminal.written.count("\x1b[J") >= 3, what="some paintings")
    # Then Ctrl-C ends one
    other = open_terminal("ps", "--watch")
    other.await_text("RQ workers on the server")
    other.type("\x03")
    assert other.await_end() == 130
    # And the others end with the run
    place.stop(lab)
    assert terminal.await_end() == 0
    assert "is over" in terminal.text
    out, _ = pipe.communicate(timeout=END_S)
    tables = [json.loads(line) for line in out.splitlines()]
    assert len(tables) > 1
    assert {len(table["robots"]) for table in tables} == {3}
