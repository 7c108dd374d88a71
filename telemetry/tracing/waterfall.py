"""A trace as text for people: one line a span, below its parent, with a bar that shows when and for how long.

What matters stands at the right: how it ended, what the network did to it, what was tried again, what was learnt. Texts
that came over the network are shown without their control characters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from telemetry.console import printable
from telemetry.tracing.spans import Span, Trace

WIDEST_BAR: Final = 60
NARROWEST_BAR: Final = 20
NOTES: Final = 40  # cells that are left for notes where there is room; longer ones are not cut
WIDEST_NAME: Final = 32
_INDENT: Final = 2

_NOTED: Final[Mapping[str, tuple[str, ...]]] = {
    "send": ("attempt", "parts", "witness"),
    "relay": ("fate", "copies", "delay_ms", "lag_ms"),
    "process": ("copy", "incarnation", "late", "equal"),
    "refuse": ("copy", "incarnation"),
    "merge": ("parts.merged", "parts.indices"),
    "exchange": ("attempts", "incarnation", "wanted"),
}
"""Attributes that the note of an operation shows, without `gossip.`; of an operation that is not here, all."""
_SHORT: Final = {"parts.merged": "merged", "parts.indices": "parts", "parts.held": "holds", "parts.born": "born with"}
_USUAL: Final = {"fate": ("delivered", "lost", "stale"), "attempts": (1,), "incarnation": (0, 1)}
"""Values that say nothing, or that the error says already."""


def waterfall(trace: Trace, width: int) -> Iterator[str]:
    """The lines of a trace, for a screen of so many cells. Times are milliseconds: since its start, and how long."""
    rows = list(_in_order(trace))
    start_us = min(span.start_us for span, _ in rows)
    total_us = max(span.end_us for span, _ in rows) - start_us
    names = min(max(len(span.name) + _INDENT * depth for span, depth in rows), max(WIDEST_NAME, width // 4))
    services = max(len(printable(span.service)) for span, _ in rows)
    times = max(len(_ms(total_us)), 5)
    bars = min(max(width - services - names - 2 * times - NOTES - 7, NARROWEST_BAR), WIDEST_BAR)
    for span, depth in rows:
        name = _cut(" " * (_INDENT * depth) + printable(span.name), names)
        start, took = _ms(span.start_us - start_us), _ms(span.end_us - span.start_us)
        left = f"{printable(span.service):<{services}} {name:<{names}} {start:>{times}} {took:>{times}}"
        yield f"{left} |{_bar(span, start_us, total_us, bars)}| {note_of(span)}".rstrip()


def note_of(span: Span) -> str:
    """What a person must see of a span, in one line: its error, what is unusual about it, and the faults that acted."""
    about = {name.removeprefix("gossip."): value for name, value in span.attributes if name.startswith("gossip.")}
    operation = span.name.partition(" ")[0]
    faults = str(about.pop("faults", ""))
    facts = [f"ERROR {span.error}"] if span.error else []
    if operation == "exchange" and not span.error:
        facts.append(str(about.get("outcome", "")))
    noted = [name for name in _NOTED.get(operation, tuple(about)) if name in about]
    facts += [_fact(name, about[name]) for name in noted if about[name] not in _USUAL.get(name, ())]
    if span.events and operation == "process":
        facts.append(f"came again {len(span.events)}x")
    text = ", ".join(facts)
    return printable(f"{text}: {faults}" if text and faults else text or faults)


def _fact(name: str, value: object) -> str:
    """An attribute as a few words."""
    if value is True:
        return name
    if name in ("fate", "outcome", "left"):
        return str(value)
    what, _, unit = name.rpartition("_")
    if unit == "ms":
        return f"{what} {value} ms"
    return f"{_SHORT.get(name, name).replace('.', ' ')} {value}"


def _in_order(trace: Trace) -> Iterator[tuple[Span, int]]:
    """Every span after its parent, with its depth; siblings by when they began. A span whose parent is not there stands
    at the edge."""
    known = {span.span for span in trace.spans}
    children: dict[int | None, list[Span]] = defaultdict(list)
    for span in trace.spans:
        children[span.parent if span.parent in known else None].append(span)
    pending = [(span, 0) for span in _latest_first(children[None])]
    while pending:
        span, depth = pending.pop()
        yield span, depth
        pending += [(child, depth + 1) for child in _latest_first(children[span.span])]


def _latest_first(spans: list[Span]) -> list[Span]:
    return sorted(spans, key=lambda span: span.start_us)[::-1] if len(spans) > 1 else spans


def _bar(span: Span, start_us: int, total_us: int, cells: int) -> str:
    """Full cells where the span lasted; a thin one where it lasted for less than half of one."""
    scale = cells / max(total_us, 1)
    first = min(int((span.start_us - start_us) * scale), cells - 1)
    length = round((span.end_us - span.start_us) * scale)
    bar = "█" * min(length, cells - first) or "▏"
    return f"{' ' * first}{bar}".ljust(cells)


def _ms(time_us: int) -> str:
    return f"{time_us / 1000:.1f}"


def _cut(text: str, cells: int) -> str:
    return text if len(text) <= cells else f"{text[: cells - 1]}…"
