"""An event loop in virtual time: the clock jumps to the next deadline as soon as no task is ready.

Deterministic: whole microseconds, and equal deadlines in the order in which they were set. No sockets, no threads, no
signals: a task that waits for the outside would wait for ever, and the loop raises `NothingToDo`.

Tasks that share a `Process` can be stopped together, as the kernel stops a process: none of them runs, and none
notices. The tasks of a killed process are closed at once, or thousands of lives would stay in memory until the end.
Python runs the `finally` blocks of a closed coroutine. These must not reach anything outside of the process; what they
schedule or await never runs.
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
    """Every task waits, and no timer is set: the simulation can never continue."""


class Process:
    """Tasks that are stopped and resumed together: those of `start`, and all that they create."""

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
        """Create a task of this process that runs `main`."""
        return self._loop.create_task(main, context=self._context)

    @property
    def is_running(self) -> bool:
        """Whether it is neither stopped nor dead."""
        return not self._is_dead and self not in self._loop.stopped

    def stop(self) -> None:
        """SIGSTOP: its callbacks wait from now on."""
        self._loop.stopped[self] = None

    def kill(self) -> None:
        """SIGKILL: its tasks are closed. A process cannot kill itself."""
        self._is_dead = True
        self._loop.stopped.pop(self, None)
        tasks, self._tasks = self._tasks, []
        for task in reversed(tasks):
            self._context.run(_close, task)

    def resume(self) -> None:
        """SIGCONT: the callbacks that waited run at once, in their order."""
        self._loop.stopped.pop(self, None)
        put_off, self._put_off = self._put_off, []
        self._loop.put_ready(put_off)

    def put_off(self, handle: asyncio.Handle) -> None:
        """Keep a callback of a stopped process; drop it if the process is dead."""
        if not self._is_dead:
            self._put_off.append(handle)

    def own(self, task: asyncio.Task[Any]) -> None:
        """Register a task that was created in this process."""
        self._tasks = [other for other in self._tasks if not other.done()]
        self._tasks.append(task)


def _close(task: asyncio.Task[Any]) -> None:
    """Close a task's coroutine; a `finally` block that awaits is closed there."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio must not report that it never ended
    coroutine = task.get_coro()
    while not _is_closed(task):
        with suppress(RuntimeError):
            coroutine.close()


def _is_closed(task: asyncio.Task[Any]) -> bool:
    coroutine = task.get_coro()
    return inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


_process: ContextVar[Process | None] = ContextVar("process", default=None)


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """An asyncio loop without I/O and without real waiting."""

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
        """One iteration, as of asyncio's own loop. The clock moves only when nothing is ready."""
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
        """Run these in the next iteration."""
        self._ready.extend(handles)  # type: ignore[attr-defined]

    def _jump(self) -> None:
        """Move the clock to the next deadline that is not cancelled. All its timers become ready, in the order in which
        they were set."""
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
    """Run `main` to its end in virtual time, and return its result. Tasks that are left are cancelled."""
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
        process.resume()  # cancelled tasks only end
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task
