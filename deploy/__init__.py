"""How robots become processes, and where they run. The top floor: it may import all others; nothing imports it.

The package itself only remembers when this process began to run the lab: it is imported before all else. The kernel's
own start time of the process would not do: a shell that ends in our command becomes our process, with everything that
it did before.
"""

from __future__ import annotations

import time
from typing import Final

STARTED_S: Final = time.monotonic()
"""On the clock of `time.monotonic`."""
