"""The servers that the settings name, each reached, asked and judged: the one place here that connects to any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from redis.exceptions import RedisError

from broker.streams.connection import UnsupportedServer, check_server, connect, describe
from broker.streams.inspection import STREAM_TRIALS, Trial, inspect
from deploy.config.settings import PlaceSettings
from deploy.doctor.check import Check
from deploy.doctor.server_checks import checks_of, on_plane, unreachable
from deploy.rq.rights import RQ_TRIALS


class Plane(NamedTuple):
    """A server, and what has to be allowed there. The name is empty when one server is for everything."""

    name: str
    url: str
    trials: Sequence[Trial]


def planes_of(place: PlaceSettings) -> list[Plane]:
    """The servers that are named; none when a run would start its own. Raises UsageError."""
    address = place.address
    if address is None:
        return []
    if address.control == address.data:
        return [Plane("", address.data, (*RQ_TRIALS, *STREAM_TRIALS))]
    return [Plane("control", address.control, RQ_TRIALS), Plane("data", address.data, STREAM_TRIALS)]


def plane_checks(plane: Plane, robots: int) -> list[Check]:
    """All checks of a server, for a run of so many robots."""
    try:
        with connect(plane.url) as client:
            check_server(client)
            facts = inspect(client, plane.trials)
            where = describe(client)
    except UnsupportedServer as error:
        return unreachable(str(error), plane.name)
    except RedisError as error:
        return unreachable(f"the server answered, and then: {error}", plane.name)
    return on_plane(checks_of(facts, where, plane.trials, robots), plane.name)
