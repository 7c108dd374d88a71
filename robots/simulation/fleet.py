"""The fleet of a simulated run: every robot and relay is a process of its own in virtual time, restarted when it dies.

It takes the place of RQ workers, supervisor and kernel, and is the injector of process faults (robots/run/chaos.py).

What it models: a killed process does nothing any more between two of its steps, and its clean-ups have no effect. A
paused one does nothing, its timers neither; a robot that is silent for too long is killed, as by its RQ worker. The
server keeps its data when it is killed or restarted, and answers no request meanwhile. RQ workers are no processes of
their own: to kill or restart one is to kill or restart its robot, and none can be paused. The restart of a robot is
no death.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import count
from random import Random
from typing import Any, Final

import msgspec

from broker.errors import Fenced, JournalLost, Unavailable
from broker.memory.relay import MemoryRelay
from broker.memory.run_control import MemoryFleetLog, MemoryRunControl
from broker.memory.server import MemoryServer, memory_ports
from broker.ports.robot import DeathKind
from broker.relay.core import Copy
from robots.channel import Watch
from robots.components import Components
from robots.restart_budget import SERVER, BudgetSpent
from robots.robot import Outside, live
from robots.run.chaos import contradictory_update
from robots.run.deal import Deal, Terms
from robots.simulation.virtual_time import Process, VirtualClock
from robots.supervision import GaveUp, until_answered
from telemetry.events import RECALLED, AnyEvent, ProcessDied, ProcessStarted, RelayResumed
from telemetry.pipeline import Emitter, Next

BIRTH_S: Final = 0.05  # from a robot's death to its next process; the restart policy's delay is added
RELAY_S: Final = 0.05  # from a relay's death to the next one
SERVER_S: Final = 0.3  # from the server's death until it answers again
SILENCE_S: Final = 2.0  # for so long may a robot be paused before it is killed
_SIGKILL: Final = -9  # as a status


class Ended(msgspec.Struct, frozen=True):
    """How a process died, in the terms of the fleet log (`Death` in broker/ports/robot.py)."""

    victim: str
    how: DeathKind
    status: int
    incarnation: int = 0

    @property
    def is_in_order(self) -> bool:
        """Whether it ended itself in order."""
        return (self.how, self.status) == ("exit", 0)


class ProcessSlot:
    """A named place in the fleet that one process after the other fills. It does not know what the processes do."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process: Process | None = None
        self.is_paused = False
        self._ended: asyncio.Future[Ended | None] | None = None

    @property
    def is_filled(self) -> bool:
        """Whether a process lives here; a paused one does."""
        return self.process is not None

    async def fill(self, main: Coroutine[Any, Any, Ended | None]) -> Ended | None:
        """Run `main` as a new process. Returns the result of `main`, or how the process was ended."""
        self.process = Process()
        self._ended = asyncio.get_running_loop().create_future()
        self.process.start(main).add_done_callback(self._on_done)
        return await self._ended

    def end(self, ended: Ended) -> bool:
        """Kill the process, which then ended as `ended`. False when there is none."""
        if self.process is None or self._ended is None:
            return False
        self.process.kill()
        self._empty()
        self._ended.set_result(ended)
        return True

    def pause(self) -> bool:
        """Pause the process. False when there is none, or it is paused already."""
        if self.process is None or self.is_paused:
            return False
        self.process.stop()
        self.is_paused = True
        return True

    def resume(self) -> bool:
        """Resume the process. False when none is paused here."""
        if self.process is None or not self.is_paused:
            return False
        self.is_paused = False
        self.process.resume()
        return True

    def _empty(self) -> None:
        self.process = None
        self.is_paused = False

    def _on_done(self, task: asyncio.Task[Ended | None]) -> None:
        if self._ended is None or self._ended.done() or task.cancelled():
            return  # it was killed before, or the simulation is over
        self._empty()
        error = task.exception()
        if error is not None:
            self._ended.set_exception(error)
        else:
            self._ended.set_result(task.result())


class SimulatedFleet:
    """Keeps the processes running, and is an `Injector` of process faults.

    `emitter` emits the fleet's own events, `sink` handles the events of robots and relays.
    """

    def __init__(
        self,
        run: str,
        deal: Deal,
        terms: Terms,
        server: MemoryServer,
        clock: VirtualClock,
        emitter: Emitter,
        sink: Next,
        components: Components,
    ) -> None:
        self._run = run
        self._deal = deal
        self._terms = terms
        self._server = server
        self._clock = clock
        self._emit: Callable[[AnyEvent], None] = emitter.emit
        self._sink = sink
        self._components = components
        self._run_control = MemoryRunControl(server)
        self._log = MemoryFleetLog(server)
        self._robots = {robot: ProcessSlot(robot) for robot in deal.robots}
        self._relays = {f"relay:{shard}": ProcessSlot(f"relay:{shard}") for shard in range(terms.shards)}
        self._slots = self._robots | self._relays
        self._memory_relays: list[MemoryRelay | None] = [None] * terms.shards
        self._relay_incarnations = [0] * terms.shards
        self._recalled: dict[str, Watch[bool]] = {}  # of each robot's present life
        self._is_server_paused = False
        self._is_over = False
        self._returning: asyncio.Task[None] | None = None  # brings the server back after an injection
        self._verbs: dict[str, Callable[[str], bool]] = {
            "kill": self.kill,
            "pause": self.pause,
            "resume": self.resume,
            "restart": self.restart,
            "crash": self.crash,
            "contradict": self.contradict,
            "amnesia": self.amnesia,
        }
        self.tasks: list[asyncio.Task[None]] = []
        """One for each slot: they run the slot's processes. A bug of ours ends one of them with its error."""

    @property
    def living(self) -> list[str]:
        """The names of the robots and relays that live now."""
        return [name for name, slot in self._slots.items() if slot.is_filled]

    @property
    def is_whole(self) -> bool:
        """Whether every robot that will live again lives."""
        return all(task.done() or self._robots[task.get_name()].is_filled for task in self._robot_tasks)

    def start(self) -> None:
        """Start all relays, then all robots."""
        for shard, slot in enumerate(self._relays.values()):
            self._begin(slot, self._run_relays(shard, slot))
        for slot in self._robots.values():
            self._begin(slot, self._run_lives(slot))

    async def leave(self) -> None:
        """After the order `stop`: resume what is paused, and wait until all lives have ended. A dead robot is not
        restarted."""
        self._is_over = True
        if self._is_server_paused:
            self.resume(SERVER)
        for name in self.living:
            self.resume(name)
        for task in self._robot_tasks:
            await task

    def drain(self) -> None:
        """End the relays, and deliver all that they hold."""
        for task, slot in zip(self.tasks[: len(self._relays)], self._relays.values(), strict=True):
            task.cancel()
            slot.pause()
        for shard, (slot, current) in enumerate(zip(self._relays.values(), self._memory_relays, strict=True)):
            relay = current if current is not None and slot.is_filled else self._relay(shard)
            relay.drain()

    # Running processes

    @property
    def _robot_tasks(self) -> list[asyncio.Task[None]]:
        return self.tasks[len(self._relays) :]

    def _begin(self, slot: ProcessSlot, main: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(main, name=slot.name))

    async def _run_lives(self, slot: ProcessSlot) -> None:
        """One life after the other, as an RQ worker does."""
        for number in count(1):
            recalled = self._recalled[slot.name] = Watch(False)
            ended = await slot.fill(self._life(slot.name, number, recalled))
            if ended is None:
                return
            if not ended.is_in_order:
                await self._report_death(ended, slot.name)
            await asyncio.sleep(BIRTH_S)
            await self._await_server()
            if self._is_over:
                return

    async def _life(self, robot: str, number: int, recalled: Watch[bool]) -> Ended | None:
        chance = Random(f"{self._terms.seed}/{robot}/{number}")  # noqa: S311  a simulation has to be repeatable
        nonce = f"{chance.getrandbits(64):016x}"
        ports = memory_ports(self._server, robot, nonce)
        outside = Outside(ports, self._clock, chance, nonce, self._sink, recalled=recalled)
        try:
            if await live(self._run, robot, outside, self._components) == RECALLED:
                return Ended(robot, "exit", 0)
        except (GaveUp, Unavailable):
            return Ended(robot, "exit", 1, self._incarnation(robot))
        except (Fenced, JournalLost, BudgetSpent):
            pass  # no further life will follow
        return None

    def _incarnation(self, robot: str) -> int:
        """The last life that was claimed in a robot's journal."""
        journal = self._server.journals.get(robot)
        return journal.rows[-1].incarnation if journal is not None else 0

    async def _run_relays(self, shard: int, slot: ProcessSlot) -> None:
        while True:
            relay = self._memory_relays[shard] = self._relay(shard)
            ended = await slot.fill(_relaying(relay))
            assert ended is not None, "a relay never ends by itself"
            await self._report_death(ended, "")
            await asyncio.sleep(RELAY_S)
            await self._await_server()
            self._emit(ProcessStarted(slot.name, 0))

    def _relay(self, shard: int) -> MemoryRelay:
        incarnation = self._relay_incarnations[shard]
        self._relay_incarnations[shard] += 1
        emitter = Emitter(self._run, f"relay:{shard}", incarnation, self._clock, self._sink)
        if incarnation:
            emitter.emit(RelayResumed(shard, len(self._server.outboxes[shard].pending)))
        core = self._components.relay(self._run, self._terms.seed)
        return MemoryRelay(self._server, shard, core, emitter.emit)

    async def _report_death(self, ended: Ended, robot: str) -> None:
        self._emit(ProcessDied(ended.victim, 0, ended.status))

        async def log_death() -> None:
            self._log.death(ended.victim, robot, ended.incarnation, ended.how, ended.status)

        await until_answered(log_death)

    async def _await_server(self) -> None:
        async def request() -> None:
            self._server.answer()

        await until_answered(request)

    async def _restore_server(self, how: DeathKind, status: int) -> None:
        await asyncio.sleep(SERVER_S)
        self._server.is_away = False
        await self._report_death(Ended(SERVER, how, status), "")
        self._emit(ProcessStarted(SERVER, 0))

    # Injections

    def can(self, fault: str, name: str) -> bool:
        if name == SERVER:
            return True  # while it is away the fleet log cannot be written, so nothing is injected
        if fault == "contradict":
            return bool(self._deal.parts_of(name))
        slot = self._slots.get(name if fault == "pause" else name.removeprefix("rq:"))
        return slot is not None and slot.is_filled and not (fault == "pause" and slot.is_paused)

    def inject(self, verb: str, victim: str) -> bool:
        return self._verbs[verb](victim)

    def kill(self, name: str) -> bool:
        if name == SERVER:
            return self._stop_server("signal", _SIGKILL)
        return self._end(name, "signal", _SIGKILL)

    def restart(self, name: str) -> bool:
        if name == SERVER:
            return self._stop_server("exit", 0)
        if name in self._relays:
            return self._end(name, "exit", 0)
        robot = self._robots.get(name.removeprefix("rq:"))
        if robot is None or not robot.is_filled:
            return False
        self._recalled[robot.name].set(True)
        return True

    def pause(self, name: str) -> bool:
        if name == SERVER:
            self._is_server_paused = not self._server.is_away
            self._server.is_away = True
            return self._is_server_paused
        slot = self._slots.get(name)
        if slot is None or not slot.pause():
            return False
        if name in self._robots:
            asyncio.get_running_loop().call_later(SILENCE_S, self._kill_silent, slot, slot.process)
        return True

    def resume(self, name: str) -> bool:
        if name == SERVER:
            was_paused, self._is_server_paused = self._is_server_paused, False
            self._server.is_away &= not was_paused
            return was_paused
        slot = self._slots.get(name)
        return slot is not None and slot.resume()

    def crash(self, victim: str) -> bool:
        self._run_control.order("crash", victim.encode())
        return True

    def contradict(self, robot: str) -> bool:
        dealt, names = self._deal.parts_of(robot), self._deal.robots
        if not dealt:
            return False
        self._server.contradictions[robot] += 1
        sender = names[(names.index(robot) + 1) % len(names)]
        contradictory = contradictory_update(self._run, dealt[0], robot, sender, self._server.contradictions[robot])
        self._server.deliver(Copy("0-0", 0, robot, contradictory, 0))
        return True

    def amnesia(self, robot: str) -> bool:
        if not self.kill(robot):
            return False
        del self._server.journals[robot]
        return True

    def _end(self, name: str, how: DeathKind, status: int) -> bool:
        place = name.removeprefix("rq:")
        slot = self._slots.get(place)
        return slot is not None and slot.end(Ended(name, how, status, self._incarnation(place)))

    def _kill_silent(self, slot: ProcessSlot, process: Process | None) -> None:
        """Kill the process if it is still the same, and still paused."""
        if slot.process is process and slot.is_paused:
            self._end(slot.name, "silent", _SIGKILL)

    def _stop_server(self, how: DeathKind, status: int) -> bool:
        if self._server.is_away:
            return False
        self._server.is_away = True
        self._returning = asyncio.get_running_loop().create_task(self._restore_server(how, status))
        return True


async def _relaying(relay: MemoryRelay) -> None:
    await relay.run()
