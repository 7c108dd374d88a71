"""Channel pressure and duplicate storm."""

from telemetry.anomalies.catalogue import CHANNEL_PRESSURE, DUPLICATE_STORM
from telemetry.events import AnomalyEnded, ChannelPressure, InboxOverflowed, MessageRepeated
from tests.telemetry.anomalies.scene import TICK_US, Scene


def test_a_channel_that_drops_is_under_pressure_until_fifty_ticks_pass_without_a_drop() -> None:
    # Given drops in an outbox, again and again
    scene = Scene()
    for dropped in (1, 2):
        scene.emit("r01", ChannelPressure("outbox", dropped))
        scene.live(30)
    assert [about for _, about in scene.begun(CHANNEL_PRESSURE)] == ["r01/outbox"]
    assert scene.ended(CHANNEL_PRESSURE) == []
    # When no other follows
    scene.live(25)
    # Then it is over fifty ticks after the last one
    [(ended, _)] = scene.ended(CHANNEL_PRESSURE)
    assert 80 <= ended <= 81
    # and lasted from the first one on
    [news] = [news for _, news in scene.announced if isinstance(news, AnomalyEnded)]
    assert 80 <= news.lasted_us / TICK_US <= 81


def test_an_inbox_that_overflows_is_named() -> None:
    scene = Scene()
    scene.emit("r01", InboxOverflowed(7))
    scene.live(1)

    assert [about for _, about in scene.begun(CHANNEL_PRESSURE)] == ["r01/inbox"]


def receive(scene: Scene, number: int, copies_of_ten: int) -> None:
    for place in range(number):
        scene.receive("r01", "r00", copy=int(place % 10 < copies_of_ten))
    scene.wait(1)


def test_more_than_half_of_the_last_two_hundred_having_come_before_is_a_storm_until_it_is_less_than_a_quarter() -> None:
    scene = Scene()
    receive(scene, 190, 6)
    assert scene.begun(DUPLICATE_STORM) == []
    receive(scene, 10, 6)
    assert [about for _, about in scene.begun(DUPLICATE_STORM)] == ["network"]
    # Between the two shares it stands,
    receive(scene, 200, 4)
    assert scene.ended(DUPLICATE_STORM) == []
    # and below both it does not
    receive(scene, 200, 2)
    assert [about for _, about in scene.ended(DUPLICATE_STORM)] == ["network"]


def test_half_is_not_enough() -> None:
    scene = Scene()
    receive(scene, 1000, 5)

    assert scene.begun(DUPLICATE_STORM) == []


def test_repeats_count_as_copies() -> None:
    scene = Scene()
    for _ in range(200):
        scene.emit("r01", MessageRepeated("r00", 1, 1, 0))
    scene.wait(1)

    assert len(scene.begun(DUPLICATE_STORM)) == 1
