"""Where the command `robots` begins. Importing the lab takes a while: who presses Ctrl-C in it sees no traceback.

Nothing but that may stand here, and nobody but the script and `python -m deploy` may import this.
"""

from __future__ import annotations

import signal

_is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else it is ignored, and stays so
if _is_heard:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from deploy.commands import main as _main  # noqa: E402


def main() -> None:
    """Run one command and exit with its code."""
    if _is_heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _main()
