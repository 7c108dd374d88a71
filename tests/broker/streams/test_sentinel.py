"""What Sentinels answer, as a person reads it. Real ones: tests/live/test_failover.py, tests/live/test_security.py."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError

from broker.streams.sentinel import Answers

GOOD: dict[str, Any] = {"ip": "10.0.0.1", "port": 7, "is_master": True, "is_sdown": False, "is_odown": False}


def test_the_first_sentinel_that_knows_a_living_master_is_believed() -> None:
    answers = Answers("lab")
    answers.take_error(RedisConnectionError("refused"))
    assert answers.take({"lab": {**GOOD, "is_sdown": True}}) is None
    assert answers.take({"lab": GOOD}) == ("10.0.0.1", 7)


@pytest.mark.parametrize(
    ("replies", "why"),
    [
        (({"lab": {**GOOD, "is_odown": True}}, RedisConnectionError("x")), "find the master down"),
        (({"lab": {**GOOD, "is_master": False}},), "find the master down"),
        (({"one": GOOD}, {"two": GOOD}), "know no master of this name, only one, two"),
        (({},), "the Sentinels know no master"),
        ((RedisConnectionError("refused"), RedisConnectionError("refused")), "no Sentinel answers: refused"),
        ((RedisConnectionError("refused"), AuthenticationError("NOAUTH")), "do not let us in: NOAUTH"),
        ((), "the Sentinels know no master"),
    ],
)
def test_why_there_is_no_master_is_reported_in_one_line(replies: tuple[Any, ...], why: str) -> None:
    answers = Answers("lab")
    for answer in replies:
        if isinstance(answer, dict):
            assert answers.take(answer) is None
        else:
            answers.take_error(answer)
    assert why in str(answers.no_master())
    assert "\n" not in str(answers.no_master())
