"""OTP's ideas in two pieces: a pure restart policy, and a supervisor that obeys it for tasks on an event loop.

A crash is isolated (one for one): siblings run on, channels keep their content, the crashed child is made anew after a
back-off. When the policy gives up, the failure is escalated to whoever runs the supervisor.

What a worker does while the server is away: the same again, until there is an answer. An outage is no crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import msgspec

from broker.errors import Unavailable
from robots.env import Env
from telemetry.events import WorkerCrashed, WorkerGaveUp, WorkerRestarted

T = TypeVar("T")
RETRY_PAUSE_S: Final = 0.1  # between tries; the ports themselves have insisted before they gave up


async def until_answered(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer to `ask`, which may safely be asked again (see broker/ports/robot.py)."""
    while True:
        try:
            return await ask()
        except Unavailable:
            await asyncio.sleep(RETRY_PAUSE_S)


PAUSE_S: Final = 0.001  # between two looks whether cancelled children have ended


class Restart(msgspec.Struct, frozen=True):
    """Start it again after `delay_us`; it is the `number`-th restart within the window."""

    number: int
    delay_us: int


class GiveUp(msgspec.Struct, frozen=True):
    """More crashes in the window than the policy bears."""

    crashes: int


class RestartPolicy(msgspec.Struct, frozen=True):
    """At most `max_restarts` in any `window_us`, each after a delay that doubles up to `longest_delay_us`.

    `jitter` spreads a delay by up to that share in both directions, so that what fell together does not rise together.
    """

    max_restarts: int = 5
    window_us: int = 30_000_000
    first_delay_us: int = 20_000
    longest_delay_us: int = 2_000_000
    jitter: float = 0.2

    def decide(self, crashes_us: Sequence[int], now_us: int, chance: float) -> Restart | GiveUp:
        """What to do after a crash now. `crashes_us`: when there were any, this one included; `chance` in [0, 1)."""
        recent = self._recent(crashes_us, now_us)
        if recent > self.max_restarts:
            return GiveUp(recent)
        return Restart(recent, self._delay_us(recent, chance))

    def pardon(self, crashes_us: Sequence[int], now_us: int, chance: float) -> Restart:
        """What to do after a crash now that is not charged; `crashes_us` are those that are."""
        return Restart(self._recent(crashes_us, now_us), self._delay_us(1, chance))

    def _recent(self, crashes_us: Sequence[int], now_us: int) -> int:
        return sum(now_us - crash < self.window_us for crash in crashes_us)

    def _delay_us(self, recent: int, chance: float) -> int:
        delay = min(self.first_delay_us << (recent - 1), self.longest_delay_us)
        return round(delay * (1 + self.jitter * (2 * chance - 1)))


class GaveUp(Exception):
    """The supervisor's budget is spent; the message names the child that crashed last."""


class InjectedCrash(Exception):
    """A crash that was asked for. It is not charged to the budget."""


class Child(msgspec.Struct, frozen=True):
    """What is supervised: a name, and how to make and run it anew. `run` must never return by itself."""

    name: str
    run: Callable[[], Awaitable[None]]


class Supervisor:
    """Runs children until told to stop. `fatal` errors are no crashes: they end everything at once."""

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
        self._injected: set[str] = set()  # children whose crash was asked for, and who have not ended yet
        self._retired: set[str] = set()
        self._alarms: list[asyncio.TimerHandle] = []
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Run all children until `stop`. Raises GaveUp, or the fatal error that a child met."""
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
        """Let the child of that name crash, wherever it stands; False when it is not running."""
        task = self._tasks.get(name)
        if task is None or task.done() or self._ended.done():
            return False
        self._injected.add(name)
        return task.cancel()

    def retire(self, name: str) -> bool:
        """End the child of that name for good, which is no crash, while its siblings run on. Whether it has ended: to
        be called again until it has, because a timeout inside a client library may swallow a cancellation."""
        self._retired.add(name)
        task = self._tasks[name]
        if not task.done():
            task.cancel()
        return task.done()

    def _start(self, child: Child) -> None:
        if self._ended.done() or child.name in self._retired:
            return
        task = asyncio.get_running_loop().create_task(_run(child), name=child.name)
        self._tasks[child.name] = task
        task.add_done_callback(lambda done: self._on_done(child, done))

    def _on_done(self, child: Child, task: asyncio.Task[None]) -> None:
        if self._ended.done():
            return
        is_injected = child.name in self._injected and task.cancelled()
        self._injected.discard(child.name)
        error = InjectedCrash("injected") if is_injected else _error_of(task)
        if isinstance(error, self._fatal):
            self._ended.set_exception(error)
            return
        if child.name in self._retired:
            return
        self._emit(WorkerCrashed(child.name, f"{type(error).__name__}: {error}"[:500]))
        decision = self._decide(is_charged=not is_injected)
        if isinstance(decision, GiveUp):
            self._emit(WorkerGaveUp(child.name, decision.crashes))
            failure = GaveUp(child.name)
            failure.__cause__ = error
            self._ended.set_exception(failure)
            return
        self._emit(WorkerRestarted(child.name, decision.number, decision.delay_us))
        loop = asyncio.get_running_loop()
        self._alarms.append(loop.call_later(decision.delay_us / 1_000_000, self._start, child))

    def _decide(self, is_charged: bool) -> Restart | GiveUp:
        now = self._clock.monotonic_us()
        if not is_charged:
            return self._policy.pardon(self._crashes_us, now, self._chance.random())
        self._crashes_us.append(now)
        return self._policy.decide(self._crashes_us, now, self._chance.random())

    async def _end_all(self) -> None:
        for alarm in self._alarms:
            alarm.cancel()
        while running := [task for task in self._tasks.values() if not task.done()]:
            for task in running:
                task.cancel()  # again, if need be: a timeout inside a client library may swallow one
            await asyncio.sleep(PAUSE_S)
        for task in self._tasks.values():
            if not task.cancelled():
                task.exception()  # seen, so that nobody complains of it


def _error_of(task: asyncio.Task[None]) -> BaseException:
    """What a child ended of. None of them may end by itself, nor by a cancellation that was not ours."""
    if task.cancelled():
        return asyncio.CancelledError("cancelled by nobody")
    return task.exception() or RuntimeError("returned, which a worker never does")


async def _run(child: Child) -> None:
    await child.run()
