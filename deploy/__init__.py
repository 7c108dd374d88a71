"""How robots become processes, and where they run. The top floor: it may import all others; nothing imports it.

The package itself only remembers when this process began to run the lab, and keeps its imports small: it is imported
before all else. The kernel's own start time of the process would not do: a shell that ends in our command becomes our
process, with everything that it did before.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any, Final

STARTED_S: Final = time.monotonic()
"""On the clock of `time.monotonic`."""


class _WithoutMetrics(SourceFileLoader):
    """Loads a module as if OpenTelemetry's metrics were not installed, which it then does without."""

    HIDDEN: Final[tuple[str, ...]] = ("opentelemetry.metrics", "opentelemetry.sdk.metrics")

    def exec_module(self, module: ModuleType) -> None:
        there = {name: sys.modules[name] for name in self.HIDDEN if name in sys.modules}
        absent: Any = dict.fromkeys(self.HIDDEN)  # None: an import of it fails
        sys.modules.update(absent)
        try:
            super().exec_module(module)
        finally:
            for name in self.HIDDEN:
                del sys.modules[name]
            sys.modules.update(there)


class _LeanRedis(MetaPathFinder):
    """redis-py imports OpenTelemetry's SDK, where it is installed, for metrics that the lab never asks it for: some
    50 ms and 8 MB in every process."""

    MODULES: Final = ("redis.observability.providers", "redis.observability.metrics")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.MODULES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _WithoutMetrics(fullname, spec.loader.path)
        return spec


sys.meta_path.insert(0, _LeanRedis())
