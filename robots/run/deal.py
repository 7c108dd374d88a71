"""The deal: from a secret and the run's terms to the first entries of every robot's journal.

Pure: it draws everything from the seed.
"""

from __future__ import annotations

import hashlib
from math import ceil
from typing import Annotated, Any

import msgspec

from broker.control_entries import PlanChange
from broker.envelope import robot_name
from broker.ports.run import RunSpec
from robots.journal import Entry, Header, PartKept, encode_entry
from robots.secret import Part, cut, holders

Positive = Annotated[int, msgspec.Meta(ge=1)]


class Terms(msgspec.Struct, frozen=True):
    """The content of the order `dealt`, for every robot. It holds nothing of the secret, not even the number of
    parts."""

    robots: Positive
    shards: Positive
    seed: int
    tick_us: Positive
    quiet_period_us: int
    median_delay_us: int
    exhibit: str | None = None  # that the run shows (robots/exhibits/catalogue.py)

    @property
    def quiet_ticks(self) -> int:
        """Ticks that must be executed without news: the quiet period, rounded up."""
        return ceil(self.quiet_period_us / self.tick_us)


encode_terms = msgspec.msgpack.Encoder().encode
decode_terms = msgspec.msgpack.Decoder(Terms).decode


class Deal:
    """Which robots hold which part of `secret` at the start: each part is held by `copies` robots. Raises BadSecret."""

    def __init__(self, secret: str, robots: int, copies: int, seed: int) -> None:
        self.parts = cut(secret)
        self.seed = seed
        self._secret = secret.encode()
        self._names = [robot_name(number, robots) for number in range(robots)]
        self._holders = [
            [self._names[number] for number in numbers] for numbers in holders(len(self.parts), robots, copies, seed)
        ]

    @property
    def robots(self) -> list[str]:
        """The names of the dealt robots."""
        return list(self._names)

    def parts_of(self, robot: str) -> list[Part]:
        """The parts that `robot` is dealt."""
        return [part for part, names in zip(self.parts, self._holders, strict=True) if robot in names]

    @property
    def holders(self) -> frozenset[int]:
        """The numbers of the robots that are dealt a part."""
        return frozenset(int(name[1:]) for names in self._holders for name in names)

    def run_spec(self, run: str, terms: Terms, plan: PlanChange, metadata: tuple[bytes, ...] = ()) -> RunSpec:
        """Everything that run control stores at the deal."""
        entries: dict[str, list[Entry]] = {name: [Header("dealt")] for name in self._names}
        for part, names in zip(self.parts, self._holders, strict=True):
            for name in names:
                entries[name].append(PartKept(part, None))
        return RunSpec(
            run=run,
            shards=terms.shards,
            plan=plan,
            journals={name: [encode_entry(entry) for entry in journal] for name, journal in entries.items()},
            terms=encode_terms(terms),
            metadata=metadata,
        )

    def record(self) -> dict[str, Any]:
        """`deal.json`: enough to recognise the secret and each part, not enough to reveal them."""
        salt = hashlib.sha256(f"{self.seed}/salt".encode()).digest()[:16]
        return {
            "sha256": hashlib.sha256(self._secret).hexdigest(),
            "bytes": len(self._secret),
            "parts": len(self.parts),
            "salt": salt.hex(),
            "indices": [
                {"index": part.index, "holders": names, "digest": _digest(part, salt)}
                for part, names in zip(self.parts, self._holders, strict=True)
            ],
        }


def _digest(part: Part, salt: bytes) -> str:
    text = f"{part.index}:{int(part.last)}:{part.word}".encode()
    return hashlib.blake2b(text, key=salt, digest_size=16).hexdigest()
