"""Connections to the master that Sentinels name, which may be another server after a failover. What is sent over them
is not known here.

A pool asks the Sentinels whenever it connects, and a connection whose server has become a replica is given up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis.asyncio.sentinel
import redis.sentinel
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError

from broker.streams.address import Location


class MasterPool(redis.sentinel.SentinelConnectionPool):
    """Connections to the master at `location`."""

    def __init__(self, location: Location, options: Mapping[str, Any]) -> None:
        tls = location.login.get("ssl", False)
        self.location = location
        super().__init__(  # type: ignore[no-untyped-call]
            location.master,
            _Sentinels(location.hosts, sentinel_kwargs={**location.to_sentinels, **options}),
            connection_class=_TlsConnection if tls else _Connection,
            **_without_tls_flag(location.login),
            **options,
        )


class AsyncMasterPool(redis.asyncio.sentinel.SentinelConnectionPool):
    """The same, for an event loop."""

    def __init__(self, location: Location, options: Mapping[str, Any]) -> None:
        tls = location.login.get("ssl", False)
        self.location = location
        kind = redis.asyncio.sentinel
        to_sentinels = {name: value for name, value in options.items() if name != "max_connections"}
        super().__init__(  # type: ignore[no-untyped-call]
            location.master,
            _AsyncSentinels(location.hosts, sentinel_kwargs={**location.to_sentinels, **to_sentinels}),
            connection_class=kind.SentinelManagedSSLConnection if tls else kind.SentinelManagedConnection,
            **_without_tls_flag(location.login),
            **options,
        )


class _Connection(redis.sentinel.SentinelManagedConnection):
    """One that hangs up when a read is interrupted. redis-py's own goes back to its pool with a reply that is still to
    come, and the next command waits for ever (redis-py, pull request 4292): an RQ worker that waits for a job would not
    end at SIGTERM."""

    def read_response(
        self, disable_decoding: Any = False, *, disconnect_on_error: bool | None = True, **named: Any
    ) -> Any:
        return super().read_response(disable_decoding, disconnect_on_error=disconnect_on_error, **named)


class _TlsConnection(_Connection, redis.sentinel.SentinelManagedSSLConnection):
    pass


_State = Mapping[str, Any]
"""What a Sentinel knows of a master."""


class Answers:
    """What Sentinels say when they are asked for a master, one after the other."""

    def __init__(self, master: str) -> None:
        self._master = master
        self._named: dict[str, None] = {}  # the masters that they know
        self._refusal: RedisError | None = None
        self._trouble: RedisError | None = None

    def take(self, masters: Mapping[str, _State]) -> tuple[str, int] | None:
        """Where the master is, by one Sentinel's answer; None when it knows no master that lives."""
        self._named.update(dict.fromkeys(masters))
        state = masters.get(self._master)
        if state is None or not state["is_master"] or state["is_sdown"] or state["is_odown"]:
            return None
        return state["ip"], state["port"]

    def take_error(self, error: RedisError) -> None:
        """One Sentinel gave no answer."""
        if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError):
            self._refusal = error
        else:
            self._trouble = error

    def no_master(self) -> redis.sentinel.MasterNotFoundError:
        """The error when none of them named it, in one line."""
        if self._master in self._named:
            why = "the Sentinels find the master down, and have chosen no other yet"
        elif self._named:
            why = f"the Sentinels know no master of this name, only {', '.join(sorted(self._named))}"
        elif self._refusal is not None:
            why = f"the Sentinels do not let us in: {self._refusal}"
        elif self._trouble is not None:
            why = f"no Sentinel answers: {self._trouble}"
        else:
            why = "the Sentinels know no master"
        return redis.sentinel.MasterNotFoundError(why)


class _Sentinels(redis.sentinel.Sentinel):
    """The Sentinels to ask. The one that named the master is asked first the next time."""

    sentinels: list[redis.Redis]

    def __init__(self, hosts: Any, sentinel_kwargs: Mapping[str, Any]) -> None:
        super().__init__(hosts, sentinel_kwargs=sentinel_kwargs)  # type: ignore[no-untyped-call]

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """The master's host and port. Raises MasterNotFoundError (an outage), which says why in one line."""
        answers = Answers(service_name)
        for sentinel in list(self.sentinels):
            try:
                masters: Any = sentinel.sentinel_masters()
            except RedisError as error:
                answers.take_error(error)
                continue
            if (found := answers.take(masters)) is not None:
                _put_first(self.sentinels, sentinel)
                return found
        raise answers.no_master()


class _AsyncSentinels(redis.asyncio.sentinel.Sentinel):
    """The same, for an event loop."""

    sentinels: list[redis.asyncio.Redis]

    def __init__(self, hosts: Any, sentinel_kwargs: Mapping[str, Any]) -> None:
        super().__init__(hosts, sentinel_kwargs=sentinel_kwargs)  # type: ignore[no-untyped-call]

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """The master's host and port. Raises MasterNotFoundError."""
        answers = Answers(service_name)
        for sentinel in list(self.sentinels):
            try:
                masters: Any = await sentinel.sentinel_masters()
            except RedisError as error:
                answers.take_error(error)
                continue
            if (found := answers.take(masters)) is not None:
                _put_first(self.sentinels, sentinel)
                return found
        raise answers.no_master()


def _put_first(sentinels: list[Any], first: Any) -> None:
    """Anew in one step: connections ask at the same time."""
    sentinels[:] = [first, *(sentinel for sentinel in sentinels if sentinel is not first)]


def _without_tls_flag(login: Mapping[str, Any]) -> dict[str, Any]:
    """The login for a pool whose connection class says already whether it uses TLS."""
    return {name: value for name, value in login.items() if name != "ssl"}
