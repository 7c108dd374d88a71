"""Supervision inside a robot in words: its workers and how each is, and what of its restart budget is used.

The rule is the one that the judge states (telemetry/verdict/checks/restart_policy.py). What is charged is read from
events: a death or a crash that was not injected.
"""

from __future__ import annotations

from typing import Final

from telemetry.drawing.line import Tone
from telemetry.phrases import seconds
from telemetry.scene.processes.lifelines import INJECTED
from telemetry.scene.processes.stretches import deaths_in
from telemetry.scene.processes.workers import WorkerState
from telemetry.scene.scene import Scene
from telemetry.verdict.checks.restart_policy import MOST_RESTARTS, WINDOW_US, longest_us, recent, shortest_us

WORKERS: Final = ("inbox_reader", "summary_processor", "secret_merger", "gossip_initiator", "convergence_detector")
"""The five that every robot has; its ports are supervised like them, and are named once they crash."""

_UNCHARGED: Final = (INJECTED, "recalled", "gave way")


def worker_state(worker: WorkerState, scene: Scene, robot: str) -> tuple[str, Tone]:
    """How a worker is, as far as events tell."""
    seen = scene.view.robots.get(robot)
    if seen is None or seen.state != "alive":
        return "not there: its robot does not live", "dim"
    if worker.has_given_up:
        return "crashed too often", "bad"
    if worker.is_running:
        return "runs", "good"
    if worker.again_us is None or worker.again_us <= scene.now_us:
        return "crashed", "bad"
    return f"crashed; starts again in {seconds(worker.again_us - scene.now_us)}", "bad"


def charged(scene: Scene, robot: str) -> tuple[int, int]:
    """Deaths of a robot within the window, and crashes of workers in its present life, that count against a budget."""
    line = scene.lifelines.lines.get(robot, ())
    deaths = deaths_in(line, scene.now_us - WINDOW_US)
    own = sum(not any(word in death.why for word in _UNCHARGED) for death in deaths)
    return own, recent(scene.workers.charged.get(robot, ()), scene.now_us)


def budget_text(scene: Scene, robot: str) -> str:
    """Both budgets, and what follows the next crash of a worker."""
    deaths, crashes = charged(scene, robot)
    used = f"charged in {WINDOW_US // 1_000_000} s: {deaths} of {MOST_RESTARTS} deaths"
    return f"{used}, {crashes} of {MOST_RESTARTS} worker crashes; {_next(crashes)}"


def _next(crashes: int) -> str:
    if crashes >= MOST_RESTARTS:
        return "next: the life ends"
    delay_us = (shortest_us(crashes + 1) + longest_us(crashes + 1)) // 2
    return f"next waits {seconds(delay_us)}"
