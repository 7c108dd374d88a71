"""Entries of an outbox, made by hand, and what a relay decides about them. No tests here."""

from __future__ import annotations

from broker.control_entries import Birth, PlanChange, Planned, encode_control
from broker.envelope import MAX_FRAME, Envelope, encode
from broker.relay.core import OutboxEntry, Relay

RUN = "run"
NOTHING = PlanChange(())


def plan(*faults: str) -> PlanChange:
    return PlanChange(tuple(Planned(number, text) for number, text in enumerate(faults)))


def frame(sequence: int = 1, sender: str = "r00", receiver: str = "r01", incarnation: int = 1, **rest) -> bytes:
    fields = {"run": RUN, "exchange": b"exchange", "kind": "update", "body": b"body"} | rest
    return encode(Envelope(sender=sender, incarnation=incarnation, receiver=receiver, sequence=sequence, **fields))


def entry(ms: int, *args, place: int = 0, **kwargs) -> OutboxEntry:
    return OutboxEntry(f"{ms}-{place}", frame(*args, **kwargs))


def control(ms: int, what: PlanChange | Birth) -> OutboxEntry:
    return OutboxEntry(f"{ms}-0", control=encode_control(what))


def relay_under(*faults: str, seed: int = 1) -> Relay:
    relay = Relay(RUN, seed)
    relay.remember("1-0", plan(*faults))
    return relay


def decided(relay: Relay) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {fate.entry: (fate.state, fate.deliveries) for fate in relay.fates()}


GARBAGE = {
    "no fields": (None, None),
    "empty": (b"", None),
    "bad checksum": (b"\0" + frame()[1:], None),
    "oversized": (b"x" * (MAX_FRAME + 1), None),
    "alien run": (frame(run="other"), None),
    "receiver is no robot": (frame(receiver="relay"), None),
    "sender is no robot": (frame(sender="rx"), None),
    "sequence of a liar": (frame(2**60), None),
    "undecodable control": (None, b"garbage"),
    "oversized control": (None, encode_control(PlanChange((), "", "x" * MAX_FRAME))),
    "unknown control": (None, b"\x92\xa5dance\x01"),
    "plan of unknown faults": (None, encode_control(plan("gremlins 0.2"))),
    "plan of invalid faults": (None, encode_control(plan("loss 1", "loss 1.5"))),
    "plan of a negative instance": (None, encode_control(PlanChange((Planned(-20, "loss 0.5"),)))),
    "plan with a time": (None, encode_control(plan("loss 1 @5s"))),
    "broken text": (None, b"\x93\xa4born\xa2\xff\xff\x01"),
    "deep nest": (None, b"\x91" * 50_000),
}
