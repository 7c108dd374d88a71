"""What the values of settings may be: a function for each kind returns a value checked, or raises ValueError with what
is allowed. Where a value came from is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from broker.faults.syntax import format_duration, parse_duration
from broker.streams.address import parse_url
from robots.exhibits.catalogue import EXHIBITS
from telemetry.handlers.external import check_handler_name

SLOWEST: Final = 100  # times as long as it would take


def whole(low: int, high: int) -> Callable[[Any], int]:
    """A whole number between two others, both allowed."""

    def check(value: Any) -> int:
        try:
            number = int(str(value))
        except ValueError:
            raise ValueError(f"{value!r} is not a whole number; allowed is {low} to {high}") from None
        if not low <= number <= high:
            raise ValueError(f"{number} is outside of what is allowed: {low} to {high}")
        return number

    return check


def duration(shortest_us: int) -> Callable[[Any], int]:
    """A time in microseconds; 0 needs no unit."""

    def check(value: Any) -> int:
        microseconds = parse_duration("0s" if value == "0" else str(value))
        if microseconds < shortest_us:
            raise ValueError(f"{value!r} is too short; at least {format_duration(shortest_us)} is allowed")
        return microseconds

    return check


def pace_factor(value: Any) -> int:
    """How many times as long everything takes: `10` or `10x`."""
    return whole(1, SLOWEST)(str(value).removesuffix("x"))


def choice_of(*allowed: str) -> Callable[[Any], str]:
    """One of some words."""

    def check(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"{value!r} is unknown; allowed are {', '.join(allowed)}")
        return str(value)

    return check


def exhibit_name(value: Any) -> str | None:
    """The name of an exhibit, or None."""

    return None if value is None else choice_of(*EXHIBITS)(value)


def handler_names(value: Any) -> tuple[str, ...]:
    """Handlers by their names, in a list or with ; between them. None is imported."""

    texts = value.split(";") if isinstance(value, str) else value
    if not isinstance(texts, list | tuple):
        raise ValueError(f"{value!r} is no list; allowed is ['my_module:MyHandler']")
    names = tuple(str(text).strip() for text in texts)
    for name in names:
        check_handler_name(name)
    return names


def server_url(value: Any) -> str:
    """The URL of a server."""

    parse_url(str(value))
    return str(value)


def web_url(value: Any) -> str:
    """The URL of a web page."""

    text = str(value)
    if not re.fullmatch(r"https?://[!-~]+", text):
        raise ValueError("allowed is the URL of a web page, such as http://127.0.0.1:16686")
    return text
