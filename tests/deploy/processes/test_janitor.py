"""The janitor: what is left when a parent is killed, which is nothing."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from deploy.processes.children import Children
from deploy.processes.forking import start_time
from deploy.processes.janitor import Janitor
from tests.deploy.processes.bodies import sleep_for_ever
from tests.support.checkout import ROOT
from tests.support.waiting import await_true, is_alive

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")]


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
from broker.streams.address import Address
from broker.streams.connection import Server, connect
from broker.streams.embedded import EmbeddedServer
from deploy.processes.children import Children
from deploy.processes.janitor import Janitor
from deploy.rq import heartbeat, job, queue, worker
import rq, time

def robot(run, name):
    rq.get_current_job().connection.rpush("horses", os.getpid())
    while True:
        heartbeat.beat()
        time.sleep(0.05)

job.RobotJob.allowed[job.ROBOT_JOB] = robot
live = Path(sys.argv[1]) / "live.json"
janitor = Janitor.hire()
fleet = Children(janitor)
server = EmbeddedServer()
fleet.adopt("redis", server.pid)
janitor.folder(server.folder)
live.write_text("{}")
janitor.file(live)
connection = connect(server.url)
for number in range(3):
    queue.enqueue_robot(connection, "t", f"r{number:02d}")
    fleet.start(f"rq:r{number:02d}", lambda: worker.work(Server.at(Address.one(server.url))), Path(sys.argv[1]) / "log")
deadline = time.monotonic() + 45
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
    await_true(lambda: not any(map(is_alive, pids)), what="the end of all processes")
    # and so are its socket and its file
    assert not Path(left["folder"]).exists()
    assert not Path(left["live"]).exists()


ALONE = """
import json, signal, sys
from pathlib import Path
from deploy.processes.children import Children
fleet = Children()
pid = fleet.start("rq:r00", lambda: signal.pause() or 0, Path(sys.argv[1]))
print(json.dumps(pid), flush=True)
fleet.poll(60)
"""


def test_a_child_dies_with_its_parent_even_without_a_janitor(log):
    # Given / When a parent that has none is killed
    child = killed_parent(ALONE, log)
    # Then its child is gone
    await_true(lambda: not is_alive(child), what="the child's end")


OUTLIVER = """
import json, subprocess, sys
from pathlib import Path
from deploy.processes.forking import start_time
from deploy.processes.janitor import Janitor
janitor = Janitor.hire()
watched = subprocess.Popen(["sleep", "60"], start_new_session=True)
mistaken = subprocess.Popen(["sleep", "60"], start_new_session=True)
forgotten = subprocess.Popen(["sleep", "60"], start_new_session=True)
janitor.watch(watched.pid)
janitor._send(f"pid {mistaken.pid} {start_time(mistaken.pid) - 1}")
janitor.watch(forgotten.pid)
janitor.forget(forgotten.pid)
janitor.folder(Path(sys.argv[1]))
print(json.dumps([watched.pid, mistaken.pid, forgotten.pid, janitor.pid]), flush=True)
input()
"""


def test_the_janitor_ends_what_it_was_reported_of_and_nothing_else(folder):
    # Given processes without a parent-death signal: one watched, one whose pid another process bore, one forgotten
    # When their parent is killed
    watched, mistaken, forgotten, janitor = killed_parent(OUTLIVER, folder)
    try:
        # Then the janitor ends the first, removes the folder, and is gone
        await_true(lambda: not is_alive(janitor), what="the janitor's end")
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
    fleet = Children(janitor)
    fleet.start("rq:r00", sleep_for_ever, log)
    with subprocess.Popen(["sleep", "60"]) as process:
        fleet.adopt("redis", process.pid)
        # When our own end is closed, as it is when a parent is killed
        janitor.let_go()
        # Then the janitor hears it: it ends the children, and then itself
        deaths = []
        await_true(lambda: deaths.extend(fleet_deaths(fleet)) or len(deaths) == 2, what="both deaths")
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
            await_true(lambda: "a) R 1 (b" in Path(f"/proc/{process.pid}/stat").read_text(), what="its name")
            # When / Then its start is read right,
            uptime_s = float(Path("/proc/uptime").read_text().split()[0])
            assert 0 <= uptime_s - start_time(process.pid) / os.sysconf("SC_CLK_TCK") < 10
        finally:
            process.kill()
    # and a process that is gone has none
    assert start_time(process.pid) is None
