"""An event loop on which time is a number: it jumps to the next deadline as soon as nobody has anything to do.

Deterministic: whole microseconds, and equal deadlines in the order in which they were set. No sockets, no threads, no
signals: whoever waits for the outside here waits for ever, and that is reported as `NothingToDo`.

What shares a `Process` can be stopped as one, as the kernel stops a process: nothing of it runs any more, and it does
not notice. What is killed is let go of at once, or thousands of lives would stay in memory until the end. No language
frees a coroutine without its `finally` blocks, so these do run then; they must not reach anything outside of the
process, and whatever they would do later, or wait for, never comes.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
from asyncio import events
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
EPOCH_US: Final = 946_684_800_000_000  # a simulated wall clock begins at 2000-01-01 00:00 UTC


class NothingToDo(RuntimeError):
    """Every task waits, and no timer is set: the simulation can never go on."""


class Process:
    """Tasks that are stopped and continued together: those that `start` began, and all that they begin themselves."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        self._loop = loop
        self._is_dead = False
        self._put_off: list[asyncio.Handle] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._context = copy_context()
        self._context.run(_process.set, self)

    def start(self, main: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin `main` as a task of this process."""
        return self._loop.create_task(main, context=self._context)

    @property
    def is_running(self) -> bool:
        """Whether it is neither stopped nor dead."""
        return not self._is_dead and self not in self._loop.stopped

    def stop(self) -> None:
        """SIGSTOP: whatever it would do from now on waits."""
        self._loop.stopped[self] = None

    def kill(self) -> None:
        """SIGKILL: it does nothing any more. Must not be called by the process itself."""
        self._is_dead = True
        self._loop.stopped.pop(self, None)
        tasks, self._tasks = self._tasks, []
        for task in reversed(tasks):
            self._context.run(_let_go, task)

    def resume(self) -> None:
        """SIGCONT: it does at once what it would have done in between, in that order."""
        self._loop.stopped.pop(self, None)
        put_off, self._put_off = self._put_off, []
        self._loop.put_ready(put_off)

    def put_off(self, handle: asyncio.Handle) -> None:
        """Keep what a stopped process would do; of a dead one nothing is kept."""
        if not self._is_dead:
            self._put_off.append(handle)

    def own(self, task: asyncio.Task[Any]) -> None:
        """Know a task that was begun in this process."""
        self._tasks = [other for other in self._tasks if not other.done()]
        self._tasks.append(task)


def _let_go(task: asyncio.Task[Any]) -> None:
    """Close what a task runs; a `finally` block that begins to wait is closed there."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # nobody has to be told that it never ended
    coroutine = task.get_coro()
    while not _is_closed(task):
        with suppress(RuntimeError):
            coroutine.close()


def _is_closed(task: asyncio.Task[Any]) -> bool:
    coroutine = task.get_coro()
    return inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


_process: ContextVar[Process | None] = ContextVar("process", default=None)


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """An asyncio loop without input, output and waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now_us = 0
        self.stopped: dict[Process, None] = {}
        self._timers: list[tuple[int, int, events.TimerHandle]] = []
        self._timers_set = 0

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: Context | None = None,
        **more: Any,
    ) -> asyncio.Task[T]:
        task = super().create_task(coro, name=name, context=context, **more)
        process = _process.get() if context is None else context.get(_process)
        if process is not None:
            process.own(task)
        return task

    def time(self) -> float:
        return self.now_us / 1_000_000

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> events.TimerHandle:
        timer = events.TimerHandle(when, callback, args, self, context)
        self._timers_set += 1
        heapq.heappush(self._timers, (round(when * 1_000_000), self._timers_set, timer))
        return timer

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> events.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: events.TimerHandle) -> None:
        """Cancelled timers are skipped when their time comes."""

    def _run_once(self) -> None:
        """One turn, as asyncio's own loop makes it: the clock moves only when nothing is ready."""
        ready = self._ready  # type: ignore[attr-defined]
        if not ready:
            self._jump()
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(_process)
            if process is None or process.is_running:
                handle._run()
            else:
                process.put_off(handle)

    def put_ready(self, handles: Iterable[asyncio.Handle]) -> None:
        """Let these run in the next turn."""
        self._ready.extend(handles)  # type: ignore[attr-defined]

    def _jump(self) -> None:
        """To the next deadline that still counts; all its timers become ready, in the order in which they were set."""
        ready = self._ready  # type: ignore[attr-defined]
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not timers:
            if self._stopping:  # type: ignore[attr-defined]
                return
            raise NothingToDo
        self.now_us = max(self.now_us, timers[0][0])
        while timers and timers[0][0] <= self.now_us:
            timer = heapq.heappop(timers)[2]
            if not timer.cancelled():
                ready.append(timer)


class VirtualClock:
    """The clock of such a loop."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop

    def monotonic_us(self) -> int:
        return self._loop.now_us

    def wall_us(self) -> int:
        return EPOCH_US + self._loop.now_us


def run_virtually(main: Callable[[VirtualClock], Coroutine[Any, Any, T]]) -> T:
    """What `main` returns, run to its end in virtual time. Tasks that it leaves behind are cancelled."""
    loop = VirtualTimeLoop()
    try:
        return loop.run_until_complete(main(VirtualClock(loop)))
    finally:
        loop.run_until_complete(_cancel_all(loop))
        loop.close()


async def _cancel_all(loop: VirtualTimeLoop) -> None:
    tasks = {task for task in asyncio.all_tasks(loop) if not _is_closed(task)} - {asyncio.current_task(loop)}
    for task in tasks:
        task.cancel()
    for process in list(loop.stopped):
        process.resume()  # what is cancelled does nothing any more but end
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task
