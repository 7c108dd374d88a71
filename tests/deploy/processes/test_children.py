"""A parent's children: watched, ended, and told of when they die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from deploy.processes.children import ChildDeath
from tests.deploy.processes.bodies import refuse_to_end, sleep_for_ever
from tests.support.waiting import DEADLINE_S, await_true

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")]


def test_a_death_is_reported_at_once(fleet, log):
    # Given two children that sleep
    pid = fleet.start("rq:r00", sleep_for_ever, log)
    fleet.start("rq:r01", sleep_for_ever, log)
    # When one is killed
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    # Then the parent, which would wait for a minute, is told of that one long before
    assert fleet.poll(60) == [ChildDeath("rq:r00", pid, -signal.SIGKILL)]
    assert time.monotonic() - killed < DEADLINE_S
    assert list(fleet.living) == ["rq:r01"]


def test_a_child_ends_with_what_its_body_returns(fleet, log):
    # Given / When a body prints something, not even a line, and returns 75
    pid = fleet.start("rq:r00", lambda: print("bye", end="") or 75, log)
    # Then that is its status, and its last word is not lost
    assert fleet.poll(5) == [ChildDeath("rq:r00", pid, 75)]
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
    read_end, mouth = os.pipe()
    os.set_blocking(mouth, False)
    signal.set_wakeup_fd(mouth)
    try:
        # When a child tells what it is
        def body():
            reported = [os.getpgrp() == os.getpid(), signal.getsignal(signal.SIGINT) == signal.SIG_IGN]
            reported += [signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, signal.pthread_sigmask(0, []) == set()]
            reported += [signal.set_wakeup_fd(-1) == -1]
            print(json.dumps(reported))
            return 0

        fleet.start("rq:r00", body, log)
        fleet.poll(5)
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, before)
        os.close(read_end)
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


def test_end_asks_first_and_kills_a_child_that_does_not_listen(fleet, log):
    # Given a child that listens, one that does not, and one that is paused
    fleet.start("good", sleep_for_ever, log)
    fleet.start("deaf", refuse_to_end, log)
    fleet.start("paused", sleep_for_ever, log)
    fleet.signal("paused", signal.SIGSTOP)
    await_true(lambda: "deaf" in log.read_text(), what="deafness")
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
    deaths = {death.name: death.status for death in fleet.end(["busy", "idle"], 1, is_asked=False)}
    # Then the first was let be
    assert deaths == {"busy": 0, "idle": -signal.SIGKILL}


def test_a_death_of_another_while_some_are_ended_is_not_lost(fleet, log):
    # Given two children, one of which dies by itself
    fleet.start("other", lambda: 7, log)
    fleet.start("mine", refuse_to_end, log)
    await_true(lambda: log.exists() and "deaf" in log.read_text(), what="deafness")
    # When one is ended, and that takes a while
    mine = fleet.end(["mine", "unknown"], 0.2)
    # Then its death is given back, and that of the other is told later
    assert [death.name for death in mine] == ["mine"]
    assert [(death.name, death.status) for death in fleet.poll(0)] == [("other", 7)]


def test_a_descriptor_wakes_the_parent(fleet, log):
    # Given a child that sleeps, and a pipe that can be read
    fleet.start("rq:r00", sleep_for_ever, log)
    read_end, mouth = os.pipe()
    os.write(mouth, b"!")
    # When the parent waits for both
    began = time.monotonic()
    deaths = fleet.poll(60, read_end)
    # Then it does not wait, and no child died
    assert deaths == []
    assert time.monotonic() - began < DEADLINE_S
    os.close(read_end)
    os.close(mouth)


def test_an_adopted_process_is_watched_and_ended_like_the_others(fleet):
    # Given a process that somebody else started
    with subprocess.Popen(["sleep", "60"]) as process:
        fleet.adopt("redis", process.pid)
        # When the fleet is ended
        deaths = fleet.end_all(1)
        # Then that one too
        assert deaths == [ChildDeath("redis", process.pid, -signal.SIGTERM)]
