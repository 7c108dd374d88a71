"""Events that are found step by step: each is looked at once, and a step is bounded."""

from __future__ import annotations

from telemetry.drawing.events.listing import Listing, listing
from telemetry.events import Stamped, TicksExecuted
from tests.telemetry.scene.script import Script


def ticking(most_events: int = 50_000, ticks: int = 100) -> Script:
    run = Script(1, most_events=most_events)
    for number in range(ticks):
        run.report(number, "r00", TicksExecuted(number))
    return run


def ticks_of(found: Listing) -> list[int]:
    return [stamped.event.ticks for stamped in found.events if isinstance(stamped.event, TicksExecuted)]


class Even:
    """Wants reports of an even number of ticks, and counts what it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, stamped: Stamped) -> bool:
        self.asked += 1
        return isinstance(stamped.event, TicksExecuted) and stamped.event.ticks % 2 == 0


def test_older_events_are_observed_in_steps_from_the_newest_on() -> None:
    # Given a hundred reports, and steps of thirty
    run, wanted = ticking(), Even()
    found = Listing(wanted)
    # When it looks once
    found.observe(run.scene, 30)
    # Then the newest are there
    assert ticks_of(found) == list(range(70, 100, 2))
    assert found.unseen == run.scene.seen - 30
    # When it looks until nothing is left
    while found.unseen:
        found.observe(run.scene, 30)
    # Then all are, in order, and each was looked at once
    assert ticks_of(found) == list(range(0, 100, 2))
    assert wanted.asked == run.scene.seen


def test_new_events_are_observed_once_however_often_the_list_is_drawn() -> None:
    # Given a list that has seen all
    run, wanted = ticking(), Even()
    found = Listing(wanted)
    found.observe(run.scene, 1_000)
    asked = wanted.asked
    # When two come, and it is drawn three times
    run.report(200, "r00", TicksExecuted(200))
    run.report(201, "r00", TicksExecuted(201))
    for _ in range(3):
        found.observe(run.scene, 1_000)
    # Then only these were looked at
    assert wanted.asked == asked + 2
    assert ticks_of(found)[-1] == 200


def test_events_that_are_no_longer_kept_are_never_observed() -> None:
    # Given a scene that keeps ten of a hundred
    run, wanted = ticking(most_events=10), Even()
    found = Listing(wanted)
    # When it looks
    found.observe(run.scene, 1_000)
    # Then
    assert wanted.asked == 10
    assert found.unseen == 0
    assert ticks_of(found) == [90, 92, 94, 96, 98]


def test_more_events_than_are_kept_may_come_between_two_observations() -> None:
    # Given a list of a scene that keeps ten
    run, wanted = ticking(most_events=10), Even()
    found = Listing(wanted)
    found.observe(run.scene, 4)
    # When thirty more come before it looks again
    for number in range(100, 130):
        run.report(number, "r00", TicksExecuted(number))
    found.observe(run.scene, 4)
    # Then it has those that are kept, and nothing is left to look at
    assert ticks_of(found) == [120, 122, 124, 126, 128]
    assert found.unseen == 0


def test_one_key_has_one_list_and_a_copy_of_the_scene_has_its_own() -> None:
    # Given a list of a scene
    run = ticking()
    found = listing(run.scene, "even", Even)
    assert listing(run.scene, "even", Even) is found
    # When the scene is copied, and goes on
    copied = run.scene.copy()
    run.report(200, "r00", TicksExecuted(200))
    # Then each has a list of its own
    assert ticks_of(listing(run.scene, "even", Even))[-1] == 200
    assert ticks_of(listing(copied, "even", Even))[-1] == 98


def test_only_the_lists_that_were_used_last_are_kept() -> None:
    # Given a list, and more others than are kept
    run = ticking()
    found = listing(run.scene, "even", Even)
    for number in range(4):
        listing(run.scene, number, Even)
    # Then it is made anew
    assert listing(run.scene, "even", Even) is not found
