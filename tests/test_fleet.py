"""The parent's side of a live lab: children that are watched and ended, and what is left when the parent is killed."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from waiting import await_true, is_alive

from deploy.processes.children import Death, Fleet
from deploy.processes.forking import start_time
from deploy.processes.janitor import Janitor

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")]

ROOT = Path(__file__).parent.parent


def sleep_for_ever():
    signal.pause()
    return 0


def refuse_to_end():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("deaf")
    while True:
        signal.pause()


@pytest.fixture
def fleet():
    fleet = Fleet()
    yield fleet
    fleet.end_all(0)
    gc.unfreeze()


@pytest.fixture
def log(tmp_path):
    return tmp_path / "child.log"


def test_a_death_is_told_at_once(fleet, log):
    # Given two children that sleep
    pid = fleet.start("rq:r00", sleep_for_ever, log)
    fleet.start("rq:r01", sleep_for_ever, log)
    # When one is killed
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    # Then the parent, which would wait ten seconds, is told of that one long before
    assert fleet.poll(10) == [Death("rq:r00", pid, -signal.SIGKILL)]
    assert time.monotonic() - killed < 5
    assert list(fleet.living) == ["rq:r01"]


def test_a_child_ends_with_what_its_body_returns(fleet, log):
    # Given / When a body prints something, not even a line, and returns 75
    pid = fleet.start("rq:r00", lambda: print("bye", end="") or 75, log)
    # Then that is its status, and its last word is not lost
    assert fleet.poll(5) == [Death("rq:r00", pid, 75)]
    assert log.read_text() == "bye"


def test_what_a_child_prints_and_raises_is_appended_to_its_log(fleet, log):
    # Given a log that holds something
    log.write_text("before\n")

    # When a body prints, and raises
    def body():
        print("hello")
        os.write(2, b"straight to the descriptor\n")
        assert sys.stdin.read() == ""
        raise RuntimeError("a bug of ours")

    fleet.start("rq:r00", body, log)
    # Then it exits with 1, and all stands in the log, in order
    assert [death.status for death in fleet.poll(5)] == [1]
    text = log.read_text()
    assert text.startswith("before\nhello\nstraight to the descriptor\nTraceback")
    assert text.endswith("RuntimeError: a bug of ours\n")


def test_a_child_never_comes_back_into_its_parents_stack(fleet, log, tmp_path):
    # Given a body that leaves by every door there is
    witness = tmp_path / "came back"

    def body():
        raise SystemExit(3)

    # When it runs inside code that would go on afterwards
    parent = os.getpid()
    try:
        fleet.start("rq:r00", body, log)
    finally:
        if os.getpid() != parent:
            witness.touch()
    # Then only the parent goes on
    assert len(fleet.poll(5)) == 1
    assert not witness.exists()


def test_a_child_leads_its_own_group_ignores_ctrl_c_and_forgets_the_parents_handlers(fleet, log):
    # Given a parent with handlers of its own
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    ear, mouth = os.pipe()
    os.set_blocking(mouth, False)
    signal.set_wakeup_fd(mouth)
    try:
        # When a child tells what it is
        def body():
            told = [os.getpgrp() == os.getpid(), signal.getsignal(signal.SIGINT) == signal.SIG_IGN]
            told += [signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, signal.pthread_sigmask(0, []) == set()]
            told += [signal.set_wakeup_fd(-1) == -1]
            print(json.dumps(told))
            return 0

        fleet.start("rq:r00", body, log)
        fleet.poll(5)
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, before)
        os.close(ear)
        os.close(mouth)
    # Then all of it is so
    assert json.loads(log.read_text()) == [True] * 5


def test_a_name_is_borne_by_one_living_child(fleet, log):
    # Given a living child
    fleet.start("rq:r00", sleep_for_ever, log)
    # When another is to get its name / Then that is refused
    with pytest.raises(ValueError, match="alive"):
        fleet.start("rq:r00", sleep_for_ever, log)
    # and it is free again after its death
    fleet.end(["rq:r00"], 1)
    fleet.start("rq:r00", sleep_for_ever, log)


def test_ending_asks_first_and_kills_who_does_not_listen(fleet, log):
    # Given a child that listens, one that does not, and one that is paused
    fleet.start("good", sleep_for_ever, log)
    fleet.start("deaf", refuse_to_end, log)
    fleet.start("paused", sleep_for_ever, log)
    fleet.signal("paused", signal.SIGSTOP)
    await_true(lambda: "deaf" in log.read_text(), 2, "deafness")
    # When all are ended with some grace
    deaths = {death.name: death.status for death in fleet.end_all(0.3)}
    # Then each dies by the mildest signal that helps
    assert deaths == {"good": -signal.SIGTERM, "deaf": -signal.SIGKILL, "paused": -signal.SIGTERM}
    assert fleet.living == {}


def test_who_is_not_asked_may_end_by_itself_and_is_killed_if_it_does_not(fleet, log):
    # Given a child that will end by itself, however it is asked, and one that never does
    fleet.start("busy", lambda: time.sleep(0.2) or 0, log)
    fleet.start("idle", sleep_for_ever, log)
    # When both are ended without being asked
    deaths = {death.name: death.status for death in fleet.end(["busy", "idle"], 1, asking=False)}
    # Then the first was let be
    assert deaths == {"busy": 0, "idle": -signal.SIGKILL}


def test_a_death_of_another_while_some_are_ended_is_not_lost(fleet, log):
    # Given two children, one of which dies by itself
    fleet.start("other", lambda: 7, log)
    fleet.start("mine", refuse_to_end, log)
    await_true(lambda: log.exists() and "deaf" in log.read_text(), 2, "deafness")
    # When one is ended, and that takes a while
    mine = fleet.end(["mine", "nobody"], 0.2)
    # Then its death is given back, and that of the other is told later
    assert [death.name for death in mine] == ["mine"]
    assert [(death.name, death.status) for death in fleet.poll(0)] == [("other", 7)]


def test_a_descriptor_wakes_the_parent(fleet, log):
    # Given a child that sleeps, and a pipe that can be read
    fleet.start("rq:r00", sleep_for_ever, log)
    ear, mouth = os.pipe()
    os.write(mouth, b"!")
    # When the parent waits for both
    began = time.monotonic()
    deaths = fleet.poll(10, ear)
    # Then it does not wait, and nobody died
    assert deaths == []
    assert time.monotonic() - began < 5
    os.close(ear)
    os.close(mouth)


def test_an_adopted_process_is_watched_and_ended_like_the_others(fleet):
    # Given a process that somebody else started
    with subprocess.Popen(["sleep", "60"]) as process:
        fleet.adopt("redis", process.pid)
        # When the fleet is ended
        deaths = fleet.end_all(1)
        # Then that one too
        assert deaths == [Death("redis", process.pid, -signal.SIGTERM)]


# The janitor.


@pytest.fixture
def folder():
    folder = Path(tempfile.mkdtemp(prefix="robots-test-"))
    yield folder
    if folder.exists():
        folder.rmdir()


def killed_parent(script, *arguments):
    """Run `script` as a parent that prints one line and waits; kill it; give that line."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        try:
            line = parent.stdout.readline()
        finally:
            parent.kill()
    return json.loads(line)


LAB = """
import json, os, signal, sys
from pathlib import Path
from broker.embedded import EmbeddedServer
from broker.streams.connection import connect
from deploy import pulse, robot_queue, rq_worker
from deploy.fleet import Fleet
from deploy.janitor import Janitor
import rq, time

def robot(run, name):
    rq.get_current_job().connection.rpush("horses", os.getpid())
    while True:
        pulse.beat()
        time.sleep(0.05)

rq_worker.RobotJob.allowed[rq_worker.ROBOT_JOB] = robot
live = Path(sys.argv[1]) / "live.json"
janitor = Janitor.hire()
fleet = Fleet(janitor)
server = EmbeddedServer()
fleet.adopt("redis", server.pid)
janitor.folder(server.folder)
live.write_text("{}")
janitor.file(live)
connection = connect(server.url)
for number in range(3):
    robot_queue.enqueue_robot(connection, "t", f"r{number:02d}")
    fleet.start(f"rq:r{number:02d}", lambda: rq_worker.work(connect(server.url)), Path(sys.argv[1]) / "log")
deadline = time.monotonic() + 10
while connection.llen("horses") < 3 and time.monotonic() < deadline:
    fleet.poll(0.02)
horses = [int(pid) for pid in connection.lrange("horses", 0, -1)]
print(json.dumps({"workers": list(fleet.living.values()), "horses": horses, "janitor": janitor.pid,
                  "folder": str(server.folder), "live": str(live)}), flush=True)
while True:
    fleet.poll(1)
"""


def test_a_killed_parent_leaves_no_process_no_socket_and_no_file(tmp_path):
    # Given a parent with a server, RQ workers with horses, and a janitor / When it is killed
    left = killed_parent(LAB, tmp_path)
    assert len(left["workers"]) == 4
    assert len(left["horses"]) == 3
    # Then all that it had started is gone soon, its janitor included,
    pids = [*left["workers"], *left["horses"], left["janitor"]]
    await_true(lambda: not any(map(is_alive, pids)), 5, "the end of all processes")
    # and so are its socket and its file
    assert not Path(left["folder"]).exists()
    assert not Path(left["live"]).exists()


ALONE = """
import json, signal, sys
from pathlib import Path
from deploy.fleet import Fleet
fleet = Fleet()
pid = fleet.start("rq:r00", lambda: signal.pause() or 0, Path(sys.argv[1]))
print(json.dumps(pid), flush=True)
fleet.poll(60)
"""


def test_a_child_dies_with_its_parent_even_without_a_janitor(log):
    # Given / When a parent that has none is killed
    child = killed_parent(ALONE, log)
    # Then its child is gone
    await_true(lambda: not is_alive(child), 1, "the child's end")


OUTLIVER = """
import json, subprocess, sys
from pathlib import Path
from deploy.forking import start_time
from deploy.janitor import Janitor
janitor = Janitor.hire()
watched = subprocess.Popen(["sleep", "60"], start_new_session=True)
mistaken = subprocess.Popen(["sleep", "60"], start_new_session=True)
forgotten = subprocess.Popen(["sleep", "60"], start_new_session=True)
janitor.watch(watched.pid)
janitor._tell(f"pid {mistaken.pid} {start_time(mistaken.pid) - 1}")
janitor.watch(forgotten.pid)
janitor.forget(forgotten.pid)
janitor.folder(Path(sys.argv[1]))
print(json.dumps([watched.pid, mistaken.pid, forgotten.pid, janitor.pid]), flush=True)
input()
"""


def test_the_janitor_ends_what_it_was_told_of_and_nothing_else(folder):
    # Given processes without a parent-death signal: one watched, one whose pid another process bore, one forgotten
    # When their parent is killed
    watched, mistaken, forgotten, janitor = killed_parent(OUTLIVER, folder)
    try:
        # Then the janitor ends the first, removes the folder, and is gone
        await_true(lambda: not is_alive(janitor), 5, "the janitor's end")
        assert [is_alive(watched), is_alive(mistaken), is_alive(forgotten)] == [False, True, True]
        assert not folder.exists()
    finally:
        os.kill(mistaken, signal.SIGKILL)
        os.kill(forgotten, signal.SIGKILL)


def test_a_dismissed_janitor_touches_nothing(fleet, folder, log):
    # Given a janitor with something to end and something to remove
    janitor = Janitor.hire()
    pid = fleet.start("rq:r00", sleep_for_ever, log)
    janitor.watch(pid)
    janitor.folder(folder)
    # When the parent ends in order
    janitor.dismiss()
    # Then the janitor is gone, and both are still there
    assert not is_alive(janitor.pid)
    assert is_alive(pid)
    assert folder.exists()


def test_no_child_holds_the_janitors_pipe_open(log):
    # Given a fleet with a janitor, a child, and a process that was started by another way
    janitor = Janitor.hire()
    fleet = Fleet(janitor)
    fleet.start("rq:r00", sleep_for_ever, log)
    with subprocess.Popen(["sleep", "60"]) as process:
        fleet.adopt("redis", process.pid)
        # When our own end is closed, as it is when a parent is killed
        janitor.let_go()
        # Then the janitor hears it: it ends the children, and then itself
        deaths = []
        await_true(lambda: deaths.extend(fleet_deaths(fleet)) or len(deaths) == 2, 5, "both deaths")
        assert {status for _, status in deaths} == {-signal.SIGKILL}
        assert os.waitpid(janitor.pid, 0)[1] == 0
    gc.unfreeze()


def fleet_deaths(fleet):
    """Deaths as seen by a fleet whose janitor does not hear any more."""
    fleet._janitor = None
    return [(death.name, death.status) for death in fleet.poll(0.05)]


@pytest.mark.parametrize("path", ["/", "/etc", tempfile.gettempdir(), f"{tempfile.gettempdir()}/../etc"])
def test_the_janitor_takes_no_folder_outside_of_the_temporary_one(path):
    janitor = Janitor.hire()
    # When / Then
    with pytest.raises(ValueError, match="does not lie in"):
        janitor.folder(Path(path))
    janitor.dismiss()


def test_the_janitor_takes_no_file_but_live_json(tmp_path):
    janitor = Janitor.hire()
    # When / Then
    with pytest.raises(ValueError, match="is not named"):
        janitor.file(tmp_path / "secret.txt")
    janitor.dismiss()


def test_a_start_time_belongs_to_one_process(tmp_path):
    # Given a process with a name that looks like more fields of its status
    program = tmp_path / "a) R 1 (b"
    program.symlink_to(shutil.which("sleep"))
    with subprocess.Popen([program, "60"]) as process:
        try:
            await_true(lambda: "a) R 1 (b" in Path(f"/proc/{process.pid}/stat").read_text(), 2, "its name")
            # When / Then its start is read right,
            uptime_s = float(Path("/proc/uptime").read_text().split()[0])
            assert 0 <= uptime_s - start_time(process.pid) / os.sysconf("SC_CLK_TCK") < 10
        finally:
            process.kill()
    # and a process that is gone has none
    assert start_time(process.pid) is None
