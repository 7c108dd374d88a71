"""`robots relay`: a volunteer for the network of a live run, on any host that reaches its server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from broker.ports import Unavailable
from broker.streams import keys
from broker.streams.connection import check_server, connect
from broker.streams.keys import Keys
from broker.streams.orders import orders_in
from broker.streams.patience import insist_blocking
from broker.streams.reading import decoded
from deploy.commands.options import INTERRUPTED
from deploy.commands.output import tell
from deploy.discovery import Whereabouts, find_live
from deploy.endings import Endings
from deploy.environment import Unable
from deploy.relay_process import volunteer
from deploy.settings import Unfit
from robots.robot import Terms, decode_terms
from telemetry.events import AnyEvent, RelayDeposed, RelayResumed
from telemetry.record import NoSuchRun

EXAMPLES: Final = """\
Examples:

  robots relay
  robots relay 7b08e1 --shard 1
  robots relay 7b08e1 --redis-url redis://lab.example:6379
"""


def relay(
    run: Annotated[str | None, Parameter(allow_leading_hyphen=False)] = None,
    /,
    *,
    shard: Annotated[int | None, Parameter(help="Only this shard. [default: the first that is free]")] = None,
    redis_url: Annotated[str | None, Parameter(help="A run of another host: its server. RUN is its id.")] = None,
    runs_dir: Annotated[str, Parameter(help="Where records are kept.", env_var="ROBOTS_RUNS_DIR")] = "runs",
) -> int:
    """Be a relay of a live run: take a shard when its relay dies or none is there, and stand by until then. Leaves when
    the run is stopped, or with Ctrl-C. RUN is an id, a unique prefix, a folder or `latest`; by default the newest run
    that is live."""
    where = find_live(Path(runs_dir), run, redis_url)
    terms = _terms_of(where)
    shards = tuple(range(terms.shards))
    if shard is not None and shard not in shards:
        raise Unfit(f"--shard: {shard} is no shard of run {where.run}; allowed is 0 to {terms.shards - 1}")
    wanted = shards if shard is None else (shard,)
    tell(f"run {where.run}: standing by for shard {', '.join(map(str, wanted))}")
    with Endings() as endings:
        try:
            volunteer(where.url, where.run, wanted, terms.seed, lambda: endings.reason is not None, _report)
        except Unavailable as error:
            raise Unable(f"the run's server is gone: {error}") from None
    if endings.reason is not None:
        tell(f"run {where.run}: left")
        return INTERRUPTED if endings.reason == "interrupted" else 0
    tell(f"run {where.run} is over; judge it with: robots verify {where.run}")
    return 0


def _report(event: AnyEvent) -> None:
    if isinstance(event, RelayResumed):
        tell(f"relaying shard {event.shard}; {event.pending} pending entries redone")
    elif isinstance(event, RelayDeposed):
        tell(f"shard {event.shard} has another relay now; standing by")


def _terms_of(where: Whereabouts) -> Terms:
    """What the run's robots were told. Raises NoSuchRun, Unable, ServerUnfit."""
    with connect(where.url) as client:
        check_server(client)
        orders = Keys(where.run).orders
        try:
            first = insist_blocking("orders", lambda: decoded(client.xrange(orders, max=keys.FIRST_ID)))
            return decode_terms(orders_in(first)[0].content)
        except Unavailable as error:
            raise Unable(f"the server went away: {error}") from None
        except (LookupError, msgspec.DecodeError):
            raise NoSuchRun(f"run {where.run} is not dealt yet, or none of ours") from None
