"""Where the command `robots` begins. While the lab is imported, Ctrl-C ends it without a traceback, and an error has an
exit code that is no verdict.

Only that stands here, and only the script and `python -m deploy` import this.
"""

from __future__ import annotations

import signal
import sys
import traceback

from deploy.errors import SOFTWARE

_is_handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else it is ignored, and stays so
if _is_handled:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

try:
    from deploy.commands import main as _main
except Exception:
    traceback.print_exc()
    sys.exit(SOFTWARE)


def main() -> None:
    """Run one command and exit with its code."""
    _main(loaded=_loaded)


def _loaded() -> None:
    """Called when the command's own modules are imported: Ctrl-C raises KeyboardInterrupt from now on."""
    if _is_handled:
        signal.signal(signal.SIGINT, signal.default_int_handler)
