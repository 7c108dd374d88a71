"""Where the command `robots` begins. While the lab is imported, Ctrl-C ends it without a traceback. An error that no
code of ours expects ends it with a traceback and an exit code of its own: Python's is 1, which means BROKEN.

Only that stands here, with the order to keep redis-py lean, and only the script and `python -m deploy` import this.
"""

from __future__ import annotations

import signal
import sys
from io import TextIOWrapper
from types import TracebackType

_is_handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else it is ignored, and stays so
if _is_handled:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from deploy.errors import INTERRUPTED, SOFTWARE  # noqa: E402


def _end_by(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    """Python calls this with what was raised and not caught, and ends with the exit code that is raised here."""
    sys.__excepthook__(kind, error, at)
    raise SystemExit(INTERRUPTED if issubclass(kind, KeyboardInterrupt) else SOFTWARE)


sys.excepthook = _end_by

from deploy.lean_redis import LeanRedis  # noqa: E402

sys.meta_path.insert(0, LeanRedis())

from deploy.commands import main as _main  # noqa: E402


def main() -> None:
    """Run one command and exit with its code. A letter that standard output has no code for is escaped."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    _main(loaded=_loaded)


def _loaded() -> None:
    """Called when the command's own modules are imported: Ctrl-C raises KeyboardInterrupt from now on."""
    if _is_handled:
        signal.signal(signal.SIGINT, signal.default_int_handler)
