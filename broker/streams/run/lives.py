"""What a robot's journal shows of its lives to a process that looks after robots. Reads only.

By the same rule as the robot itself (`journal_rows`): foreign entries are passed over.
"""

from __future__ import annotations

import redis

from broker.relay.core import parse_id
from broker.streams import keys
from broker.streams.keys import Keys
from broker.streams.reading import OF_JOURNAL, Entry, decoded, is_own, own, read_all_blocking
from broker.streams.retry import RETRY_S, retry_blocking


def last_incarnation(client: redis.Redis, run: str, robot: str, retry_s: float = RETRY_S) -> int:
    """The last life of `robot` that was claimed in its journal; 0: none, or there is no journal. Raises Unavailable."""
    last = retry_blocking("journal", lambda: _last(client, Keys(run).journal(robot)), retry_s)
    return _incarnation(last[0]) if last else 0


def is_unborn(client: redis.Redis, run: str, robot: str) -> bool:
    """Whether the robot has a journal, and no life of it was ever claimed there. Asked once. Raises Unavailable."""
    last = retry_blocking("journal", lambda: _last(client, Keys(run).journal(robot)), retry_s=0)
    return bool(last) and _incarnation(last[0]) == 0


def incarnation_of(client: redis.Redis, run: str, robot: str, nonce: str) -> int:
    """The life with that nonce; 0 when none was claimed. Asked once. Raises Unavailable."""
    key, wanted = Keys(run).journal(robot), nonce.encode()
    entries = retry_blocking("journal", lambda: own(read_all_blocking(client, key), OF_JOURNAL), retry_s=0)
    return max((_incarnation(entry) for entry in entries if entry[1][keys.NONCE] == wanted), default=0)


def _last(client: redis.Redis, key: str) -> list[Entry]:
    last = decoded(client.xrevrange(key, count=1))
    if last and not is_own(last[0], OF_JOURNAL):
        last = own(read_all_blocking(client, key), OF_JOURNAL)[-1:]
    return last


def _incarnation(entry: Entry) -> int:
    return parse_id(entry[0])[0]
