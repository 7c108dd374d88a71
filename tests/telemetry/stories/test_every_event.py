"""No kind of event that a person should see is without a sentence, and no sentence shows the names of fields."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal

import pytest

from telemetry.events import (
    AnyEvent,
    PlanChanged,
    RelayResumed,
    RobotBorn,
    RobotWaiting,
    Stamped,
    SupervisorBegan,
    event_name,
)
from telemetry.stories.sentences import SENTENCES, is_notable, sentence_of
from telemetry.stories.stories import Stories
from tests.telemetry.stories.reported import GO_US

KINDS: tuple[type[Any], ...] = typing.get_args(AnyEvent)
NOTABLE = [kind for kind in KINDS if kind.notable or kind in (RobotBorn, SupervisorBegan, RelayResumed)]


def value(kind: Any) -> Any:
    """A value of the type of a field."""
    if typing.get_origin(kind) is typing.Annotated:
        return value(typing.get_args(kind)[0])
    if typing.get_origin(kind) is Literal:
        return typing.get_args(kind)[0]
    if typing.get_origin(kind) is tuple:
        return tuple(value(each) for each in typing.get_args(kind) if each is not Ellipsis)
    if typing.get_origin(kind) is types.UnionType:
        return value(typing.get_args(kind)[0])
    return {int: 7, str: "r03", bool: True}[kind]


def sample(kind: type[Any]) -> Stamped:
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {name: value(hints[name]) for name in kind.__struct_fields__}
    if kind is PlanChanged:
        fields |= {"shard": 0, "refusal": "", "request": ""}
    if kind is RobotWaiting:
        fields |= {"waited_s": 0}
    return Stamped("f00000", "r03", 2, 1, GO_US, 0, kind(**fields))


@pytest.mark.parametrize("kind", NOTABLE)
def test_every_event_that_a_person_should_see_is_reported(kind: type[Any]) -> None:
    # Given such an event
    event = sample(kind)
    assert is_notable(event)
    # When it is all that comes
    stories = Stories()
    stories.handle(event)
    stories.close()
    # Then there is a story of it
    assert [story.text for story in stories.whole] != []
    assert kind in SENTENCES


@pytest.mark.parametrize("kind", list(SENTENCES))
def test_a_sentence_has_no_names_of_fields_and_no_microseconds(kind: type[Any]) -> None:
    event = sample(kind)
    text = sentence_of(event)
    assert event_name(event.event) not in text
    assert not any("_" in name and name in text for name in kind.__struct_fields__)
    assert "us " not in text


def test_an_event_without_a_sentence_is_shown_whole() -> None:
    others = [kind for kind in KINDS if kind not in SENTENCES]
    for kind in others:
        assert event_name(sample(kind).event) in sentence_of(sample(kind))
