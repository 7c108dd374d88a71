"""An event in words for a list: what kind it is, who it is about, which parts, and a sentence. Pure.

An event says what its source knew. Nothing is added that it does not say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from telemetry import events as e
from telemetry.drawing.line import Tone
from telemetry.events import Event, Stamped
from telemetry.phrases import counted, named_parts, seconds
from telemetry.stories.sentences import is_notable

_ASCII: Final = {
    "→": ">",
    "←": "<",
    "×": "x",
    "≡": "=",
    "✝": "+",
    "↻": "@",
    "‖": "=",
    "·": ".",
    "★": "*",
    "●": "O",
    "◆": "Q",
}


class Described(NamedTuple):
    """`mark`: one letter; `kind`: a word; `who` and `to`: the process, and the robot that its message is for."""

    mark: str
    kind: str
    who: str
    to: str
    parts: str
    text: str
    tone: Tone


class _Words(NamedTuple):
    mark: str
    kind: str
    text: str
    to: str = ""
    parts: str = ""
    tone: Tone = ""
    sender: str = ""


def described(stamped: Stamped) -> Described:
    """The words of an event."""
    life = f"/{stamped.incarnation}" if stamped.incarnation > 1 else ""
    own = f"{stamped.source}{life}"
    words = _WORDS[type(stamped.event)](stamped.event)
    who, to = (words.sender, own) if words.sender else (own, words.to)
    return Described(words.mark, words.kind, who, to, words.parts, words.text, words.tone)


def ascii_mark(mark: str) -> str:
    """The mark for terminals that draw ASCII alone."""
    return _ASCII.get(mark, mark)


def is_trouble(stamped: Stamped) -> bool:
    """Whether it is about trouble: what a person should see at once, and what was lost, refused or not answered."""
    kind = type(stamped.event)
    if kind in _QUIET:
        return False
    if kind in _ALWAYS_TROUBLE:
        return True
    event = stamped.event
    if isinstance(event, e.FatesDecided):
        return bool(event.lost or event.corrupted or event.stale or event.refused)
    if isinstance(event, e.ExchangeEnded):
        return event.outcome == "timeout"
    return is_notable(stamped)


def _life(sender: str, incarnation: int) -> str:
    return f"{sender}/{incarnation}" if incarnation > 1 else sender


def _parts(indices: tuple[int, ...]) -> str:
    return named_parts(indices).partition(" ")[2]


# Messages
def _sent(event: e.MessageSent) -> _Words:
    why = {"summary": "asks what is missing", "answer": "answers it", "update": "as was requested"}
    again = f", try {event.attempt + 1}" if event.attempt else ""
    waited = f", after {seconds(event.waited_us)} in its queue" if event.waited_us > 10_000 else ""
    parts = f"brings {counted(event.parts, 'part')}, " if event.parts else ""
    text = f"{parts}{why.get(event.kind, '')}{again}{waited}; number {event.sequence}"
    return _Words("→", event.kind, text, event.receiver)


def _dropped(event: e.MessageDropped) -> _Words:
    return _Words("×", "not sent", f"{event.kind} {event.sequence}: {event.reason}", event.receiver, tone="bad")


def _received(event: e.MessageReceived) -> _Words:
    copy = f", copy {event.copy}: a duplicate" if event.copy else ""
    late = f", {event.late} behind the newest" if event.late else ""
    text = f"{event.kind} {event.sequence} arrived{copy}{late}"
    return _Words("←", "arrived", text, sender=_life(event.sender, event.sender_incarnation))


def _repeated(event: e.MessageRepeated) -> _Words:
    text = f"number {event.sequence} came once more: dropped"
    return _Words("≡", "repeated", text, sender=_life(event.sender, event.sender_incarnation), tone="news")


def _refused(event: e.MessageRefused) -> _Words:
    claimed = f"{event.kind} {event.sequence}: " if event.kind else ""
    return _Words("×", "refused", f"{claimed}{event.reason}", sender=event.sender or "?", tone="bad")


def _trimmed(_event: e.MessageTrimmed) -> _Words:
    return _Words("×", "trimmed", "an entry of its inbox was removed before it was read", tone="bad")


def _overflowed(event: e.InboxOverflowed) -> _Words:
    return _Words("×", "overflow", f"{event.lost} entries of its inbox were removed before they were read", tone="bad")


def _exchanged(event: e.ExchangeEnded) -> _Words:
    how = {
        "equal": "both hold the same",
        "answered": f"answered, {counted(event.wanted, 'part')} requested" if event.wanted else "answered",
        "timeout": "no answer in time",
    }
    tries = f", {counted(event.attempts, 'try', 'tries')}" if event.attempts > 1 else ""
    text = f"{how[event.outcome]} after {seconds(event.took_us)}{tries}"
    is_late = event.outcome == "timeout"
    return _Words("×" if is_late else "·", "exchange", text, event.peer, tone="bad" if is_late else "dim")


def _merged(event: e.PartsMerged) -> _Words:
    sender = _life(event.sender, event.sender_incarnation)
    return _Words("+", "learnt", f"now holds {event.held}", parts=_parts(event.indices), sender=sender, tone="good")


def _violated(event: e.InvariantViolated) -> _Words:
    sender = _life(event.sender, event.sender_incarnation)
    text = f"would break `{event.invariant}`: {event.detail}"
    return _Words("×", "refused", text, parts=str(event.index), sender=sender, tone="bad")


# A robot's life
def _born(event: e.RobotBorn) -> _Words:
    replayed = f", from {counted(event.replayed, 'entry', 'entries')} of its journal" if event.replayed else ""
    return _Words("●", "born", f"holds {counted(event.parts, 'part')}{replayed}", tone="good")


def _recovered(event: e.RobotRecovered) -> _Words:
    return _Words("↻", "recovered", f"lives again, {seconds(event.down_us)} after its death was seen", tone="good")


def _left(event: e.RobotLeft) -> _Words:
    text = (
        "handed its job back, to live on elsewhere" if event.reason == e.RECALLED else f"the run ended: {event.reason}"
    )
    return _Words("·", "left", text, tone="dim")


def _fenced(event: e.RobotFenced) -> _Words:
    return _Words("✝", "fenced", f"a later life of it exists ({event.where}): this one ends", tone="bad")


def _crashed(event: e.WorkerCrashed) -> _Words:
    return _Words("!", "crash", f"its worker {event.worker} crashed: {event.error}", tone="bad")


def _restarted(event: e.WorkerRestarted) -> _Words:
    text = f"{event.worker} starts again in {seconds(event.delay_us)}; crashes charged: {event.restart}"
    return _Words("↻", "restart", text, tone="news")


def _gave_up(event: e.WorkerGaveUp) -> _Words:
    return _Words("✝", "gave up", f"{event.worker} crashed {event.crashes} times: no more restarts", tone="bad")


def _pressed(event: e.ChannelPressure) -> _Words:
    return _Words("×", "pressure", f"its channel {event.channel} dropped {event.dropped} so far", tone="bad")


def _written(event: e.SecretWritten) -> _Words:
    return _Words("★", "wrote", f"the secret, {event.size} bytes; made safe by: {event.durability}", tone="good")


# The fleet
def _started(event: e.ProcessStarted) -> _Words:
    pid = f", pid {event.pid}" if event.pid else ""
    return _Words("●", "started", f"{event.process}{pid}", tone="good")


def _died(event: e.ProcessDied) -> _Words:
    how = f"by signal {-event.status}" if event.status < 0 else f"with status {event.status}"
    return _Words("✝", "died", f"{event.process} ended {how}", tone="bad" if event.status else "dim")


def _injected(event: e.FaultInjected) -> _Words:
    drawn = f" (the plan: {event.verb} {event.target})" if event.target != event.victim else ""
    return _Words("!", "injected", f"{event.verb} {event.victim}{drawn}", tone="bad")


def _not_injected(event: e.InjectionFailed) -> _Words:
    return _Words("!", "not done", f"{event.verb} {event.target}: {event.why}", tone="bad")


def _waiting(event: e.RobotWaiting) -> _Words:
    only = f"; no living robot holds {named_parts(event.only_here)}" if event.only_here else ""
    return _Words("‖", "waits", f"{event.robot}: no RQ worker is free{only}", tone="bad")


def _lost(event: e.RobotLost) -> _Words:
    return _Words("✝", "lost", f"{event.robot}: the lease of its RQ worker {event.worker} ran out", tone="bad")


def _stalled(event: e.SupervisorStalled) -> _Words:
    return _Words("‖", "stalled", f"the leader took no step for {seconds(event.stalled_us)}", tone="bad")


# The relay
def _decided(event: e.FatesDecided) -> _Words:
    counts = [
        f"{count} {word}"
        for word in ("lost", "duplicated", "delayed", "corrupted", "stale", "refused", "kept", "freed")
        if (count := getattr(event, word))
    ]
    is_bad = event.lost or event.corrupted or event.stale or event.refused
    text = f"{counted(event.offered, 'envelope')}: {', '.join(counts) or 'all pass'}; {seconds(event.lag_us)} old"
    return _Words("×" if is_bad else "·", "fates", text, tone="news" if is_bad else "dim")


def _planned(event: e.PlanChanged) -> _Words:
    if event.refusal:
        return _Words("!", "plan", f"{event.request!r} was refused: {event.refusal}", tone="bad")
    gone = ", ".join(fault for fault in event.old if fault not in event.new)
    new = ", ".join(fault for fault in event.new if fault not in event.old)
    asked = f" (asked: {event.request})" if event.request else ""
    text = "; ".join([f"begins: {new}"] * bool(new) + [f"ends: {gone}"] * bool(gone)) or "as before"
    return _Words("!", "plan", f"{text}{asked}", tone="news")


def _resumed(event: e.RelayResumed) -> _Words:
    redo = f", {counted(event.pending, 'entry', 'entries')} to redo" if event.pending else ""
    return _Words("↻", "relay", f"took shard {event.shard}{redo}", tone="good")


def _anomaly(event: e.AnomalyBegan) -> _Words:
    return _Words("!", "unusual", f"{event.rule}: {event.about}: {event.detail}", tone="bad")


def _anomaly_over(event: e.AnomalyEnded) -> _Words:
    return _Words("·", "usual", f"{event.rule} of {event.about} is over, after {seconds(event.lasted_us)}", tone="good")


def _plain(mark: str, kind: str, text: str, tone: Tone = "") -> Callable[[Any], _Words]:
    """Words with the event's fields in the text."""
    return lambda event: _Words(mark, kind, text.format(event=event), tone=tone)


_WORDS: Final[dict[type[Event], Callable[[Any], _Words]]] = {
    e.MessageSent: _sent,
    e.MessageDropped: _dropped,
    e.MessageReceived: _received,
    e.MessageRepeated: _repeated,
    e.MessageRefused: _refused,
    e.MessageTrimmed: _trimmed,
    e.InboxOverflowed: _overflowed,
    e.ExchangeEnded: _exchanged,
    e.PartsMerged: _merged,
    e.InvariantViolated: _violated,
    e.RobotBorn: _born,
    e.RobotStarted: _plain("·", "starts", "begins to gossip", "dim"),
    e.RobotRecovered: _recovered,
    e.RobotLeft: _left,
    e.RobotFenced: _fenced,
    e.RobotComplete: _plain("●", "complete", "holds all {event.parts} parts", "good"),
    e.RobotPassive: _plain("·", "passive", "nothing to learn or teach: from now on it mostly answers", "dim"),
    e.RobotQuiet: _plain("◆", "quiet", "nothing new came for {event.ticks} ticks", "good"),
    e.RobotDisturbed: _plain("·", "disturbed", "something new came after it had been quiet", "news"),
    e.SecretWritten: _written,
    e.SecretRefused: _plain("·", "refused", "the secret was written already", "dim"),
    e.JournalMended: _plain("!", "journal", "{event.foreign} foreign entries of its journal were removed", "bad"),
    e.EvidenceLost: _plain("✝", "lost", "its {event.stream} is gone", "bad"),
    e.ServerForgot: _plain("!", "forgot", "the server came back older: {event.what} were gone", "bad"),
    e.WorkerCrashed: _crashed,
    e.WorkerRestarted: _restarted,
    e.WorkerStarted: _plain("●", "runs", "its worker {event.worker} runs again", "good"),
    e.WorkerLeft: _plain("·", "left", "its worker {event.worker} ended in order", "dim"),
    e.WorkerGaveUp: _gave_up,
    e.TicksExecuted: _plain("·", "ticks", "executed {event.ticks} ticks", "dim"),
    e.ChannelPressure: _pressed,
    e.ProcessStarted: _started,
    e.ProcessDied: _died,
    e.FaultInjected: _injected,
    e.InjectionFailed: _not_injected,
    e.RobotWaiting: _waiting,
    e.RobotYielded: _plain("·", "yields", "{event.robot} gives its RQ worker to {event.to}", "news"),
    e.RobotJoined: _plain("●", "joins", "{event.robot}: a new robot, without parts", "good"),
    e.RobotLost: _lost,
    e.RunDealt: _plain("·", "dealt", "{event.parts} parts to {event.robots} robots", "news"),
    e.RunHeldBack: _plain("‖", "held back", "{event.born} robots are born: a person lets them begin", "news"),
    e.RunStarted: _plain("●", "go", "{event.born} robots are born: they begin to gossip", "news"),
    e.RunStopped: _plain("·", "stop", "the run ends: {event.reason}", "news"),
    e.SupervisorBegan: _plain("●", "leads", "this supervisor leads the run", "news"),
    e.SupervisorStalled: _stalled,
    e.RelayMissing: _plain("✝", "no relay", "shard {event.shard}: envelopes wait until one comes", "bad"),
    e.RelayResumed: _resumed,
    e.FatesDecided: _decided,
    e.PlanChanged: _planned,
    e.RelayCongested: _plain("‖", "congested", "it holds {event.held} copies, and reads no more", "bad"),
    e.RelayDeposed: _plain("✝", "deposed", "it lost the lease of shard {event.shard}", "bad"),
    e.AnomalyBegan: _anomaly,
    e.AnomalyEnded: _anomaly_over,
}

_ALWAYS_TROUBLE: Final = frozenset({e.MessageDropped, e.MessageRefused, e.MessageTrimmed, e.MessageRepeated})
_QUIET: Final = frozenset({e.MessageSent, e.MessageReceived, e.PartsMerged, e.TicksExecuted, e.WorkerLeft})
"""Most events are one of these, so they are sorted out first."""
