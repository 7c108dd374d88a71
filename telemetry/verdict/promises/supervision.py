"""The promise that whatever crashes is started again. Judged by deaths, births and deeds; a robot's word can convict.

Robots. A death of a robot's process, charged to its budget or not (fleet.py says which is), is followed by its next
life's birth, or by the death of the process that was to live next, within the policy's delay (restarts.py) and 5 s; no
life is born sooner than the delay after a charged death, nor when more than 5 were charged within 30 s. Exempt is

* a death so short before the order to stop that this time was not over, or after it;
* a robot that gave up, said so, and had its budget spent; it is named. Without the word this stays UNPROVEN;
* a robot that was told to wait because no RQ worker is free: it is named, and UNPROVEN if it still waits at the end;
* a robot whose journal is lost: UNPROVEN.

A relay that died is followed by another one: a later entry has a fate, or a start was told. Else this is UNPROVEN.

Workers. A crash of which a life told is followed, within the policy's delay and 1 s, by the word that the same worker
is restarted or given up; nothing is asked of a life that ended before. Delays are those of the policy, no worker is
restarted when more than 5 crashed within 30 s, none is given up before, and a life does not end by itself within 1 s
after a crash without giving up. Crashes that the lab injected are charged to nobody and delayed as a first one, and
must be told by a life that goes on for 6 s, unless the worker had just crashed anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from telemetry.events import DeedFailed, Stamped, WorkerCrashed, WorkerGaveUp, WorkerRestarted
from telemetry.verdict.case import Case
from telemetry.verdict.finding import Finding, broken, held, unproven, worst
from telemetry.verdict.fleet import Death, Downtime, ms_of
from telemetry.verdict.journals import Life
from telemetry.verdict.promises.restarts import (
    MOST_RESTARTS,
    ROBOTS_GRACE_US,
    WINDOW_US,
    WORKERS_GRACE_US,
    longest_us,
    recent,
    shortest_us,
)
from telemetry.verdict.roster import unannounced
from telemetry.verdict.witnesses import first_missing, gaps, waits_us

CLOCKS_DIFFER_US: Final = 1_000_000
"""By so much may the clocks of a robot and of the server differ without a word."""

FELT_US: Final = 5_000_000
"""So long may an injected crash take to reach its worker: it travels as an order."""

_FUZZ_US: Final = 100_000  # between a supervisor's look at its clock and the stamp of what it tells
_INJECTED: Final = "InjectedCrash"


def supervised(case: Case) -> Finding:
    """Every crash was followed by a restart within the policy, and none took a sibling down."""

    def findings() -> Iterator[Finding]:
        for downtime in case.downtimes:
            yield from _late(case, downtime)
            yield from _against_policy(case, downtime)
        for life, events in case.testimony.items():
            yield from _unanswered(life, events)
            yield from _misjudged(life, events)
            yield from _taken_down(case, life, events)
        yield from _unfelt(case)
        yield from _relays(case)
        yield from gaps(case)
        yield from unannounced(case)

    return worst(findings(), otherwise=held(_summary(case)))


def _summary(case: Case) -> str:
    deaths = sum(len(downtime.deaths) for downtime in case.downtimes)
    crashes = sum(isinstance(stamped.event, WorkerCrashed) for events in case.testimony.values() for stamped in events)
    if not deaths and not crashes:
        return "no death of a robot, and no crash of a worker"
    said = f"{deaths} deaths of robots and {crashes} crashes of workers were followed by restarts within the policy"
    resigned = sorted({downtime.robot for downtime in case.downtimes if _gave_up(case, downtime.robot)})
    waited = sorted({downtime.robot for downtime in case.downtimes if _was_waiting(case, downtime)})
    said += f"; gave up, as the policy says: {', '.join(resigned)}" * bool(resigned)
    return said + f"; waited for an RQ worker: {', '.join(waited)}" * bool(waited)


# Robots.


def _late(case: Case, downtime: Downtime) -> Iterator[Finding]:
    """What speaks against whoever should have started the robot again."""
    end_ms = case.end_ms if downtime.birth is None else downtime.birth.at_ms
    untils = [*(death.at_ms for death in downtime.deaths[1:]), end_ms]
    for death, until_ms in zip(downtime.deaths, untils, strict=True):
        away_ms = case.fleet.away_ms(death.at_ms, min(until_ms, case.end_ms))
        allowed_ms = (longest_us(_charged(case, death)) + ROBOTS_GRACE_US) / 1000
        if away_ms <= allowed_ms:
            continue
        took = f"in {away_ms / 1000:.2f} s; {allowed_ms / 1000:.2f} s were allowed"
        doubt = _excuse(case, downtime, death)
        if doubt is not None:
            yield from doubt
        else:
            yield broken(f"{death}, and {death.robot} was not started again {took}", _witness(death))


def _excuse(case: Case, downtime: Downtime, death: Death) -> list[Finding] | None:
    """What is left of a robot that was not started again in time: nothing, a doubt, or None when it has no excuse."""
    robot, comes_back = death.robot, downtime.birth is not None
    journal = case.journals.get(robot)
    if journal is None or journal.lost:
        return [unproven(f"{death}, and its journal is not there: nobody can be born again")]
    if _was_waiting(case, downtime):
        return [] if comes_back else [unproven(f"{robot} waits since its death: no RQ worker is free")]
    if not comes_back and _charged(case, death) > MOST_RESTARTS:
        return (
            [] if _gave_up(case, robot) else [unproven(f"{death}, its budget spent, and did not say that it gave up")]
        )
    return None


def _against_policy(case: Case, downtime: Downtime) -> Iterator[Finding]:
    """What speaks against a life that was born when the policy did not allow it. Several deaths that name one life are
    one, however many told of it."""
    birth, last = downtime.birth, downtime.deaths[-1]
    if birth is None:
        return
    robot, since_ms = downtime.robot, birth.at_ms - last.at_ms
    lives = {
        death.life: death.at_ms * 1000
        for death in case.fleet.deaths[robot]
        if death.is_charged and death.life < birth.life
    }
    crashes = recent(lives.values(), birth.at_ms * 1000)
    witness = f"birth of {robot}/{birth.life}"
    if crashes > MOST_RESTARTS:
        yield broken(f"{robot} was born again although {crashes} charged deaths lie within 30 s", witness)
    is_charged = all(death.is_charged for death in downtime.deaths)
    if is_charged and 0 <= since_ms < shortest_us(crashes) // 1000 - 1:
        yield broken(
            f"{robot} was born again {since_ms} ms after its death, the {crashes}. within 30 s: too soon", witness
        )


def _charged(case: Case, death: Death) -> int:
    """How many deaths of the robot were charged within the window that ends with this one."""
    charged = (other.at_ms * 1000 for other in case.fleet.deaths[death.robot] if other.is_charged)
    return recent(charged, death.at_ms * 1000)


def _gave_up(case: Case, robot: str) -> bool:
    """Whether the robot itself was given up, not a worker of it."""
    return any(isinstance(stamped.event, WorkerGaveUp) and stamped.event.worker == robot for stamped in case.events)


def _was_waiting(case: Case, downtime: Downtime) -> bool:
    start_us = downtime.deaths[0].at_ms * 1000 - CLOCKS_DIFFER_US
    end_us = (case.end_ms if downtime.birth is None else downtime.birth.at_ms) * 1000 + CLOCKS_DIFFER_US
    return any(start_us <= told_us <= end_us for told_us in waits_us(case, downtime.robot))


def _witness(death: Death) -> str:
    return f"death of {death.robot}/{death.life} at {death.at_ms}"


def _relays(case: Case) -> Iterator[Finding]:
    for shard in sorted(case.abandoned_shards & case.fleet.relay_deaths_ms.keys()):
        died_ms = case.fleet.relay_deaths_ms[shard]
        if case.fleet.away_ms(died_ms, case.end_ms) * 1000 > ROBOTS_GRACE_US + longest_us(MOST_RESTARTS):
            yield unproven(f"the relay of shard {shard} died, and nothing shows that another one took its place")


# Workers.


def _unanswered(life: Life, events: list[Stamped]) -> Iterator[Finding]:
    """Crashes after which the life went on and said nothing of the worker."""
    crashes_us = _charged_us(events)
    for place, stamped in enumerate(events):
        if not isinstance(stamped.event, WorkerCrashed):
            continue
        allowed_us = longest_us(recent(crashes_us, stamped.monotonic_us)) + WORKERS_GRACE_US
        answers = (
            later.monotonic_us
            for later in events[place + 1 :]
            if isinstance(later.event, WorkerRestarted | WorkerGaveUp) and later.event.worker == stamped.event.worker
        )
        went_on_us = next(answers, events[-1].monotonic_us) - stamped.monotonic_us
        if went_on_us > allowed_us:
            yield broken(
                f"{_who(life, stamped.event.worker)} crashed, and was not restarted in {went_on_us / 1e6:.2f} s",
                _place(life, stamped),
            )


def _misjudged(life: Life, events: list[Stamped]) -> Iterator[Finding]:
    """Answers that are not those of the policy."""
    crashes_us, is_whole = _charged_us(events), first_missing(events) is None
    injected: dict[str, bool] = {}  # whether a worker's last crash was
    for stamped in events:
        match stamped.event:
            case WorkerCrashed(worker):
                injected[worker] = _is_injected(stamped.event)
            case WorkerRestarted(worker, restart, delay_us):
                crashes = recent(crashes_us, stamped.monotonic_us, WINDOW_US - _FUZZ_US)
                if max(crashes, restart) > MOST_RESTARTS:
                    why = f"was restarted although {max(crashes, restart)} crashes lie within 30 s"
                    yield broken(f"{_who(life, worker)} {why}", _place(life, stamped))
                nth = 1 if injected.get(worker) else restart
                if not shortest_us(nth) <= delay_us <= longest_us(nth):
                    why = f"was restarted after {delay_us} us, as the {nth}. within 30 s"
                    yield broken(f"{_who(life, worker)} {why}", _place(life, stamped))
            case WorkerGaveUp(worker) if is_whole:
                crashes = recent(crashes_us, stamped.monotonic_us, WINDOW_US + _FUZZ_US)
                if crashes <= MOST_RESTARTS:
                    why = f"was given up although only {crashes} crashes lie within 30 s"
                    yield broken(f"{_who(life, worker)} {why}", _place(life, stamped))


def _taken_down(case: Case, life: Life, events: list[Stamped]) -> Iterator[Finding]:
    """A life that ended by itself just after a worker's crash that the policy would have borne."""
    crashes = [stamped for stamped in events if isinstance(stamped.event, WorkerCrashed)]
    if not crashes or any(isinstance(stamped.event, WorkerGaveUp) for stamped in events):
        return
    crash, last = crashes[-1], events[-1]
    if last.monotonic_us - crash.monotonic_us > WORKERS_GRACE_US:
        return
    for death in case.fleet.deaths.get(life[0], ()):
        is_its_own = death.life == life[1] and death.how == "exit" and death.is_charged
        if is_its_own and abs(death.at_ms * 1000 - last.wall_us) <= CLOCKS_DIFFER_US:
            yield broken(f"a crash of {crash.event.worker} took {life[0]}/{life[1]} down with it", _place(life, crash))  # type: ignore[union-attr]


def _unfelt(case: Case) -> Iterator[Finding]:
    """Injected crashes of which the life that went on knows nothing."""
    failed = {stamped.event.text for stamped in case.events if isinstance(stamped.event, DeedFailed)}
    for deed in case.fleet.deeds:
        robot, _, worker = deed.victim.partition("/")
        if not worker or not deed.text.startswith("crash ") or deed.text in failed:
            continue
        due_us = ms_of(deed.id) * 1000
        born = [birth.life for birth in case.births.get(robot, ()) if birth.at_ms * 1000 <= due_us - CLOCKS_DIFFER_US]
        events = case.testimony.get((robot, born[-1]), []) if born else []
        end_us = due_us + FELT_US + CLOCKS_DIFFER_US
        if not events or events[-1].wall_us < end_us or first_missing(events) is not None:
            continue
        felt = (
            due_us - CLOCKS_DIFFER_US - longest_us(MOST_RESTARTS) <= stamped.wall_us <= end_us
            for stamped in events
            if isinstance(stamped.event, WorkerCrashed) and stamped.event.worker == worker
        )
        if not any(felt):
            yield broken(f"{deed.victim} was made to crash, and {robot}/{born[-1]} did not notice", f"deed {deed.id}")


def _charged_us(events: list[Stamped]) -> list[int]:
    """When workers of a life crashed by themselves (its own clock)."""
    return [
        stamped.monotonic_us
        for stamped in events
        if isinstance(stamped.event, WorkerCrashed) and not _is_injected(stamped.event)
    ]


def _is_injected(crash: WorkerCrashed) -> bool:
    return crash.error.startswith(_INJECTED)


def _who(life: Life, worker: str) -> str:
    return f"{worker} of {life[0]}/{life[1]}"


def _place(life: Life, stamped: Stamped) -> str:
    return f"event {stamped.number} of {life[0]}/{life[1]}"
