"""The tokens of leases: each is unique, names its host and process, and reads as nothing when it is no token."""

from __future__ import annotations

import os
import socket

import pytest

from deploy.attach.holders import Holder, holder_in, new_token, nonce_in


def test_a_token_names_host_and_process_and_is_unique() -> None:
    tokens = {new_token(os.getpid()) for _ in range(100)}

    assert {holder_in(token) for token in tokens} == {Holder(socket.gethostname(), os.getpid())}
    assert len({nonce_in(token) for token in tokens}) == 100


def test_a_token_that_several_processes_share_names_the_host_alone() -> None:
    assert holder_in(new_token(None)) == Holder(socket.gethostname(), None)


def test_a_host_may_have_dots_in_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "lab.1.example")

    assert holder_in(new_token(7)) == Holder("lab.1.example", 7)


@pytest.mark.parametrize(
    "token", ["", "x", "lab.7", "lab.x.0123456789abcdef", "lab.99999999999.0123456789abcdef", "\ud800"]
)
def test_what_is_no_token_names_none(token: str) -> None:
    assert holder_in(token) == Holder("", None)
