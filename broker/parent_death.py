"""A child that cannot outlive its parent. Linux only: one system call, and nothing else may live here.

The kernel clears the setting at every fork, so each child makes it for itself, as early as possible.
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1

# Loaded at import: between fork and exec a child should find everything at hand.
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process (SIGKILL) when its parent ends.

    `parent_pid` is the parent's own pid, taken before the fork: a parent that died before this call has already been
    replaced by another, and then the child ends here at once. The kernel watches the parent's THREAD that forked.
    Raises OSError when the system call is refused.
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    if os.getppid() != parent_pid:
        os._exit(1)
