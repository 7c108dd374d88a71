"""How robots become processes, and where they run. The top floor: it may import all others; nothing imports it.

The package itself only remembers when this process began to run the lab, and keeps OpenTelemetry out of redis-py: it is
imported before all else. The kernel's own start time of the process would not do: a shell that ends in our command
becomes our process, with everything that it did before.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

STARTED_S: Final = time.monotonic()
"""On the clock of `time.monotonic`."""


class _RedisWithoutOpenTelemetry(MetaPathFinder):
    """redis-py imports OpenTelemetry's SDK where it is installed, for metrics of its own that are never switched on:
    2 MB and some 25 ms in every process. While redis-py is being imported, this finder says that there is none."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        redis = sys.modules.get("redis")
        is_being_imported = redis is not None and not hasattr(redis, "__version__")  # the last thing that it sets
        if is_being_imported and fullname.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(f"{fullname} is kept out of redis-py", name=fullname)
        return None


sys.meta_path.insert(0, _RedisWithoutOpenTelemetry())
