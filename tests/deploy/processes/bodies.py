"""What children under test do. No tests here."""

from __future__ import annotations

import signal


def sleep_for_ever():
    signal.pause()
    return 0


def refuse_to_end():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("deaf")
    while True:
        signal.pause()
