"""How a fault of processes is written, without its time: the part of the grammar that names deeds and their victims.

Part of broker/grammar.py, which reads the times, and through which alone this is used. Robots are meant by number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, Literal

from broker.deeds import WORKERS, Amnesia, Contradict, Crash, Kill, Pause, ProcessFault, Restart, Resume, Victim
from broker.spelling import Word, Words, one_of

_NUMBERED: Final = re.compile(r"(rq:r|relay:|r)([0-9]{1,7})")
_KINDS: Final[Mapping[str, Literal["robot", "rq", "relay"]]] = {"r": "robot", "rq:r": "rq", "relay:": "relay"}
_VICTIM_HELP: Final = "a process such as r03, rq:r03, relay, relay:1, supervisor, redis or robot (any)"
_SUPERVISED_HELP: Final = "a process such as r03, rq:r03, relay, relay:1, redis or robot (any)"


def _kill(words: Words) -> ProcessFault:
    return Kill(_victim(words.take()))


def _pause(words: Words) -> ProcessFault:
    return Pause(_supervised(words.take()))


def _resume(words: Words) -> ProcessFault:
    word = words.take()
    allowed = "a process that is paused, such as r03, rq:r03, relay:1 or redis"
    victim = _supervised(word, allowed)
    if victim.is_any:
        raise word.misspelt(allowed)
    return Resume(victim)


def _restart(words: Words) -> ProcessFault:
    return Restart(_supervised(words.take()))


def _crash(words: Words) -> ProcessFault:
    robot, worker = words.take().cut("/")
    victim = _robot(robot, "a worker such as r03/secret_merger")
    if worker is None:
        raise robot.misspelt(f"{robot.text}/ and a worker: {', '.join(WORKERS)}")
    if worker.text not in WORKERS:
        raise worker.misspelt(one_of(WORKERS, worker.text))
    return Crash(victim, worker.text)


def _contradict(words: Words) -> ProcessFault:
    return Contradict(_robot(words.take()))


def _amnesia(words: Words) -> ProcessFault:
    return Amnesia(_robot(words.take()))


DEED_READERS: Final[dict[str, Callable[[Words], ProcessFault]]] = {
    "kill": _kill,
    "pause": _pause,
    "resume": _resume,
    "restart": _restart,
    "crash": _crash,
    "contradict": _contradict,
    "amnesia": _amnesia,
}


def _victim(word: Word, allowed: str = _VICTIM_HELP) -> Victim:
    match word.text:
        case "robot" | "relay" | "supervisor" | "redis" as kind:
            return Victim(kind)
    numbered = _NUMBERED.fullmatch(word.text)
    if numbered is None:
        raise word.misspelt(allowed)
    return Victim(_KINDS[numbered[1]], int(numbered[2]))


def _supervised(word: Word, allowed: str = _SUPERVISED_HELP) -> Victim:
    """Anybody but the supervisor: whoever does the deed must be there to end it."""
    victim = _victim(word, allowed)
    if victim.kind == "supervisor":
        raise word.misspelt(allowed)
    return victim


def _robot(word: Word, allowed: str = "a robot such as r03") -> Victim:
    victim = _victim(word, allowed)
    if victim.kind != "robot" or victim.number is None:
        raise word.misspelt(allowed)
    return victim
