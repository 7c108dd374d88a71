"""What the fold counts with: counters and histograms by attributes, both of bounded size.

No metric's meaning is known here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, TypeVar

from telemetry.console import harmless
from telemetry.events import Stamped
from telemetry.metrics.table import BOUNDS_S, ROBOT, Metric
from telemetry.metrics.values import Attributes, Distribution, Exemplar, Family, Number

MOST_SERIES: Final = 2_000  # of one metric: OpenTelemetry's own default
OVERFLOW: Final = (("otel.metric.overflow", "true"),)
"""The attributes of the one series that takes what has no room."""

Values = tuple[str, ...]
"""The values of a metric's attributes, in their order; an empty one is left out."""

IdsOf = Callable[[Stamped], tuple[int, int]]
"""The ids of the trace (128 bits) and of the span (64 bits) that an event is about."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Counts:
    """The series of a counter."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._values: dict[Values | None, int] = {}  # None: the overflow

    def add(self, key: Values, value: int = 1) -> None:
        """Count `value` more; a series begins with what is not 0."""
        values = self._values
        if key in values:
            values[key] += value
        elif value:
            self._begin(key if len(values) < MOST_SERIES else None, value)

    def join_robots(self) -> None:
        """Sum up the series of all robots: from now on they have none of their own."""
        if ROBOT in self._metric.attributes:
            place = self._metric.attributes.index(ROBOT)
            values, self._values = self._values, {}
            for key, value in values.items():
                self._begin(key and (*key[:place], "", *key[place + 1 :]), value)

    def family(self) -> Family:
        """The values now."""
        numbers = [Number(attributes_of(self._metric, key), value) for key, value in self._values.items()]
        return Family(self._metric, numbers=tuple(sorted(numbers, key=lambda number: number.attributes)))

    def _begin(self, key: Values | None, value: int) -> None:
        self._values[key] = self._values.get(key, 0) + value


class Histograms:
    """The series of a histogram."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._series: dict[Values | None, _Histogram] = {}  # None: the overflow

    def observe(self, key: Values, microseconds: int, origin: Stamped | None = None) -> None:
        """Count one observation. A negative one counts as 0: the clocks of two robots differ a little. `origin`: the
        event that an exemplar leads to."""
        histogram = self._series.get(key) or self._begin(key)
        if microseconds < 0:
            microseconds = 0
        seconds = microseconds / 1e6
        bucket = bisect_left(BOUNDS_S, seconds)
        histogram.counts[bucket] += 1
        histogram.total_us += microseconds
        if seconds < histogram.least:
            histogram.least = seconds
        if seconds > histogram.greatest:
            histogram.greatest = seconds
        if origin is not None:
            histogram.origins[bucket] = (seconds, origin)

    def family(self, ids_of: IdsOf) -> Family:
        """The values now."""
        found = [self._distribution(key, histogram, ids_of) for key, histogram in self._series.items()]
        return Family(self._metric, distributions=tuple(sorted(found, key=lambda one: one.attributes)))

    def _begin(self, key: Values) -> _Histogram:
        return self._series.setdefault(key if len(self._series) < MOST_SERIES else None, _Histogram())

    def _distribution(self, key: Values | None, histogram: _Histogram, ids_of: IdsOf) -> Distribution:
        exemplars: list[Exemplar | None] = [None] * len(histogram.counts)
        for bucket, (seconds, origin) in histogram.origins.items():
            exemplars[bucket] = Exemplar(*ids_of(origin), seconds, origin.wall_us)
        return Distribution(
            attributes_of(self._metric, key),
            tuple(histogram.counts),
            histogram.total_us / 1e6,
            histogram.least,
            histogram.greatest,
            tuple(exemplars),
        )


class _Histogram:
    """One series. Its total is whole microseconds: a sum that does not depend on the order."""

    __slots__ = ("counts", "greatest", "least", "origins", "total_us")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_us = 0
        self.least = float("inf")
        self.greatest = 0.0
        self.origins: dict[int, tuple[float, Stamped]] = {}  # the last observation of each bucket


class Recent(OrderedDict[K, V]):
    """A dictionary of the `most` newest keys: a new one displaces the oldest."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        if len(self) > self._most:
            self.popitem(last=False)


def attributes_of(metric: Metric, key: Values | None) -> Attributes:
    """The attributes of one series, sorted by name; None is the overflow."""
    if key is None:
        return OVERFLOW
    own = [(name, harmless(value)) for name, value in zip(metric.attributes, key, strict=True) if value]
    return tuple(sorted([*own, *metric.constant]))
