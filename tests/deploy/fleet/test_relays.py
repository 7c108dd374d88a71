"""Relays that die: they get another life in time, lives to drain in, and are given up."""

import pytest

from deploy.fleet.relays import RelayGroup
from deploy.processes.children import ChildDeath
from telemetry.events import Event, WorkerGaveUp


class Children:
    """A fleet whose children do as they are told here: `fates` holds the status of each end to come."""

    def __init__(self, *fates: int | None, shards: int = 1) -> None:
        self.fates = list(fates)
        self.spawned: list[tuple[str, int, int, str, bool]] = []
        self.events: list[Event] = []
        self.relays = RelayGroup(shards, self, lambda *life: self.spawned.append(life), self.events.append)

    def end(self, names: list[str], grace_s: float, is_asked: bool) -> list[ChildDeath]:
        """None for a status: it was dead already."""
        statuses = {name: self.fates.pop(0) for name in names}
        return [ChildDeath(name, 1, status) for name, status in statuses.items() if status is not None]


@pytest.mark.parametrize(
    ("fates", "lives"),
    [
        ([0], 1),
        ([None, 0], 2),
        ([-9, 1, 0], 3),
        ([-9, -9, -9, -9], 4),
    ],
    ids=["in order", "dead already", "killed, then failing", "killed for ever"],
)
def test_a_relay_that_did_not_end_in_order_gets_lives_to_drain_in(fates: list[int | None], lives: int) -> None:
    # Given a relay
    children = Children(*fates)
    children.relays.start()

    # When it is to drain and end
    deaths = children.relays.drain()

    # Then all its deaths are told, and each further life had this only task and a number of its own
    assert [death.status for death in deaths] == [status for status in fates if status is not None]
    assert [(name, shard, number, is_last) for name, shard, number, _, is_last in children.spawned] == [
        ("relay:0", 0, number, number > 1) for number in range(1, lives + 1)
    ]
    assert len({holder for _, _, _, holder, _ in children.spawned}) == 1
    assert children.fates == []


def test_a_relay_that_dies_too_often_is_given_up_and_that_is_reported() -> None:
    # Given a relay, and a policy that bears five deaths
    children = Children()
    relays = children.relays
    relays.start()

    # When it dies six times, and others do
    for _ in range(6):
        relays.replace(ChildDeath("relay:0", 1, -9))
        relays.replace(ChildDeath("rq:w00", 1, -9))
        relays.start_due(relays.due_s or 0.0)

    # Then it had six lives, and its end is an event
    assert [incarnation for _, _, incarnation, _, _ in children.spawned] == [1, 2, 3, 4, 5, 6]
    assert children.events == [WorkerGaveUp("relay:0", 6)]
    assert relays.due_s is None


def test_a_dead_relay_waits_for_its_time_and_no_other_waits_for_it() -> None:
    # Given relays of two shards
    children = Children(shards=2)
    relays = children.relays
    relays.start()

    # When both die, one after the other, and the first is looked at before its time
    relays.replace(ChildDeath("relay:1", 1, -9))
    relays.replace(ChildDeath("relay:0", 2, -9))
    due_s = relays.due_s
    assert due_s is not None
    relays.start_due(due_s - 0.001)

    # Then none is started, and each is when its time has come
    assert len(children.spawned) == 2
    assert relays.due_s == due_s
    relays.start_due(due_s + 1)
    assert sorted((shard, number) for _, shard, number, _, _ in children.spawned) == [(0, 1), (0, 2), (1, 1), (1, 2)]
    # And the two shards' leases have different holders
    assert len({(shard, holder) for _, shard, _, holder, _ in children.spawned}) == 2
