"""What is known of an error after all retries."""

from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from broker.errors import Unavailable
from broker.streams.retry import lacking_right, retry_blocking


@pytest.mark.parametrize(
    ("error", "right"),
    [
        (NoPermissionError("User lab has no permissions to run the 'scan' command"), "scan (ACL: +scan)"),
        (
            NoPermissionError("this user has no permissions to run the 'object|freq' command or its subcommand"),
            "object|freq (ACL: +object|freq)",
        ),
        (NoPermissionError("No permissions to access a key"), "No permissions to access a key"),
        (ResponseError("OOM command not allowed"), None),
        (RedisConnectionError("gone"), None),
    ],
)
def test_a_right_that_a_user_lacks_is_no_outage(error: RedisError, right: str | None) -> None:
    def attempt() -> None:
        raise error

    with pytest.raises(Unavailable) as unavailable:
        retry_blocking("keys", attempt, retry_s=0)

    assert lacking_right(unavailable.value) == right
