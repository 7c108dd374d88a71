"""Replay: time that a person moves, and a scene that depends on the moment alone, however they came there."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from telemetry.watch import playback
from telemetry.watch.recording import Recording
from tests.telemetry.watch.recordings import Clock, empty, fresh, recorded, replayed, value_of

MOVES = st.one_of(
    st.tuples(st.just("step"), st.integers(-3000, 3000)),
    st.tuples(st.just("tick"), st.integers(-40, 40)),
    st.tuples(st.just("seek"), st.integers(-100_000, 5_000_000)),
    st.tuples(st.just("play"), st.integers(0, 4_000_000)),
)


@given(moves=st.lists(MOVES, max_size=8))
@settings(max_examples=25, deadline=None)
def test_however_a_moment_is_reached_its_scene_is_the_fold_of_the_events_until_then(
    moves: list[tuple[str, int]],
) -> None:
    # Given a run full of deaths, with copies that stand close together
    closest, playback.CLOSEST_COPIES = playback.CLOSEST_COPIES, 100
    try:
        clock, recording = Clock(), recorded()
        replay = replayed(recording, clock)
    finally:
        playback.CLOSEST_COPIES = closest
    # When a person moves about in it
    for move, amount in moves:
        match move:
            case "step":
                replay.step(amount)
            case "tick":
                replay.step_ticks(amount)
            case "seek":
                replay.seek(amount)
            case "play":
                replay.play(True)
                clock.now_us += amount
                replay.advance()
    # Then the scene is as if it had been folded from the first event on
    assert value_of(replay.scene) == value_of(fresh(recording, replay.scene.seen, replay.scene.now_us))
    # And it holds just the events until its time
    times = [stamped.wall_us for stamped in recording.events]
    assert times[replay.scene.seen - 1] <= replay.scene.now_us
    assert replay.scene.seen == len(times) or replay.scene.now_us <= times[replay.scene.seen]


def test_it_plays_by_the_clock_and_stands_when_a_person_wants() -> None:
    clock, recording = Clock(), recorded()
    replay = replayed(recording, clock, speed=0.5)
    # When two seconds pass
    clock.pass_s(2)
    replay.advance()
    # Then half of that has passed in the run
    assert replay.scene.now_us == recording.start_us + 1_000_000
    # And while it stands nothing passes
    replay.play(False)
    clock.pass_s(5)
    replay.advance()
    assert replay.scene.now_us == recording.start_us + 1_000_000
    # And when it goes on, the time of standing is not made up for
    replay.play(True)
    clock.pass_s(1)
    replay.advance()
    assert replay.scene.now_us == recording.start_us + 1_500_000


def test_one_event_on_and_back_is_one_event() -> None:
    replay = replayed(recorded())
    replay.seek(1_000_000)
    seen = replay.scene.seen

    replay.step(1)
    assert (replay.scene.seen, replay.status.is_playing) == (seen + 1, False)
    replay.step(-2)
    assert replay.scene.seen == seen - 1
    assert replay.scene.events[-1].wall_us == replay.scene.now_us


def test_one_tick_is_the_tick_of_the_run() -> None:
    recording = replace(recorded(), settings=replace(recorded().settings, tick_us=30_000))
    replay = replayed(recording)
    replay.seek(1_000_000)

    replay.step_ticks(3)
    assert replay.scene.now_us == recording.start_us + 1_090_000
    replay.step_ticks(-4)
    assert replay.scene.now_us == recording.start_us + 970_000


def test_it_ends_at_the_last_event_and_begins_again_when_it_is_played_then() -> None:
    clock, recording = Clock(), recorded()
    replay = replayed(recording, clock, speed=64)
    # When more time passes than the run has
    clock.pass_s(60)
    replay.advance()
    # Then it stands at its end
    status = replay.status
    assert (status.is_over, status.is_playing, replay.scene.seen) == (True, False, len(recording.events))
    # And plays from the first event when a person wants
    replay.play(True)
    assert (replay.status.is_over, replay.scene.now_us) == (False, recording.start_us)


def test_the_speed_stays_within_its_bounds() -> None:
    replay = replayed(recorded())

    replay.set_speed(1000)
    assert replay.status.speed == 64
    replay.set_speed(0)
    assert replay.status.speed == 1 / 8


def test_no_step_leaves_the_run() -> None:
    recording = recorded()
    replay = replayed(recording)

    replay.step(-10)
    assert replay.scene.seen == 1
    replay.seek(-5)
    assert replay.scene.now_us == recording.start_us
    replay.step(10**6)
    assert replay.scene.seen == len(recording.events)
    replay.step_ticks(10)
    assert replay.scene.now_us == recording.end_us


def test_a_run_without_events_is_over_at_once() -> None:
    clock = Clock()
    replay = replayed(empty(), clock)
    for move in (replay.step, replay.step_ticks, replay.seek):
        move(-1)
        move(1)
    clock.pass_s(1)
    replay.advance()

    assert (replay.status.is_over, replay.status.length_us, replay.scene.seen) == (True, 0, 0)


def test_what_is_missing_and_the_verdict_are_there_from_the_beginning() -> None:
    recording = replace(recorded(), missed=3)
    status = replayed(recording).status

    assert (status.mode, status.missed, status.is_over) == ("replay", 3, False)
    assert status.result == recording.result
    assert status.secret == recording.secret


def test_a_long_replay_that_cannot_keep_up_is_slower_and_leaves_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a replay that may fold few events at once
    monkeypatch.setattr(playback, "MOST_AT_ONCE", 100)
    clock, recording = Clock(), recorded()
    replay = replayed(recording, clock, speed=64)
    before = replay.scene.seen
    # When far more are due
    clock.pass_s(60)
    replay.advance()
    # Then it has come so many events on, and stands at the time of the last
    assert replay.scene.seen == before + 100
    assert replay.scene.now_us == recording.events[before + 99].wall_us
    assert replay.status.is_playing


def test_few_copies_are_kept_however_long_the_run_is() -> None:
    recording = _long(20_000)
    replay = replayed(recording)
    replay.seek(10**9)

    assert 30 <= len(replay._copies) <= playback.MOST_COPIES + 1


def test_a_step_back_folds_little_again() -> None:
    # Given a long run, seen to its end
    recording = _long(60_000)
    replay = replayed(recording)
    begun = time.process_time()
    replay.seek(10**9)
    whole_s = time.process_time() - begun
    # When a person goes back, one event each
    steps = []
    for _ in range(20):
        begun = time.process_time()
        replay.step(-1)
        steps.append(time.process_time() - begun)
    # Then a step takes no more than a small part of what the whole fold takes
    assert max(steps) < whole_s / 8


def _long(events: int) -> Recording:
    """A run again and again, as if it were one."""
    recording = recorded()
    span_us = recording.end_us - recording.start_us
    rounds = -(-events // len(recording.events))
    more = [
        replace(stamped, wall_us=stamped.wall_us + round_ * span_us)
        for round_ in range(rounds)
        for stamped in recording.events
    ]
    return replace(recording, events=more[:events])
