"""The catalogue: all exhibits by name, and the components of each. A name that comes from the network is looked up
here, and must never name anything that is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from robots.components import STANDARD, Components
from robots.exhibits import leaders, relays, workers
from robots.exhibits.exhibit import Exhibit, Value


class UnknownExhibit(ValueError):
    """No exhibit has that name here: another version of the lab knows it."""


_LONG: Final = " ".join(f"word-{number:03}-of-many" for number in range(150))
"""A secret of which summaries alone, with 512 bytes of parts each, spread only a little."""


def _calm(*faults: str, **more: str) -> Mapping[str, Value]:
    """The settings of a run with these faults and no others, which lasts for three seconds unless `more` says
    otherwise."""
    return MappingProxyType({"preset": "calm", "for_": "3s", "fault": faults, **more})


EXHIBITS: Final[Mapping[str, Exhibit]] = MappingProxyType(
    {
        "writes-twice": Exhibit(
            help="every robot that writes the secret is accepted, under an id of its own",
            promise="once",
            components=Components(convergence_detector=workers.WritesUnderAnyId),
            settings=_calm(),
        ),
        "ignores-last": Exhibit(
            help="the part before the last one is taken for the last",
            promise="right",
            components=Components(convergence_detector=workers.LeavesLastWordOut),
            settings=_calm(),
        ),
        "forgets": Exhibit(
            help="a robot forgets its lowest part whenever it learns others",
            promise="monotonic",
            components=Components(secret_merger=workers.Forgets),
            settings=_calm(limit="6s"),
        ),
        "overwrites": Exhibit(
            help="a contradictory update replaces the word that is known",
            promise="unique",
            components=Components(secret_merger=workers.Overwrites),
            settings=_calm("contradict r03 @500ms", robots="6", copies="4"),
        ),
        "swallows": Exhibit(
            help="a contradictory update is dropped without a crash and without an event",
            promise="unique",
            components=Components(secret_merger=workers.SwallowsContradictions),
            settings=_calm("contradict r03 @500ms", robots="6", copies="4", for_="8s"),
        ),
        "no-dedup": Exhibit(
            help="a part that is known is merged and journalled again",
            promise="idempotent",
            components=Components(secret_merger=workers.MergesAgain),
            settings=_calm("duplicate .5"),
        ),
        "writes-early": Exhibit(
            help="one tick without news counts as the whole quiet period",
            promise="patient",
            components=Components(quiescence_detector=workers.WaitsForOneTick),
            settings=_calm(),
        ),
        "born-quiet": Exhibit(
            help="a robot that was dealt everything skips its quiet period",
            promise="patient",
            components=Components(quiescence_detector=workers.BornQuiet),
            settings=_calm(robots="6", copies="6"),
        ),
        "never-gossips": Exhibit(
            help="no robot begins an exchange",
            promise="convergent",
            components=Components(gossip_initiator=workers.NeverGossips),
            settings=_calm(limit="6s"),
        ),
        "restarts-nothing": Exhibit(
            help="a crashed worker is reported as restarted, and is not",
            promise="supervised",
            components=Components(supervisor=workers.RestartsNothing),
            settings=_calm("crash r03/outbox_writer @1s", for_="10s"),
        ),
        "takes-siblings-down": Exhibit(
            help="a crash of one worker ends all others of the robot in silence",
            promise="supervised",
            components=Components(supervisor=workers.TakesSiblingsDown),
            settings=_calm("crash r03/secret_merger @1s", for_="10s"),
        ),
        "no-backoff": Exhibit(
            help="every crash of a worker is taken for the first one",
            promise="supervised",
            components=Components(supervisor=workers.BacksOffNever),
            settings=_calm("contradict r03 @500ms every 1s", robots="6", copies="4"),
        ),
        "no-restart-delay": Exhibit(
            help="a crashed worker is restarted at once, and reported to be after a delay",
            promise="supervised",
            components=Components(supervisor=workers.RestartsAtOnce),
            settings=_calm("crash r03/secret_merger @1s"),
        ),
        "no-fencing": Exhibit(
            help="an older life goes on sending after its successor's birth, and relays deliver it",
            promise="fenced",
            components=Components(outbox_writer=workers.SpeaksAsOlderLife, relay=relays.FencesNoLife),
            settings=_calm("kill r03 @500ms"),
        ),
        "full-state": Exhibit(
            help="every answer and every update carries all that its sender knows",
            promise="frugal",
            components=Components(summary_processor=workers.AnswersWithAll, gossip_initiator=workers.UpdatesWithAll),
            settings=_calm(secret=_LONG),
        ),
        "no-delay": Exhibit(
            help="relays put every copy out at once, and record that it was delayed",
            promise="honest faults",
            components=Components(relay=relays.HoldsNoDelay),
            settings=_calm("delay 300ms"),
        ),
        "leaks": Exhibit(
            help="relays put out what a partition holds, and record that it was held",
            promise="honest faults",
            components=Components(relay=relays.LeaksHeldMessages),
            settings=_calm("partition hold r00..r02|r03..r05 @100ms+2s"),
        ),
        "acks-early": Exhibit(
            help="relays acknowledge an entry before its copies are stored, and are killed then",
            promise="accounted",
            components=Components(relay=relays.AcksEarly),
            settings=_calm("delay 300ms", "kill relay every 500ms"),
        ),
        "no-loss": Exhibit(
            help="the leader leaves loss out of every plan change",
            promise="played",
            components=Components(plan_scheduler=leaders.LeavesLossOut),
            settings=_calm("loss .5"),
        ),
        "no-partition": Exhibit(
            help="the leader leaves partitions out of every plan change",
            promise="played",
            components=Components(plan_scheduler=leaders.LeavesPartitionsOut),
            settings=_calm("partition r00..r02|r03..r05 @500ms+1s"),
        ),
        "no-injections": Exhibit(
            help="the leader drops every process fault that is due",
            promise="played",
            components=Components(chaos=leaders.InjectsNothing),
            settings=_calm("kill r03 @500ms"),
        ),
        "no-kills": Exhibit(
            help="the leader records every kill, and kills nothing",
            promise="played",
            components=Components(chaos=leaders.PretendsToKill),
            settings=_calm("kill r03 @500ms", for_="8s"),
        ),
    }
)
"""By name, in the order of the promises that convict them."""


def components_of(exhibit: str | None) -> Components:
    """The components of a lab that shows the exhibit of that name; None: that shows none. Raises UnknownExhibit."""
    if exhibit is None:
        return STANDARD
    try:
        return EXHIBITS[exhibit].components
    except KeyError:
        raise UnknownExhibit(f"there is no exhibit {exhibit!r} here") from None
