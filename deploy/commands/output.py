"""What people and programs get to read: progress on stderr, the result on stdout, the secret where it was wanted.

A reader who went away must neither end a run nor change its exit code.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from broker.ports import Evidence
from deploy.environment import Unable
from deploy.filing import write_output
from deploy.settings import LabSettings


def tell(line: str) -> None:
    """Progress. Who cannot hear it misses nothing."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(line, file=sys.stderr, flush=True)


def show(text: str) -> None:
    """The result. Raises Unable when it cannot be written, but not when its reader has left."""
    if sys.stdout is None:
        return
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
    except OSError as error:
        raise Unable(f"standard output: {error.strerror or error}") from None


def deliver(settings: LabSettings, evidence: Evidence) -> None:
    """The secret, if `--output` asked for it and there is one; verdict and record come first. Raises Unable."""
    try:
        write_output(settings, evidence)
    except OSError as error:
        raise Unable(f"--output: {settings.output}: {error.strerror or error}") from None
