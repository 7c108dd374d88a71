"""Supervision after OTP: a pure restart policy, and a supervisor that applies it to tasks on an event loop.

A crash is isolated (one for one): siblings run on, channels keep their items, and the crashed child is created anew
after a back-off. When the policy gives up, the failure is escalated to the caller of the supervisor.

An outage of the server is no crash: `until_answered` repeats a request until the server answers.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import msgspec

from broker.errors import Unavailable
from robots.env import Env
from telemetry.events import WorkerCrashed, WorkerGaveUp, WorkerLeft, WorkerRestarted, WorkerStarted

T = TypeVar("T")
RETRY_PAUSE_S: Final = 0.1  # between tries; a port has retried itself before it raises
CLEAN_UP_S: Final = 0.05  # for a child that is to crash, to clean up and end
PAUSE_S: Final = 0.001  # between two checks whether cancelled children have ended


async def until_answered(request: Callable[[], Awaitable[T]]) -> T:
    """The answer to `request`, which is repeated while it raises Unavailable: it must be safe to repeat."""
    while True:
        try:
            return await request()
        except Unavailable:
            await asyncio.sleep(RETRY_PAUSE_S)


class RestartAfter(msgspec.Struct, frozen=True):
    """Start it again after `delay_us`; it is the `number`-th restart within the window."""

    number: int
    delay_us: int


class GiveUp(msgspec.Struct, frozen=True):
    """Do not start it again: more crashes in the window than the policy allows."""

    crashes: int


class RestartPolicy(msgspec.Struct, frozen=True):
    """At most `max_restarts` in any `window_us`, each after a delay that doubles up to `longest_delay_us`.

    `jitter` spreads a delay by up to that share in both directions, so that children that crashed together do not start
    together.
    """

    max_restarts: int = 5
    window_us: int = 30_000_000
    first_delay_us: int = 20_000
    longest_delay_us: int = 2_000_000
    jitter: float = 0.2

    def decide(self, crashes_us: Sequence[int], now_us: int, chance: float) -> RestartAfter | GiveUp:
        """The decision after a crash now. `crashes_us`: the times of all crashes, this one included; `chance` in [0,
        1)."""
        recent = self._recent(crashes_us, now_us)
        if recent > self.max_restarts:
            return GiveUp(recent)
        return RestartAfter(recent, self._delay_us(recent, chance))

    def excuse(self, crashes_us: Sequence[int], now_us: int, chance: float) -> RestartAfter:
        """The decision after a crash that is not charged; `crashes_us`: the times of those that are."""
        return RestartAfter(self._recent(crashes_us, now_us), self._delay_us(1, chance))

    def _recent(self, crashes_us: Sequence[int], now_us: int) -> int:
        return sum(now_us - crash < self.window_us for crash in crashes_us)

    def _delay_us(self, recent: int, chance: float) -> int:
        delay = min(self.first_delay_us << (recent - 1), self.longest_delay_us)
        return round(delay * (1 + self.jitter * (2 * chance - 1)))


class GaveUp(Exception):
    """The restart policy gave up; the message names the child that crashed last."""


class InjectedCrash(Exception):
    """An injected crash. It is not charged to the restart policy."""


class Child(msgspec.Struct, frozen=True):
    """A supervised task: its name, and how to create and run it. `run` must never return by itself."""

    name: str
    run: Callable[[], Awaitable[None]]


class Supervisor:
    """Runs children until `stop`. `fatal` errors are no crashes: they end all children at once."""

    def __init__(
        self,
        children: Sequence[Child],
        policy: RestartPolicy,
        env: Env,
        fatal: tuple[type[Exception], ...] = (),
    ) -> None:
        self._children = children
        self._policy = policy
        self._clock = env.clock
        self._chance = env.chance
        self._emit = env.emit
        self._fatal = fatal
        self._crashes_us: list[int] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._injected: set[str] = set()  # children with an injected crash that have not ended yet
        self._retired: set[str] = set()
        self._left: set[str] = set()  # children that lived when they were to end
        self._alarms: list[asyncio.TimerHandle] = []
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Run all children until `stop`. Raises GaveUp, or a child's fatal error."""
        for child in self._children:
            self._start(child)
        try:
            await self._ended
        finally:
            await self._end_all()

    def stop(self) -> None:
        """End all children in order; `run` returns."""
        if not self._ended.done():
            self._ended.set_result(None)

    def crash(self, name: str) -> bool:
        """Crash the child of that name, wherever it waits; False when it is not running."""
        task = self._tasks.get(name)
        if task is None or task.done() or self._ended.done():
            return False
        self._injected.add(name)
        self._cancel(task)
        return True

    def _cancel(self, task: asyncio.Task[None]) -> None:
        """Cancel a task, and again until it has ended: a timeout inside a client library may swallow one."""
        if not task.done():
            task.cancel()
            self._alarms.append(asyncio.get_running_loop().call_later(CLEAN_UP_S, self._cancel, task))

    def retire(self, name: str) -> bool:
        """End the child of that name for good; that is no crash, and its siblings run on. Returns whether it has ended:
        call it again until it has, because a timeout inside a client library may swallow a cancellation."""
        self._retired.add(name)
        task = self._tasks[name]
        if not task.done():
            task.cancel()
        return task.done()

    def _start(self, child: Child, is_restart: bool = False) -> None:
        if self._ended.done() or child.name in self._retired:
            return
        task = asyncio.get_running_loop().create_task(self._run(child, is_restart), name=child.name)
        self._tasks[child.name] = task
        task.add_done_callback(lambda done: self._on_done(child, done))

    async def _run(self, child: Child, is_restart: bool) -> None:
        """Run the child as its own task, which shows that it lives: no word of the supervisor's proves it."""
        if is_restart:
            self._emit(WorkerStarted(child.name))
        try:
            await child.run()
        finally:
            is_killed = isinstance(sys.exception(), GeneratorExit)  # then nothing may reach the outside
            if not is_killed and (child.name in self._retired or self._has_ended_in_order):
                self._left.add(child.name)
                self._emit(WorkerLeft(child.name))

    def _was_ended(self, child: Child, task: asyncio.Task[None], is_injected: bool) -> bool:
        """Whether it was this supervisor that ended the child: then it has not crashed."""
        if child.name in self._left:
            return True
        return self._ended.done() and (not self._has_ended_in_order or (task.cancelled() and not is_injected))

    @property
    def _has_ended_in_order(self) -> bool:
        return self._ended.done() and not self._ended.cancelled() and self._ended.exception() is None

    def _on_done(self, child: Child, task: asyncio.Task[None]) -> None:
        is_injected = child.name in self._injected and task.cancelled()
        self._injected.discard(child.name)
        if self._was_ended(child, task, is_injected):
            return
        error = InjectedCrash("injected") if is_injected else _error_of(task)
        if isinstance(error, self._fatal) and not self._ended.done():
            self._ended.set_exception(error)
            return
        self._emit(WorkerCrashed(child.name, f"{type(error).__name__}: {error}"[:500]))
        if self._ended.done() or child.name in self._retired:
            return  # it crashed just before, and nothing is to run again
        decision = self._decide(is_charged=not is_injected)
        if isinstance(decision, GiveUp):
            self._emit(WorkerGaveUp(child.name, decision.crashes))
            failure = GaveUp(child.name)
            failure.__cause__ = error
            self._ended.set_exception(failure)
            return
        self._emit(WorkerRestarted(child.name, decision.number, decision.delay_us))
        loop = asyncio.get_running_loop()
        self._alarms.append(loop.call_later(decision.delay_us / 1_000_000, self._start, child, True))

    def _decide(self, is_charged: bool) -> RestartAfter | GiveUp:
        now = self._clock.monotonic_us()
        if not is_charged:
            return self._policy.excuse(self._crashes_us, now, self._chance.random())
        self._crashes_us.append(now)
        return self._policy.decide(self._crashes_us, now, self._chance.random())

    async def _end_all(self) -> None:
        for alarm in self._alarms:
            alarm.cancel()
        while running := [task for task in self._tasks.values() if not task.done()]:
            for task in running:
                task.cancel()  # repeated: a timeout inside a client library may swallow one
            await asyncio.sleep(PAUSE_S)
        for task in self._tasks.values():
            if not task.cancelled():
                task.exception()  # retrieved, so that asyncio does not report it


def _error_of(task: asyncio.Task[None]) -> BaseException:
    """The error that ended a child. A child that returns, or that something else cancelled, has crashed, too."""
    if task.cancelled():
        return asyncio.CancelledError("cancelled, but not by the supervisor")
    return task.exception() or RuntimeError("returned, which a worker never does")
