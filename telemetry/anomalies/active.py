"""The anomalies that are active now, and which of them the run's events tell already.

Rules begin and end anomalies here, as often as they like: one that is active does not begin again. Whether an anomaly
is right is not known here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from telemetry.events import AnomalyBegan, AnomalyEnded

MOST_ACTIVE: Final = 1_000
"""So many at most: a run in which everything is unusual needs no longer list."""


class _Active(NamedTuple):
    began_us: int
    detail: str


class ActiveAnomalies:
    """Anomalies by rule and by what they are about (`r03`, `relay:0`, `network`). `now_us`: the observer's time."""

    def __init__(self) -> None:
        self.now_us = 0
        self._active: dict[tuple[str, str], _Active] = {}
        self._announced: dict[tuple[str, str], int] = {}  # when it began
        self._adopted: dict[tuple[str, str], int] = {}  # began by another observer, not by our rules: since when

    def begin(self, rule: str, about: str, detail: str) -> None:
        """It stands from now on, or still."""
        key = (rule, about)
        self._adopted.pop(key, None)
        if key not in self._active and len(self._active) < MOST_ACTIVE:
            self._active[key] = _Active(self.now_us, detail)

    def end(self, rule: str, about: str) -> None:
        """It is over, if it stood."""
        self._active.pop((rule, about), None)
        self._adopted.pop((rule, about), None)

    def is_active(self, rule: str, about: str) -> bool:
        """Whether it stands now."""
        return (rule, about) in self._active

    def announcements(self) -> list[AnomalyBegan | AnomalyEnded]:
        """What the run's events do not tell yet; from now on they do."""
        over = [key for key in self._announced if key not in self._active]
        new = [key for key in self._active if key not in self._announced]
        ended = [AnomalyEnded(*key, lasted_us=self.now_us - self._announced.pop(key)) for key in over]
        self._announced |= {key: self._active[key].began_us for key in new}
        return [*ended, *(AnomalyBegan(*key, detail=self._active[key].detail) for key in new)]

    def note_began(self, began: AnomalyBegan) -> None:
        """An observer told that it began. If our rules do not find it, it is over after a while (`end_adopted`)."""
        key = (began.rule, began.about)
        if key not in self._announced and len(self._announced) < MOST_ACTIVE:
            self._announced[key] = self.now_us
            if key not in self._active:
                self._active[key] = _Active(self.now_us, began.detail)
                self._adopted[key] = self.now_us

    def note_ended(self, ended: AnomalyEnded) -> None:
        """An observer told that it is over."""
        key = (ended.rule, ended.about)
        self._announced.pop(key, None)
        if key in self._adopted:
            self.end(*key)

    def end_adopted(self, after_us: int) -> None:
        """End those that another observer began so long ago, and our rules have not found since."""
        for key, since_us in list(self._adopted.items()):
            if self.now_us - since_us >= after_us:
                self.end(*key)
