"""The commands that RQ, and what we do with its keys, need on the server. It queues a job by a script, which may only
run what its user may.
"""

from __future__ import annotations

from typing import Final

from broker.streams.inspection import trials_of

RQ_KEY: Final = "rq:doctor:probe"  # nothing has this key, and nothing is written to it

_NEEDED: Final = (
    "HSET KEY f v; HGET KEY f; HMGET KEY f; HGETALL KEY; HEXISTS KEY f; HINCRBY KEY f 1; HINCRBYFLOAT KEY f 1;"
    " SADD KEY m; SREM KEY m;"
    " SMEMBERS KEY; SCARD KEY; ZADD KEY 1 m; ZREM KEY m; ZRANGE KEY 0 -1; ZSCORE KEY m; ZREMRANGEBYSCORE KEY 0 0;"
    " LPUSH KEY v; RPUSH KEY v; LREM KEY 0 v; LRANGE KEY 0 -1; LPOS KEY v; LMOVE KEY KEY RIGHT LEFT;"
    " BLMOVE KEY KEY RIGHT LEFT 1; LLEN KEY; DEL KEY; EXISTS KEY; TYPE KEY; EXPIRE KEY 1; PERSIST KEY; TIME; PING;"
    " INFO server; EVALSHA 0123456789012345678901234567890123456789 1 KEY; SCRIPT LOAD 0"
)
_NAMING: Final = "CLIENT SETNAME doctor; CLIENT INFO"  # RQ shows by them where an RQ worker is

RQ_TRIALS: Final = trials_of(RQ_KEY, _NEEDED, _NAMING)
"""What RQ needs. WATCH is tried on its key, too; MULTI and EXEC are tried by their use."""
