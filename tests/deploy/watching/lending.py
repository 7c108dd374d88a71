"""The parent of a run as far as its terminal is concerned, with another program in the place of the app. A script: no
tests here."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from deploy.commands.output import print_result, report
from deploy.processes.signals import ShutdownSignals
from deploy.watching.lent_terminal import RunTerminal

APP = """
import os, sys, termios, tty
print("\\x1b[?1049hSCREENS of", sys.argv[-4], flush=True)
before = termios.tcgetattr(0)
tty.setraw(0)
while (key := os.read(0, 1)) not in (b"q", b"c", b"x"):
    pass
if key == b"x":
    os.kill(os.getpid(), 9)
termios.tcsetattr(0, termios.TCSANOW, before)
print("\\x1b[?1049l", end="", flush=True)
sys.exit({b"q": 0, b"c": 130}[key])
"""


def main(folder: Path) -> int:
    """A run of which each step is begun by a file: it prints, and is over when `over` is there."""
    app = folder / "app"
    app.write_text(f"#!{sys.executable}\n{APP}")
    app.chmod(0o755)
    sys.executable = str(app)
    with ShutdownSignals() as shutdown, RunTerminal("tui", shutdown, report) as terminal:
        print("before the app")
        terminal.lend(folder / "7f3a", [])
        terminal.progress("progress 1")
        report("an error")
        child = subprocess.Popen(["/bin/sh", "-c", "while [ ! -e over ]; do sleep .02; done; echo 'a child' >&2"])
        (folder / "begun").touch()
        while not (folder / "over").exists() and shutdown.reason is None:
            terminal.poll()
            time.sleep(0.01)
        (folder / "over").touch()
        child.wait()
        terminal.progress("progress 2")
        print_result(f"the result, {shutdown.reason}")
        terminal.await_left()
        report("after it")
    return 3


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    raise SystemExit(main(Path(sys.argv[1])))
