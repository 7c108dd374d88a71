"""When this process began to run the lab: imported before all else by deploy/entry.py, and nothing else stands here.

The kernel's own start time of the process would not do: a shell that ends in our command becomes our process, with
everything that it did before.
"""

from __future__ import annotations

import time
from typing import Final

STARTED_S: Final = time.monotonic()
"""On the clock of `time.monotonic`."""
