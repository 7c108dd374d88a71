"""Spares every process of the lab what redis-py imports only because it is installed: OpenTelemetry's metrics SDK.

redis-py 8 loads it for metrics that the lab never asks it for: some 50 ms of CPU and 2 to 8 MB in every process. It
does without where it is not installed, so it is hidden from those two modules of redis-py, and from nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any, Final


class _WithoutMetrics(SourceFileLoader):
    """Loads a module as if OpenTelemetry's metrics were not installed."""

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


class LeanRedis(MetaPathFinder):
    """Finds the modules that redis-py keeps its metrics in, and has them loaded so."""

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
