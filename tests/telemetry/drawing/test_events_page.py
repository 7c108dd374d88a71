"""The list of events and one message's life: what is listed, what is no longer kept, and what is not known."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from telemetry.drawing.events.page import rows
from telemetry.drawing.events.words import described, is_trouble
from telemetry.drawing.moment import Chosen, Moment, Status
from telemetry.events import (
    AnyEvent,
    Event,
    ExchangeEnded,
    FatesDecided,
    MessageDropped,
    MessageReceived,
    MessageSent,
    PartsMerged,
    RobotLeft,
    Stamped,
    TicksExecuted,
    WorkerCrashed,
)
from tests.telemetry.drawing.simulated import page_text
from tests.telemetry.scene.script import Script


def example(kind: type[Event]) -> Event:
    """An event of a kind, with something in every field."""
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(kind):
        schema = msgspec.json.schema(field.type)
        chosen = schema.get("enum", [None])[0]
        by_type = {"integer": 3, "string": "1-1", "boolean": True, "array": [1, 2]}
        values[field.name] = chosen or by_type.get(schema.get("type", ""), [3, 4, 0])
        if field.name in ("old", "new"):
            values[field.name] = ["loss 0.2"] if field.name == "new" else []
    return msgspec.convert(values, kind, strict=False)


def listed(run: Script, **chosen: object) -> list[str]:
    return list(rows(Moment(run.scene, Status(), Chosen(page="events", **chosen))))  # type: ignore[arg-type]


def page(run: Script, size: str = "120x40", **chosen: object) -> str:
    return page_text(run.scene, size, page="events", **chosen)


def message_run(most_events: int = 50_000) -> Script:
    """An exchange of r00 with r01: the summary needs a second try, and the answer teaches a part."""
    run = Script(2, most_events=most_events)
    run.report(10, "r00", MessageSent("r01", 1, "summary", "e1", 0, 40, 10))
    run.report(60, "r00", MessageSent("r01", 2, "summary", "e1", 0, 40, 10, attempt=1))
    run.report(80, "r01", MessageReceived("r00", 1, 2, 0, "summary", "e1", 0, "1-1"))
    run.report(81, "r01", MessageSent("r00", 1, "answer", "e1", 1, 60, 10, cause=(1, 2, 0)))
    run.report(95, "r00", MessageReceived("r01", 1, 1, 0, "answer", "e1", 0, "1-2"))
    run.report(96, "r00", PartsMerged("r01", 1, 1, 0, (1,), 2))
    run.report(97, "r00", ExchangeEnded("r01", "e1", "answered", 2, 87_000))
    return run


# Words
@pytest.mark.parametrize("kind", get_args(AnyEvent), ids=lambda kind: kind.__name__)
def test_every_event_has_words_without_raw_names_and_microseconds(kind: type[Event]) -> None:
    # Given an event of each kind
    stamped = Stamped("5c1213", "r01", 2, 1, 0, 0, example(kind))  # type: ignore[arg-type]
    # When it is described
    words = described(stamped)
    # Then it has a mark, a kind and a sentence, and no field's name in it
    assert len(words.mark) == 1
    assert words.kind
    assert words.text or words.parts
    assert not any(name in words.text for name in kind.__struct_fields__ if "_" in name)


def test_trouble_is_what_is_notable_and_what_was_lost() -> None:
    # Given events of either sort
    def of(event: AnyEvent) -> bool:
        return is_trouble(Stamped("5c1213", "r01", 1, 1, 0, 0, event))

    # Then
    assert of(WorkerCrashed("secret_merger", "ValueError"))
    assert of(MessageDropped("r02", 1, "summary", "e1", "the outbox is full", 10))
    assert of(FatesDecided(0, 5, 1, 0, 0, 0, 0, 0, 4, 0, 0, 10))
    assert of(ExchangeEnded("r02", "e1", "timeout", 3, 900_000))
    assert not of(FatesDecided(0, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0, 10))
    assert not of(ExchangeEnded("r02", "e1", "equal", 1, 9_000))
    assert not of(MessageSent("r02", 1, "summary", "e1", 0, 40, 10))
    assert not of(TicksExecuted(5))


# The list
def test_the_list_shows_how_many_of_how_many_it_shows() -> None:
    # Given thirteen events, two of them learnt parts or trouble
    run = message_run()
    # Then
    assert page(run).startswith("EVENTS 13 of 13   tail on")
    assert page(run, filter="parts.merged").startswith("EVENTS 1 of 13")
    assert listed(run, filter="parts.merged") == ["r00/1/6"]
    assert len(listed(run, filter="r01 *.sent")) == 1
    assert len(listed(run, is_only_trouble=True)) == 2  # the deal and go


def test_a_filter_that_cannot_be_understood_is_reported_and_hides_nothing() -> None:
    # Given a name that no event has
    text = page(message_run(), filter="partz.merged")
    # Then the page says so, and shows all
    assert "no event is named 'partz.merged'; did you mean 'parts.merged'?: all are shown" in text
    assert text.startswith("EVENTS 13 of 13")


def test_a_list_that_is_followed_shows_the_newest_and_one_that_is_not_stays() -> None:
    # Given more events than lines
    run = Script(2)
    for number in range(100):
        run.report(100 + number, "r00", TicksExecuted(number))
    # Then
    assert "executed 99 ticks" in page(run, "80x24")
    still = page(run, "80x24", is_following=False, cursor=3)
    assert "executed 99 ticks" not in still
    run.report(500, "r00", TicksExecuted(500))
    assert page(run, "80x24", is_following=False, cursor=3).splitlines()[2:-2] == still.splitlines()[2:-2]
    assert "executed 500 ticks" in page(run, "80x24")


def test_what_is_no_longer_kept_is_counted_and_not_listed() -> None:
    # Given a scene that keeps ten events, and has seen thirteen
    run = message_run(most_events=10)
    # Then
    text = page(run)
    assert text.startswith("EVENTS 10 of 10")
    assert "3 older ones are no longer kept here: the record has them" in text
    assert len(listed(run)) == 10


def test_events_that_go_leave_the_list_of_those_that_were_found() -> None:
    # Given a filter whose only find is about to go
    run = message_run(most_events=10)
    assert listed(run, filter="robot.born r01") == []
    assert len(listed(run, filter="message.sent")) == 3
    # When more events come
    for number in range(9):
        run.report(200 + number, "r01", TicksExecuted(1))
    # Then it is gone
    assert listed(run, filter="message.sent") == []


# One message
def test_the_life_of_a_message_goes_from_its_sending_to_what_was_learnt() -> None:
    # Given the answer of the exchange, under the cursor as it arrived
    text = page(message_run(), event="r00/1/5")
    # Then its whole life is told, and the rest of its exchange
    assert "MESSAGE 1 from r01 (life 1) to r00   exchange e1" in text
    assert "1 sent       0.081 s after go: answer with 1 part to r00" in text
    assert "2 fate       delivered" in text
    assert "3 arrived    at r00 0.095 s after go, 14 ms after it was sent" in text
    assert "4 learnt     1: new to r00" in text
    assert "ITS EVENTS 3 of 3" in text
    assert "THE REST OF ITS EXCHANGE 4 of 4" in text


def test_of_a_message_that_did_not_arrive_the_fate_is_not_known() -> None:
    # Given the first summary
    text = page(message_run(), event="r00/1/3")
    # Then nothing more is pretended
    assert "2 fate       not known: no copy arrived within 87 ms" in text
    assert "the record has them: robots traces" in text
    assert "learnt" not in text.split("ITS EVENTS")[0]


def test_numbers_are_counted_for_each_receiver() -> None:
    # Given two messages with one number, to two robots
    run = Script(3)
    run.report(10, "r00", MessageSent("r01", 1, "summary", "e1", 0, 40, 10))
    run.report(11, "r00", MessageSent("r02", 1, "summary", "e2", 0, 40, 10))
    run.report(30, "r02", MessageReceived("r00", 1, 1, 0, "summary", "e2", 0, "1-1"))
    # Then the life of one has nothing of the other
    text = page(run, event="r00/1/3")
    assert "ITS EVENTS 1 of 1" in text
    assert "not known" in text


def test_a_message_whose_sending_is_no_longer_kept_is_shown_so() -> None:
    # Given a scene that keeps only the last three events
    text = page(message_run(most_events=3), event="r00/1/5")
    # Then
    assert "1 sent       its event is no longer kept here, as 10 older ones" in text
    assert "3 arrived    at r00" in text


def test_an_event_that_is_no_longer_kept_is_reported_as_gone() -> None:
    # Given an event from before
    text = page(message_run(most_events=3), event="r00/1/1")
    # Then
    assert "The event r00/1/1 is no longer kept here: only the newest 3 are. The record has it." in text


def test_an_event_that_is_no_message_shows_what_its_source_reported_around_it() -> None:
    # Given that a robot left
    run = message_run()
    run.report(500, "r01", RobotLeft("complete"))
    # Then
    text = page(run, event="r01/1/5")
    assert "WHAT r01 REPORTED BEFORE AND AFTER 5 of 5" in text
    assert "    reason  complete" in text
