"""The words of the house, as tests: no old word is left where the field has a better one.

WORDS is the whole rule. It is applied to the four floors, to the tests and to README.md.
"""

from __future__ import annotations

import io
import keyword
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.house.sources import FILES, TEST_FILES, shown, text_of
from tests.support.checkout import ROOT

ANYWHERE = "anywhere"  # identifiers, file names, strings, comments, docstrings and README: words that only we would use
PROSE = "prose"  # strings, comments, docstrings and README
IDENTIFIERS = "identifiers"  # words with an everyday meaning: as a part of an identifier or of a file's name
NAMES = "names"  # whole identifiers and file names, in upper and lower case as here: words that are good elsewhere
FILES_OF_FLOORS = "files"  # file names of the four floors

WORDS = (
    # An old word (a space stands for any gap: `may pass`, `may_pass`, `MayPass`), where it is forbidden, and the word
    # to use. In NAMES case counts.
    ("deeds?", ANYWHERE, "process fault (the data), injection (one that was done)"),
    ("strikes?|struck|striking", ANYWHERE, "inject; remove"),
    ("lay hands|lays hands|laid hands|laying hands|hands of fate", ANYWHERE, "inject"),
    ("hands", IDENTIFIERS, "Injector"),
    ("victims", ANYWHERE, "targets; `victim` is the one process that was drawn"),
    ("obedience|obey|obeys|obeyed|obeying", ANYWHERE, "remote commands; run, follow"),
    ("tenures?", ANYWHERE, "RelaySession, Leadership"),
    ("heirs?|succession", ANYWHERE, "successor; RestartSchedule"),
    ("desks?", ANYWHERE, "RunControl, EvidenceReader"),
    ("Dealing", NAMES, "RunSpec"),
    ("(?:a|an|the|this|that|same|whole|other|another|one|each|its) dealings?", PROSE, "run spec; deal"),
    ("papers?", ANYWHERE, "run metadata"),
    ("briefs?|briefed", ANYWHERE, "RunInfo"),
    ("vantages?", ANYWHERE, "RunContext"),
    ("whereabouts", ANYWHERE, "RunLocation"),
    ("courses?", IDENTIFIERS, "RunStatus"),
    ("lookouts?|look outs?", ANYWHERE, "PlanWatcher"),
    ("Met", NAMES, "AppliedChange"),
    ("conductors?|conducts?|conducted|conducting", ANYWHERE, "PlanScheduler; schedule"),
    ("agendas?", ANYWHERE, "DueFaults"),
    ("turns", IDENTIFIERS, "Occurrences"),
    ("keepers?", ANYWHERE, "plan publisher, Membership"),
    ("outlooks?", ANYWHERE, "PlanStatus"),
    ("asking", IDENTIFIERS, "LivePlan.request"),
    ("wordings?|worded", ANYWHERE, "plan_requests; text"),
    ("relay watch(?:es)?", ANYWHERE, "relay monitor"),
    ("boards?", IDENTIFIERS, "JobTable"),
    ("job boards?", PROSE, "job table"),
    ("looks?|looked|looking", IDENTIFIERS, "poll (I/O), observe (shown views)"),
    ("pulses?", ANYWHERE, "heartbeat: beat"),
    ("farewells?", ANYWHERE, "heartbeat: done"),
    ("voices?", ANYWHERE, "write end"),
    ("ears?", ANYWHERE, "read end"),
    ("bells?", ANYWHERE, "asyncio.Event, signal"),
    ("detained|detains?|detaining", ANYWHERE, "held (messages)"),
    ("pass by", ANYWHERE, "failpoint"),
    ("passing", IDENTIFIERS, "failpoint; transient"),
    ("Asked|Offered|Heard", NAMES, "SummaryReceived, PartsReceived, PeerHeard"),
    ("Outgoing", NAMES, "OutgoingMessage"),
    ("equalled", ANYWHERE, "PeerEqual; equal"),
    ("Signs?|signs", NAMES, "quiescence signals"),
    ("in hand", ANYWHERE, "unacknowledged"),
    ("Repeats", NAMES, "deduplicator"),
    ("Sending", NAMES, "SendResult"),
    ("(?:un)?fated", ANYWHERE, "Decision; decided"),
    ("Throws?", NAMES, "Draws"),
    ("_?Way|ways", NAMES, "_Link"),
    ("minds?", IDENTIFIERS, "core (of the relay)"),
    ("mind of the relay|relay's mind|mind of a relay", PROSE, "core of the relay"),
    ("relay process", IDENTIFIERS, "RelayDriver, relay_main"),
    ("volunteers?|volunteered", ANYWHERE, "standby relay"),
    ("staff", ANYWHERE, "LocalProcesses"),
    ("Relays|RqWorkers|LiveFleet", NAMES, "RelayGroup, RqWorkerGroup, LocalFleet"),
    ("endings?", IDENTIFIERS, "stop rule, ShutdownSignals"),
    ("posts?", IDENTIFIERS, "process slot"),
    ("LIVES(?:_KEY)?|_?lives_left", NAMES, "restart budget"),
    ("stays dead", ANYWHERE, "BudgetSpent"),
    ("lies?|lied|liars?", IDENTIFIERS, "contradictory update"),
    ("(?:mis)?spell(?:s|ed|ing|ings)?|misspelt|spelt", ANYWHERE, "syntax, PlanSyntaxError; written"),
    ("Words", NAMES, "Token"),
    ("unfit", ANYWHERE, "UsageError"),
    ("Unable", NAMES, "EnvironmentFailure"),
    ("patience|insists?|insisted|insisting", ANYWHERE, "retry"),
    ("may pass", IDENTIFIERS, "is_transient"),
    ("troubles? borne|bears? trouble", ANYWHERE, "suppress_transient"),
    ("losses", IDENTIFIERS, "trimmed-entry counter"),
    ("filing", ANYWHERE, "recording"),
    ("Prepared|prepared", NAMES, "Experiment"),
    ("fares|fared", ANYWHERE, "RobotStatus; status"),
    ("rosters?", ANYWHERE, "membership"),
    ("filing|again|prepared|holding|patience|losses", FILES_OF_FLOORS, "recording, repeat, experiment, leases, retry"),
    ("acts|rules|honesty", FILES_OF_FLOORS, "fault_effects, fault_rules, fate_check"),
    ("odds|tallies|seal", FILES_OF_FLOORS, "fault_rates, integrity"),
    ("tells?|told|telling", IDENTIFIERS, "emit, report"),
    ("says?|said|saying", IDENTIFIERS, "print, report"),
    ("hears?|hearing|attends?|attended|tends?|tended|tending", IDENTIFIERS, "receive, handle, poll"),
    ("heeds?|heeded|bereft|befell|befalls?|befallen|whoever|whomever|nobody", ANYWHERE, "a plain word"),
)


@dataclass(frozen=True)
class Views:
    """A file twice, line by line: its identifiers alone, and its prose alone."""

    names: str
    prose: str


@cache
def views_of(path: Path) -> Views:
    lines = text_of(path).splitlines()
    if path.suffix != ".py":
        return Views("\n" * len(lines), "\n".join(lines))
    names: list[list[str]] = [[] for _ in range(len(lines) + 2)]
    prose: list[list[str]] = [[] for _ in range(len(lines) + 2)]
    names[1].append(path.stem)
    for token in tokenize.generate_tokens(io.StringIO(text_of(path)).readline):
        if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
            names[token.start[0]].append(token.string)
        elif token.type not in (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.NL, tokenize.NEWLINE):
            for number, line in enumerate(token.string.splitlines(), token.start[0]):
                prose[number].append(line)
    return Views(*("\n".join(" ".join(words) for words in view[1:]) for view in (names, prose)))


def normal(text: str) -> str:
    """`StaysDead` as `stays_dead`, line by line as before."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text).lower()


@cache
def normal_views_of(path: Path) -> Views:
    views = views_of(path)
    return Views(normal(views.names), normal(views.prose))


def found_in(path: Path, old: str, where: str) -> Iterator[tuple[int, str]]:
    """Line and text of each place of `path` where the old word stands."""
    if where == FILES_OF_FLOORS:
        searches = [(path.stem, f"^(?:{old})$")] if path in FILES else []
    elif where == NAMES:
        searches = [(views_of(path).names, rf"(?<!\w)(?:{old})(?!\w)")]
    else:
        views = normal_views_of(path)
        in_names, in_prose = old.replace(" ", "_"), old.replace(" ", r"[\s_#-]+")
        searches = [(views.names, in_names)] * (where != PROSE) + [(views.prose, in_prose)] * (where != IDENTIFIERS)
        searches = [(text, rf"(?<![a-z0-9])(?:{words})(?![a-z])") for text, words in searches]
    for text, pattern in searches:
        for match in re.finditer(pattern, text):
            yield text.count("\n", 0, match.start()) + 1, match.group()


@pytest.mark.parametrize(("old", "where", "new"), WORDS, ids=[f"{old} ({where})" for old, where, _ in WORDS])
def test_no_old_word_is_left(old: str, where: str, new: str) -> None:
    paths = [path for path in (*FILES, *TEST_FILES, ROOT / "README.md") if path != Path(__file__)]

    left = [
        f"{shown(path)}:{line}: {text!r}, better: {new}"
        for path in paths
        for line, text in sorted(set(found_in(path, old, where)))
    ]

    if left:
        pytest.fail("\n".join(left), pytrace=False)


def test_a_word_is_found_as_a_part_of_a_name_and_across_lines_but_not_inside_a_word(tmp_path: Path) -> None:
    # Given a name, a docstring of two lines, and words in which another word hides
    path = tmp_path / "file.py"
    path.write_text('class StaysDead:\n    """It stays\n    dead. A year."""\n\n\nheartbeat = "hearts"  # Stays-Dead\n')
    # Then each place is found with its line
    assert list(found_in(path, "stays dead", ANYWHERE)) == [
        (1, "stays_dead"),
        (2, "stays\n    dead"),
        (6, "stays-dead"),
    ]
    assert list(found_in(path, "stays dead", IDENTIFIERS)) == [(1, "stays_dead")]
    assert list(found_in(path, "StaysDead", NAMES)) == [(1, "StaysDead")]
    assert list(found_in(path, "ears?|hear", ANYWHERE)) == []
