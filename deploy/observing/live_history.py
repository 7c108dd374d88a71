"""The history of a run that goes on, or whose server still holds it: read from its streams, without any change to them.

It has the shapes of a record's rows, so that who reads a history need not know where it came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from broker.ports.run import Evidence
from broker.streams.connection import DataClient
from broker.streams.keys import Keys
from broker.streams.retry import RETRY_S
from broker.streams.run.events import StreamEventSource
from broker.streams.run.evidence import StreamEvidenceReader
from deploy.attach.context import read_metadata
from deploy.errors import NoMetadata
from robots.run.record_rows import fate_rows, fleet_rows, journal_rows, plan_rows, streams
from telemetry.events import Stamped
from telemetry.record.clocks import on_server_clock
from telemetry.record.growing import GrowingEvents
from telemetry.record.history import History
from telemetry.record.rows import ControlRow, DealtPart, FateRow, FleetRow, JournalRow, OrderRow, RedoRow
from telemetry.record.settings import RunSettings
from telemetry.stream.feed import EventFeed

T = TypeVar("T")


def live_history(client: DataClient, run: str, folder: Path | None) -> History:
    """All that a run's server holds of it now. Its oldest events may be trimmed there already: they come from its
    record's `folder`, if that is on this host. Raises NoMetadata, Unavailable."""
    evidence = StreamEvidenceReader(client, run)
    settings, deal = read_metadata(evidence, run)
    events = list(_events(client, run, folder))  # first: what they report is in the evidence then
    return history_of(settings, dealt_parts(run, deal.get("indices")), evidence.collect(), events)


def history_of(
    settings: RunSettings, dealt: tuple[DealtPart, ...], evidence: Evidence, events: list[Stamped]
) -> History:
    """The history in a server's evidence, of a live run or a simulated one, on the server's clock."""
    history = History(
        settings=settings,
        dealt=dealt,
        controls=_rows(plan_rows(evidence), ControlRow),
        fates=_rows(fate_rows(evidence), FateRow | RedoRow),
        journals=_rows(journal_rows(evidence), JournalRow),
        fleet=_rows(fleet_rows(evidence), FleetRow),
        orders=_rows(streams(evidence)["orders"], OrderRow),
        events=events,
    )
    return on_server_clock(history)


def _events(client: DataClient, run: str, folder: Path | None) -> Iterator[Stamped]:
    """Every event once: what the recorder has written so far, and then the stream. Raises Unavailable."""
    source = StreamEventSource(client, Keys(run).events)
    feed = EventFeed()
    if folder is not None:
        with suppress(OSError):  # the stream has the newest ones
            yield from filter(feed.is_new, GrowingEvents(folder / "events.jsonl").read())
    for frames in source.pages(RETRY_S):
        yield from feed.receive(frames)


def dealt_parts(run: str, indices: Any) -> tuple[DealtPart, ...]:
    """Who was dealt each part, by `indices` as in `deal.json`. Raises NoMetadata."""
    try:
        return msgspec.convert(indices, tuple[DealtPart, ...])
    except ValueError as error:
        raise NoMetadata(f"run {run} was dealt by another version: {error}") from None


def _rows(rows: Iterable[Any], kind: Any) -> list[Any]:
    return msgspec.convert(list(rows), list[kind])
