"""The server that a person names: by one URL or by two, and by the file that holds its password. Nothing is connected
here, and no error shows a password.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from broker.streams.address import Address, with_password
from deploy.errors import UsageError

LARGEST_PASSWORD: Final = 1024  # bytes


def server_address(
    redis_url: str | None, control_url: str | None, data_url: str | None, password_file: Path | None
) -> Address | None:
    """The server of `--redis-url`, or of `--control-url` and `--data-url`, with its password; None when none is named.
    Raises UsageError."""
    if redis_url is None and control_url is None and data_url is None:
        return None
    if redis_url is not None and (control_url or data_url) is not None:
        raise UsageError("--redis-url: one server for both; it is not allowed beside --control-url or --data-url")
    if redis_url is None and (control_url is None or data_url is None):
        raise UsageError("--control-url and --data-url: the server of RQ's queue and that of the streams go together")
    urls = (_with_password(url, password_file) for url in (control_url or redis_url, data_url or redis_url) if url)
    address = Address(*urls)
    try:
        address.check()
    except ValueError as error:
        raise UsageError(f"{'--control-url' if control_url else '--redis-url'}: {error}") from None
    return address


def _with_password(url: str, file: Path | None) -> str:
    """Raises UsageError."""
    try:
        return url if file is None else with_password(url, _read_password(file))
    except ValueError as error:
        raise UsageError(f"--redis-password-file: {error}") from None
    except OSError as error:
        raise UsageError(f"--redis-password-file: {file}: {error.strerror or error}") from None


def _read_password(path: Path) -> str:
    """The file's first line. Raises OSError, and ValueError when it cannot be a password."""
    with path.open("rb") as file:
        line = file.readline(LARGEST_PASSWORD + 1).rstrip(b"\r\n")
    if not 0 < len(line) <= LARGEST_PASSWORD:
        raise ValueError(f"{path} begins with no password; allowed are 1 to {LARGEST_PASSWORD} bytes in its first line")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8") from None
