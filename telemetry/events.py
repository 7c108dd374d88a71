"""All events of the lab: each is a small frozen struct of primitives.

No behaviour lives here, and no event refers to an object of another floor. An event's name on the wire and in the
record is its class name in lower case, with dots: `RobotBorn` is `robot.born`. Anybody may write to a stream of events:
what its fields may hold is bounded here, and what does not fit is garbage for all readers.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final, Literal

import msgspec


def _name(class_name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", ".", class_name).lower()


MOST: Final = 1 << 53
"""No number in an event is greater: every program that reads JSON knows numbers up to here exactly, and a time in
microseconds is a date that calendars know."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Whole = Annotated[int, msgspec.Meta(ge=-MOST, le=MOST)]
Index = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
EntryId = Annotated[str, msgspec.Meta(pattern="^[0-9]{1,13}-[0-9]{1,20}$")]
"""The id of a stream's entry: milliseconds of the server's clock (until the year 2286), and a number within them."""


class Event(msgspec.Struct, frozen=True, tag_field="name", tag=_name):
    """Something that happened. `notable`: a person should see it at once."""

    notable: ClassVar[bool] = False


# The run, as its parent or dealer sees it.
class RunDealt(Event, frozen=True):
    """Register, births, journals and plan exist; robots may be born."""

    notable = True
    robots: Count
    parts: Count


class RunHeldBack(Event, frozen=True):
    """The run could begin, and its `go` waits for a person."""

    born: Count


class RunStarted(Event, frozen=True):
    """The order `go` was given."""

    notable = True
    born: Count


class RunStopped(Event, frozen=True):
    """The order `stop` was given, and why: complete, limit, stopped, interrupted or lost."""

    notable = True
    reason: str


class SupervisorBegan(Event, frozen=True):
    """A supervisor took the run's lease; `is_successor`: after `go`, from another one."""

    is_successor: bool


class SupervisorStalled(Event, frozen=True):
    """The leader took no step for `stalled_us`: what the plan wanted meanwhile comes late, or was left out."""

    stalled_us: Count


class ProcessStarted(Event, frozen=True):
    """The parent started a process of the fleet (`rq:r03`, `relay:0`, `redis`)."""

    process: str
    pid: Count


class ProcessDied(Event, frozen=True):
    """A process of the fleet ended. `status` as of `os.waitstatus_to_exitcode`: negative = killed by that signal."""

    notable = True
    process: str
    pid: Count
    status: Whole


class FaultInjected(Event, frozen=True):
    """A process fault was due (`kill`, `robot`), and was injected into `victim`. For an RQ worker of another host, or
    the process that it runs, it was only requested, and no event shows whether it was done."""

    notable = True
    verb: str
    target: str
    victim: str


class InjectionFailed(Event, frozen=True):
    """A process fault was due, and could not be injected."""

    notable = True
    verb: str
    target: str
    why: str


class RobotWaiting(Event, frozen=True):
    """A robot waits in the queue: no RQ worker is free. No living robot holds the parts `only_here`. Emitted again
    now and then; `waited_s`: seconds of waiting by then, 0 the first time."""

    notable = True
    robot: str
    only_here: tuple[Index, ...]
    waited_s: Count = 0


class RobotYielded(Event, frozen=True):
    """A robot that holds only learnt parts hands back its RQ worker, for one that waits and holds what no living one
    does."""

    notable = True
    robot: str
    to: str


class RelayMissing(Event, frozen=True):
    """A shard has no relay: envelopes sent there wait until one comes."""

    notable = True
    shard: Count


class RobotJoined(Event, frozen=True):
    """A new robot joins, without parts: an RQ worker was idle."""

    notable = True
    robot: str


class RobotLost(Event, frozen=True):
    """The lease on a robot's job expired: its RQ worker is presumed dead, and the robot was requeued."""

    notable = True
    robot: str
    worker: str


# A robot's life.
class RobotBorn(Event, frozen=True):
    """A life began: born in its journal, its birth stream and its outbox. `parts` were replayed from the journal."""

    parts: Count
    replayed: Count


class RobotStarted(Event, frozen=True):
    """The life starts to gossip."""


class RobotRecovered(Event, frozen=True):
    """The robot lives again, `down_us` after its last life's death was seen."""

    notable = True
    down_us: Whole


class RobotLeft(Event, frozen=True):
    """The life ended in order: for the reason of the order `stop`, or `recalled`, to go on elsewhere."""

    reason: str


RECALLED: Final = "recalled"


class RobotFenced(Event, frozen=True):
    """The life found that a later one exists, and ends."""

    notable = True
    where: str


class RobotComplete(Event, frozen=True):
    """No index is missing up to the part marked last."""

    parts: Count


class RobotPassive(Event, frozen=True):
    """Complete, and each part it was dealt was seen at enough others: it now mostly answers."""


# Workers and channels.
class WorkerCrashed(Event, frozen=True):
    """A worker raised. Its siblings run on."""

    notable = True
    worker: str
    error: str


class WorkerRestarted(Event, frozen=True):
    """The supervisor starts the worker again after `delay_us`; it is the `restart`-th in the policy's window."""

    notable = True
    worker: str
    restart: Count
    delay_us: Count


class WorkerStarted(Event, frozen=True):
    """The worker runs again after a crash. It reports that itself, in its first step."""

    worker: str


class WorkerLeft(Event, frozen=True):
    """The worker lived when its life ended in order. It reports that itself, in its last step."""

    worker: str


class WorkerGaveUp(Event, frozen=True):
    """The policy's budget is spent: the failure is escalated."""

    notable = True
    worker: str
    crashes: Count


class TicksExecuted(Event, frozen=True):
    """The robot has executed so many ticks since the last such report of its life; one that is slow executes fewer
    than time would allow."""

    ticks: Count


class ChannelPressure(Event, frozen=True):
    """A channel dropped items; `dropped` counts all that this channel dropped in this life.

    A channel is one between workers, `outbox` (envelopes that were not sent) or `events` (lost to all readers).
    """

    notable = True
    channel: str
    dropped: Count


# Messages, as robots see them.
class MessageSent(Event, frozen=True):
    """An envelope became an entry of an outbox, with `parts` parts in a body of `size` bytes.

    A summary and an answer also have what their sender knew: how many parts (`held`), and the 16 hex digits of
    BLAKE2b-64 over the bitmap's little-endian bytes (`digest`), so that the record can prove it against the journal.

    `waited_us`: from when a worker offered it until the outbox had it, by the robot's monotonic clock. `attempt`: of a
    summary, 0 for the first of its exchange. `cause`: the incarnation, sequence and copy of the receiver's message that
    an answer or an update replies to.
    """

    receiver: str
    sequence: Count
    kind: str
    exchange: str
    parts: Count
    size: Count
    waited_us: Count
    held: Count = 0
    digest: str = ""
    attempt: Count = 0
    cause: tuple[Count, Count, Count] | None = None


class MessageDropped(Event, frozen=True):
    """An envelope was not sent: `the outbox is full` or `the outbox is away` (then it may be sent after all). All else
    as of a sent one."""

    receiver: str
    sequence: Count
    kind: str
    exchange: str
    reason: str
    waited_us: Count
    attempt: Count = 0
    cause: tuple[Count, Count, Count] | None = None


class MessageReceived(Event, frozen=True):
    """A copy reached its robot, as the `entry` of its inbox, whose id shows when a relay put it there (the server's
    clock). `late` counts how many numbers behind the newest of that sender's life it came."""

    sender: str
    sender_incarnation: Count
    sequence: Count
    copy: Count
    kind: str
    exchange: str
    late: Count
    entry: EntryId


class MessageRepeated(Event, frozen=True):
    """The very same copy came again (redelivery or a relay's redo), and was dropped."""

    sender: str
    sender_incarnation: Count
    sequence: Count
    copy: Count


class MessageRefused(Event, frozen=True):
    """Garbage from the network: undecodable, bad checksum, unknown kind, or above a limit. Dropped.

    With a bad checksum, all but `entry` and `reason` is what the frame claims, if it can still be decoded. Nothing
    proves that it is true; a fate `corrupt` of that very envelope makes it likely.
    """

    entry: EntryId
    reason: str
    sender: str = ""
    sender_incarnation: Count = 0
    sequence: Count = 0
    copy: Count = 0
    kind: str = ""
    exchange: str = ""


class MessageTrimmed(Event, frozen=True):
    """An inbox entry was trimmed before it was read."""

    entry: EntryId


class InboxOverflowed(Event, frozen=True):
    """Entries of an inbox were trimmed before they were read; `lost` counts all of this life."""

    notable = True
    lost: Count


class ExchangeEnded(Event, frozen=True):
    """An exchange that this robot began is over: its peer is `equal`, has `answered` and requested `wanted` parts, or
    sent no answer in time (`timeout`). It took `attempts` summaries, and `took_us` by the robot's monotonic clock."""

    peer: str
    exchange: str
    outcome: Literal["equal", "answered", "timeout"]
    attempts: Count
    took_us: Count
    wanted: Count = 0


# Knowledge and completion.
class PartsMerged(Event, frozen=True):
    """The parts `indices` of one copy were new, journalled and published. `held` is the count afterwards."""

    sender: str
    sender_incarnation: Count
    sequence: Count
    copy: Count
    indices: tuple[Index, ...]
    held: Count


class InvariantViolated(Event, frozen=True):
    """A message would have broken an invariant; it was refused and named here."""

    notable = True
    invariant: str
    detail: str
    index: Index
    sender: str
    sender_incarnation: Count
    sequence: Count
    copy: Count


class RobotQuiet(Event, frozen=True):
    """Nothing new was merged for the quiet period; `ticks` were executed in it."""

    ticks: Count


class RobotDisturbed(Event, frozen=True):
    """Something new was merged after the robot had been quiet."""


class SecretWritten(Event, frozen=True):
    """This robot's write was the one that the register accepted. `durability` names the wait that was used."""

    notable = True
    size: Count
    durability: str


class SecretRefused(Event, frozen=True):
    """The register already held a secret."""


class JournalMended(Event, frozen=True):
    """Another client had written into the robot's journal; so many entries were removed, so far. The robot's own are
    whole."""

    notable = True
    foreign: Count


class EvidenceLost(Event, frozen=True):
    """A stream that must never vanish (journal, register) is gone."""

    notable = True
    stream: str


class ServerForgot(Event, frozen=True):
    """The server came back older: something that it had stored was gone. `what`: `events` that this process had read
    or stored, `envelopes` of this life in its outbox, `entries` of its journal, its `birth` or attempt in its birth
    stream, `fates` or `copies` that this relay had stored, or `orders` that a supervisor had read, with the plan
    changes and the rows of the fleet log that it had stored."""

    notable = True
    what: Literal["events", "envelopes", "entries", "birth", "fates", "copies", "orders"]


# The relay.
class RelayResumed(Event, frozen=True):
    """A relay took its shard, with `pending` entries of an earlier owner (or of its own past) to redo."""

    shard: Count
    pending: Count


class FatesDecided(Event, frozen=True):
    """What a relay decided for one batch, in envelopes; `copies` were put into inboxes or wait for their time.

    `offered` have their fate now, and `freed` of them a partition had held back until now. `kept` came with this batch,
    and a partition holds them back: they have no fate yet. `lag_us`: the age of the batch's oldest envelope when it
    was decided (server's clock), 0 when it has none; freed ones do not count.
    """

    shard: Count
    offered: Count
    lost: Count
    duplicated: Count
    delayed: Count
    corrupted: Count
    stale: Count
    refused: Count
    copies: Count
    kept: Count
    freed: Count
    lag_us: Count


class PlanChanged(Event, frozen=True):
    """A plan came into force at a shard: the faults of before and of now, in the grammar's own text.

    `request` is the text of a person's request (`set loss 0.5`); empty when the plan itself made the change. `refusal`
    is why it was refused, if so: nothing changed then. Requests come from outside: both may hold any character.
    """

    notable = True
    shard: Count
    old: tuple[str, ...]
    new: tuple[str, ...]
    request: str = ""
    refusal: str = ""


class RelayCongested(Event, frozen=True):
    """A relay holds so many copies that it reads nothing more until some are due."""

    notable = True
    shard: Count
    held: Count


class RelayDeposed(Event, frozen=True):
    """A relay lost the lease of its shard, and does nothing more there until it has it again."""

    notable = True
    shard: Count


# What the run's leader finds unusual.
class AnomalyBegan(Event, frozen=True):
    """From here on something is unusual (telemetry/anomalies). `rule`: which one found it; `about`: a robot (`r03`), a
    worker or a channel of one (`r03/outbox`), a relay (`relay:0`), or the `network`; `detail`: a text for people."""

    notable = True
    rule: str
    about: str
    detail: str


class AnomalyEnded(Event, frozen=True):
    """It is over, after `lasted_us` by the leader's monotonic clock. What stands at the order to stop has no end."""

    rule: str
    about: str
    lasted_us: Count


# fmt: off
AnyEvent = (
    RunDealt | RunHeldBack | RunStarted | RunStopped | SupervisorBegan | SupervisorStalled | ProcessStarted
    | ProcessDied | FaultInjected | InjectionFailed | RelayMissing | RobotWaiting | RobotYielded | RobotJoined
    | RobotLost | RobotBorn | RobotStarted | RobotRecovered | RobotLeft | RobotFenced | RobotComplete | RobotPassive
    | WorkerCrashed | WorkerRestarted | WorkerStarted | WorkerLeft | WorkerGaveUp | TicksExecuted | ChannelPressure
    | MessageSent | MessageDropped | MessageReceived | MessageRepeated | MessageRefused | MessageTrimmed
    | InboxOverflowed | ExchangeEnded | PartsMerged | InvariantViolated | RobotQuiet | RobotDisturbed | SecretWritten
    | SecretRefused | EvidenceLost | JournalMended | ServerForgot | RelayResumed | FatesDecided | PlanChanged
    | RelayCongested | RelayDeposed | AnomalyBegan | AnomalyEnded
)
# fmt: on


class Stamped(msgspec.Struct, frozen=True):
    """An event with its source, the source's life, its number in that life, and its times."""

    run: str
    source: str
    incarnation: Count
    number: Count
    wall_us: Count
    monotonic_us: Count
    event: AnyEvent


def event_name(event: Event) -> str:
    """The event's name on the wire and in the record, such as `robot.born`."""
    return str(type(event).__struct_config__.tag)
