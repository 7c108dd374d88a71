"""The names of a run's streams, and of the fields in their entries: the only place for both.

The braces are literal: Redis Cluster hashes only what stands between them, so that streams which one command or one
transaction touches together lie on one node.
"""

from __future__ import annotations

from typing import Final

# Fields, as bytes: that is how they come back. Each has one meaning, whatever the stream.
ENVELOPE: Final = b"envelope"  # outbox, inbox: a frame
CONTROL: Final = b"control"  # outbox, control: a control entry's frame
COPY: Final = b"copy"  # inbox: the copy's number
ENTRY: Final = b"entry"  # journal: an entry's content
NONCE: Final = b"nonce"  # journal, birth, register: the life that wrote
AT_US: Final = b"at_us"  # birth, of an attempt: the server's time in microseconds
ROBOT: Final = b"robot"  # register
INCARNATION: Final = b"incarnation"  # register
SECRET: Final = b"secret"  # register
FATES: Final = b"fates"  # fates: a msgpack list of fates
REDO: Final = b"redo"  # fates: a msgpack list of ids that are about to be redone
EVENTS: Final = b"events"  # events: a batch of events
ORDER: Final = b"order"  # orders: dealt, go, joining, joined, crash, stop
CONTENT: Final = b"content"  # orders: the terms, the robot, the worker, or the reason
SHAPE: Final = b"shape"  # orders, of `dealt`: msgpack [shards, names of the robots]
REQUEST: Final = b"request"  # requests: what a person asks of the run's leader
METADATA: Final = b"metadata"  # metadata: opaque
COMMAND: Final = b"command"  # commands: verb and victim, for the RQ worker of a robot
ROW: Final = b"row"  # fleet: an injection, a death or an acknowledgement, as msgpack
TOKEN: Final = b"token"  # fleet, requests: equal in what is stored twice because a reply was lost
RUNS: Final = "lab:runs"  # the runs that were dealt on this server, by time
FIRST_ID: Final = "0-1"


class Keys:
    """The keys of one run."""

    def __init__(self, run: str) -> None:
        self._run = run
        self.register = f"lab:{{{run}}}:register"
        self.events = f"lab:{{{run}}}:events"
        self.orders = f"lab:{{{run}}}:orders"
        self.requests = f"lab:{{{run}}}:requests"
        self.fleet = f"lab:{{{run}}}:fleet"
        self.metadata = f"lab:{{{run}}}:metadata"
        self.supervisor = f"lab:{{{run}}}:supervisor"
        self.removed = f"lab:{{{run}}}:removed"

    @property
    def of_run(self) -> list[str]:
        """Those in the slot of the orders that bear no robot's name; not the orders themselves."""
        return [self.register, self.events, self.requests, self.fleet, self.metadata, self.supervisor]

    def birth(self, robot: str) -> str:
        """Births of, and attempts to write by, one robot. In the register's slot: one transaction touches both."""
        return f"lab:{{{self._run}}}:birth.{robot}"

    def inbox(self, robot: str) -> str:
        return f"lab:{{{self._run}.{robot}}}:inbox"

    def journal(self, robot: str) -> str:
        return f"lab:{{{self._run}.{robot}}}:journal"

    def commands(self, robot: str) -> str:
        """Commands for the RQ worker that runs the robot. Read by it alone, and only while it does. In the orders'
        slot: it is not created when those are gone."""
        return f"lab:{{{self._run}}}:commands.{robot}"

    def outbox(self, shard: int) -> str:
        return f"lab:{{{self._run}.out{shard}}}:out"

    def control(self, shard: int) -> str:
        return f"lab:{{{self._run}.out{shard}}}:control"

    def fates(self, shard: int) -> str:
        return f"lab:{{{self._run}.out{shard}}}:fates"

    def lease(self, shard: int) -> str:
        """The lease of the shard's relay. In the outbox's slot: every read depends on it."""
        return f"lab:{{{self._run}.out{shard}}}:lease"


INBOX_LIMIT: Final = 100_000  # entries, about; the relay trims beyond it
