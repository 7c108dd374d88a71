"""The users that the lab ships for its Redis, with passwords of a test. No tests here."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from tests.support.checkout import ROOT

USERS: Final = ROOT / "deploy/compose/redis/users.acl"  # on Kubernetes they are the same
PASSWORD: Final = "correct:horse@battery/staple"
NODES_PASSWORD: Final = "between-nodes"
ADMIN: Final = "user admin on nopass ~* &* +@all\n"
"""One user more, for the test itself."""


def write_users(folder: Path) -> Path:
    """The file of users, with the passwords and the test's own user."""
    text = USERS.read_text()
    for name, password in (("redis_password", PASSWORD), ("nodes_password", NODES_PASSWORD)):
        text = text.replace(f"@{name}@", hashlib.sha256(password.encode()).hexdigest())
    users = folder / "users.acl"
    users.write_text(text + ADMIN)
    return users
