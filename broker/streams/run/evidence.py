"""The evidence of a run, read from its streams without any change to them."""

from __future__ import annotations

from typing import Final

import msgspec

from broker.ports.run import BirthRow, StreamCount
from broker.relay.core import Fate
from broker.streams import keys

_NO_STREAM: Final = StreamCount(0, "0-0", 0)
_read_fates = msgspec.msgpack.Decoder(list[Fate]).decode
_read_ids = msgspec.msgpack.Decoder(list[str]).decode


def _birth(entry: str, fields: dict[bytes, bytes]) -> BirthRow | None:
    """What an entry of a birth stream tells; None when it is none of ours."""
    try:
        nonce, at_us = fields[keys.NONCE].decode(), int(fields.get(keys.AT_US, b"-1"))
    except (KeyError, ValueError):
        return None
    return (
        BirthRow(entry, "born", nonce, None) if keys.AT_US not in fields else BirthRow(entry, "attempt", nonce, at_us)
    )
