"""The language of a filter of events: which of them a person wants to see. Pure.

    r03  r0*  relay:*  r03/2            the source, and its life
    parts.merged  parts.*  *.sent       the event's name: it has a dot
    peer=r05  exchange=1f*  *=r03       a field of the event; * stands for any text, also in the field's name
    took_us>50000  lag_us<1000          a number

All words of a filter must match, and a word after ! must not. Of several filters one must match. `source`, `life` and
`name` are fields too. A list matches when one of its values does, or its text as it is printed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Final, get_args

from telemetry.events import AnyEvent, Event, Stamped, event_name

Wanted = Callable[[Stamped], bool]
"""Whether an event is to be shown."""

_KINDS: Final[tuple[type[Event], ...]] = get_args(AnyEvent)

NAMES: Final = tuple(sorted(str(kind.__struct_config__.tag) for kind in _KINDS))
"""The names of all events."""

FIELDS: Final = ("source", "life", "name", *sorted({field for kind in _KINDS for field in kind.__struct_fields__}))
"""What may stand before =."""

_FIELD: Final = re.compile(r"([^=<>]+)([=<>])(.*)", re.DOTALL)
_HINT: Final = "a word is a source (r03), an event's name (parts.*) or a field (peer=r05)"


class FilterSyntaxError(ValueError):
    """A filter cannot be understood; the message is one line."""


def filter_of(texts: Iterable[str]) -> Wanted:
    """Whether an event matches one of the filters; any event does when there is none. Raises FilterSyntaxError."""
    filters = [_all_of(text) for text in texts]
    if not filters:
        return lambda _stamped: True
    return lambda stamped: any(wanted(stamped) for wanted in filters)


def shown_value(value: object) -> str:
    """A field's value as text: none is empty, truth is `true` or `false`, and a list has commas."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case list() | tuple():
            return ",".join(map(shown_value, value))
    return str(value)


def _all_of(text: str) -> Wanted:
    words = [_word(word) for word in text.split()]
    if not words:
        raise FilterSyntaxError(f"an empty filter; {_HINT}")
    return lambda stamped: all(wanted(stamped) for wanted in words)


def _word(word: str) -> Wanted:
    if word.startswith("!"):
        unwanted = _word(word[1:])
        return lambda stamped: not unwanted(stamped)
    if not word:
        raise FilterSyntaxError(f"nothing stands after !; {_HINT}")
    field = _FIELD.fullmatch(word)
    if field is not None:
        return _field(*field.groups())
    if word[0] in "=<>":
        raise FilterSyntaxError(f"{word!r} names no field; {_HINT}")
    return _name(word) if "." in word else _source(word)


def _name(pattern: str) -> Wanted:
    names = frozenset(name for name in NAMES if fnmatchcase(name, pattern))
    if not names:
        raise FilterSyntaxError(f"no event is named {pattern!r}{_near(pattern, NAMES)}")
    return lambda stamped: event_name(stamped.event) in names


def _source(pattern: str) -> Wanted:
    source, _, life = pattern.partition("/")
    if life and not life.isdecimal():
        raise FilterSyntaxError(f"{life!r} in {pattern!r} is no number of a life; allowed is r03/2")
    incarnation = int(life) if life else None

    def is_wanted(stamped: Stamped) -> bool:
        return fnmatchcase(stamped.source, source) and incarnation in (None, stamped.incarnation)

    return is_wanted


def _field(pattern: str, operator: str, value: str) -> Wanted:
    fields = frozenset(field for field in FIELDS if fnmatchcase(field, pattern))
    if not fields:
        raise FilterSyntaxError(f"no event has a field {pattern!r}{_near(pattern, FIELDS)}")
    is_match = _equal(value) if operator == "=" else _ordered(pattern, operator, value)
    return lambda stamped: any(is_match(found) for field in fields for found in _values(stamped, field))


def _equal(pattern: str) -> Callable[[object], bool]:
    def is_match(value: object) -> bool:
        among = value if isinstance(value, list | tuple) else ()
        return any(fnmatchcase(shown_value(one), pattern) for one in (value, *among))

    return is_match


def _ordered(field: str, operator: str, value: str) -> Callable[[object], bool]:
    try:
        limit = float(value)
    except ValueError:
        raise FilterSyntaxError(f"{value!r} is no number; after {field}{operator} one is allowed") from None

    def is_match(found: object) -> bool:
        if isinstance(found, bool) or not isinstance(found, int | float):
            return False
        return found > limit if operator == ">" else found < limit

    return is_match


def _values(stamped: Stamped, field: str) -> tuple[Any, ...]:
    """The value of a field, if the event has it."""
    match field:
        case "source":
            return (stamped.source,)
        case "life":
            return (stamped.incarnation,)
        case "name":
            return (event_name(stamped.event),)
    return (getattr(stamped.event, field),) if field in stamped.event.__struct_fields__ else ()


def _near(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word.replace("*", ""), list(known), 1, 0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
