"""A real Jaeger takes in a live run with loss, duplicates, delay and kills, and its API shows every exchange.

It needs the program `jaeger` on PATH, and is skipped without it; tests/support/jaeger.py tells how to build it. What
is expected is read from the files of the record, not from the code that makes traces.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.checkout import ROOT
from tests.support.jaeger import PROGRAM, Jaeger, ShownSpan, ShownTrace
from tests.support.live_place import Place
from tests.support.waiting import await_true

pytestmark = [
    pytest.mark.live,
    pytest.mark.jaeger,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="live runs are for Linux"),
    pytest.mark.skipif(PROGRAM is None, reason="no `jaeger` is on PATH; tests/support/jaeger.py tells how to build it"),
    pytest.mark.timeout(180),
]

NETWORK = ("--loss", ".2", "--duplicate", ".2", "--delay", "5ms..20ms", "--corrupt", ".05")
CHAOS = ("--kill", "r01@1s", "--kill", "r04@1500ms", "--chaos", "crash r02/gossip_initiator @1200ms")
ROBOTS = ("r00", "r01", "r02", "r03", "r04", "r05")
HAS_EXCHANGE = ("message.sent", "message.dropped", "exchange.ended")


class Shown(NamedTuple):
    """A run that Jaeger has taken in, what its record says, and the traces of its exchanges, by exchange."""

    place: Place
    jaeger: Jaeger
    progress: str
    run: str
    fates: list[dict[str, Any]]
    events: list[dict[str, Any]]
    fleet: list[dict[str, Any]]
    exchanges: dict[str, ShownTrace]

    def found(self, service: str, operation: str = "", **tags: str) -> list[ShownTrace]:
        return self.jaeger.search(service, operation, gossip__run=self.run, **tags)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    place = Place(tmp_path_factory.mktemp("jaeger"))
    with Jaeger(place.folder) as jaeger:
        place.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp}
        shape = ("-n", str(len(ROBOTS)), "--seed", "3", "--for", "3s")
        code, result, progress = place.run(*shape, *NETWORK, *CHAOS)
        assert code == 0, (result.get("promises"), progress)
        assert place.is_clean()
        record = place.folder / "runs" / result["run"]
        fates = [row for row in rows(record / "fates.jsonl") if row["row"] == "fate"]
        events = rows(record / "events.jsonl")
        fleet = rows(record / "fleet.jsonl")
        await_accepted(jaeger, progress)
        traces = [trace for robot in ROBOTS for trace in jaeger.search(robot, "exchange")]
        by_exchange = {trace.root.tags["gossip.exchange"]: trace for trace in traces}
        yield Shown(place, jaeger, progress, result["run"], fates, events, fleet, by_exchange)
    shutil.rmtree(place.temporary, ignore_errors=True)


def await_accepted(jaeger: Jaeger, *progress: str) -> None:
    """Wait until Jaeger has as many spans as these commands say that it accepted: it stores them a moment later."""
    lines = [re.search(r"traces: (\d+) spans accepted", text) for text in progress]
    accepted = sum(int(match[1]) for match in lines if match is not None)
    assert None not in lines, progress
    await_true(lambda: jaeger.stored() == accepted, what=f"the sight of {accepted} spans in Jaeger")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_exchange_that_the_record_knows_is_one_trace_with_one_root(shown: Shown) -> None:
    # Given the exchanges of the record's envelopes and events
    known = {row["exchange"] for row in shown.fates if row["exchange"]}
    known |= {row["event"]["exchange"] for row in shown.events if row["event"]["name"] in HAS_EXCHANGE}
    assert len(known) >= 25

    # Then each is a trace in Jaeger, there is no other, and each has one root
    assert set(shown.exchanges) == known
    assert {len(trace.roots) for trace in shown.exchanges.values()} == {1}
    assert len({trace.id for trace in shown.exchanges.values()}) == len(known)


def test_jaeger_has_nothing_to_complain_about(shown: Shown) -> None:
    # Given each trace as its own page shows it, the run's own one among them
    [run] = shown.jaeger.search("lab", "run")
    traces = [shown.jaeger.trace(trace.id) for trace in (*shown.exchanges.values(), run)]

    # Then none has an orphan, a duplicate id, a clock skew, or a span that begins before its parent
    assert Counter(text for trace in traces for text in trace.warnings) == {}
    assert [span for trace in traces for span in trace.orphans()] == []
    assert [span for trace in traces for span in trace.early()] == []
    ids = Counter(span.id for trace in traces for span in trace.spans)
    assert [span for span, times in ids.items() if times > 1] == []
    assert len({span.resource["host.id"] for trace in traces for span in trace.spans}) == 1
    # and Jaeger's log has no warning either
    assert shown.jaeger.complaints() == []


def test_lost_envelopes_are_found_at_the_relay(shown: Shown) -> None:
    # Given the lost envelopes of the record
    lost = {(row["exchange"], row["id"]) for row in shown.fates if row["fate"] == "lost"}
    assert len(lost) >= 10

    # When a person searches the relay for them
    found = shown.found("relay:0", gossip__fate="lost")

    # Then exactly these are found, each is red, says what lost it, and has nothing below it
    spans = [
        (trace, span) for trace in found for span in trace.spans if span.tags.get("gossip.fate") == "lost"
    ]  # fmt: skip
    assert {(trace.root.tags["gossip.exchange"], span.tags["messaging.message.id"]) for trace, span in spans} == lost
    assert len(spans) == len(lost)
    assert all(span.tags["error"] is True and span.tags["error.type"] == "lost" for _, span in spans)
    assert all("loss" in span.tags["gossip.faults"] for _, span in spans)
    assert all(trace.children(span) == [] for trace, span in spans)


@pytest.mark.parametrize("fate", ["delivered", "lost", "corrupt", "stale"])
def test_each_envelope_is_one_relay_span_with_its_fate(shown: Shown, fate: str) -> None:
    # Given the envelopes of the record that have this fate
    envelopes = {(row["exchange"], row["id"]) for row in shown.fates if row["fate"] == fate}
    recorded = Counter(exchange for exchange, _ in envelopes)

    # Then Jaeger finds as many spans of the relay with that fate, in the same exchanges
    found: Counter[str] = Counter()
    for trace in shown.found("relay:0", gossip__fate=fate):
        count = sum(span.tags.get("gossip.fate") == fate for span in trace.spans)
        found[trace.root.tags["gossip.exchange"]] += count
    assert found == recorded


def test_each_duplicate_is_one_relay_span_with_a_process_span_for_each_copy(shown: Shown) -> None:
    # Given the envelopes of which the relay made two copies, and the copies that were received
    doubled = {row["id"] for row in shown.fates if len(row["deliveries"]) == 2}
    received = Counter(
        (row["event"]["exchange"], row["event"]["sender"], row["event"]["kind"], row["event"]["copy"])
        for row in shown.events
        if row["event"]["name"] == "message.received"
    )
    assert len(doubled) >= 10

    # When a person searches for what was duplicated
    found = shown.found("relay:0", gossip__copies="2")

    # Then these are the envelopes
    spans = [span for trace in found for span in trace.spans if str(span.tags.get("gossip.copies")) == "2"]
    assert {span.tags["messaging.message.id"] for span in spans} == doubled
    # and in all traces, there are as many processed copies as were received
    processed = Counter(
        (exchange, sender_of(trace, span.id), span.name.removeprefix("process "), int(span.tags.get("gossip.copy", 0)))
        for exchange, trace in shown.exchanges.items()
        for span in trace.spans
        if span.name.startswith("process ")
    )
    assert processed == received


def sender_of(trace: ShownTrace, span_id: str) -> str:
    """Who sent what a span processed: the service of the `send` span above its relay."""
    by_id = {span.id: span for span in trace.spans}
    relay = by_id[by_id[span_id].parent or ""]
    return by_id[relay.parent or ""].service


def test_failed_exchanges_are_found_by_their_outcome_from_either_side(shown: Shown) -> None:
    # Given the exchanges that ended without an answer
    ended = [row["event"] for row in shown.events if row["event"]["name"] == "exchange.ended"]
    timeouts = {event["exchange"] for event in ended if event["outcome"] == "timeout"}
    assert timeouts

    # Then the relay finds them by the outcome
    at_relay = shown.found("relay:0", gossip__outcome="timeout")
    assert {trace.root.tags["gossip.exchange"] for trace in at_relay} == timeouts
    # and each root is red and says so
    roots = [trace.root for trace in at_relay]
    assert {(root.tags["error"], root.tags["error.type"], root.tags["gossip.outcome"]) for root in roots} == {
        (True, "timeout", "timeout")
    }
    # and of all that ended, the roots show the outcome and the attempts of the event
    reported = {event["exchange"]: (event["outcome"], event["attempts"]) for event in ended}
    drawn = {
        exchange: (trace.root.tags["gossip.outcome"], int(trace.root.tags["gossip.attempts"]))
        for exchange, trace in shown.exchanges.items()
        if exchange in reported
    }
    assert drawn == reported


def test_the_run_is_a_trace_of_the_lab_with_its_lives_deaths_and_restarts(shown: Shown) -> None:
    # When a person looks for the run
    [run] = shown.found("lab", "run")

    # Then its root shows the verdict, and below it are births, plan, lives, and what happened to them
    assert run.root.tags["gossip.verdict"] == "HELD"
    deaths = [row for row in shown.fleet if row["row"] == "death" and row["robot"]]
    assert len(deaths) >= 2
    killed = [span for span in run.named("life") if span.tags.get("error.type") == "killed"]
    assert sorted(span.service for span in killed) == sorted(row["robot"] for row in deaths)
    assert len(run.named("down")) <= len(deaths)
    assert {"births", "plan", "life", "learn", "write secret"} <= {span.name for span in run.spans}
    assert [pair for pair in successive_lives(run) if pair[0].end > pair[1].start] == []
    # and what taught a robot is linked to the trace of the exchange that did
    traces = {trace.id for trace in shown.exchanges.values()}
    linked = {trace for span in run.spans for trace in span.links}
    assert linked
    assert linked <= traces


def successive_lives(run: ShownTrace) -> list[tuple[ShownSpan, ShownSpan]]:
    """Each life of a robot, and its next one."""
    lives = sorted(run.named("life"), key=lambda span: (span.service, span.tags.get("gossip.incarnation", 0)))
    return [(one, other) for one, other in pairwise(lives) if one.service == other.service and one.service in ROBOTS]


def test_services_operations_and_edges_are_those_of_the_lab(shown: Shown) -> None:
    # Then the services are the robots, their relay and the lab
    assert shown.jaeger.services() == {*ROBOTS, "relay:0", "lab"}
    # and the relay's operations are the kinds of messages that there were
    relayed = {name for name, kind in shown.jaeger.operations("relay:0") if kind == "consumer"}
    kinds = {row["kind"] for row in shown.fates if row["kind"]}
    assert {"summary", "answer"} <= kinds
    assert relayed == {f"relay {kind}" for kind in kinds}
    # and messages go from robot to relay to robot
    edges = shown.jaeger.edges()
    assert {(robot, "relay:0") for robot in ROBOTS} | {("relay:0", robot) for robot in ROBOTS} <= edges


def test_each_search_that_the_readme_shows_finds_something(shown: Shown) -> None:
    # Given the table of searches
    readme = (ROOT / "README.md").read_text()
    table = re.findall(r"^\| `([\w:]+)` \| (?:all|`([\w ]+)`) \| (?:`([\w.]+)=(\w+)` )?\| ", readme, re.MULTILINE)
    assert len(table) == 6
    for service, operation, name, value in table:
        # When a person does one
        found = shown.jaeger.search(service, operation, **({name: value} if name else {}))

        # Then it finds traces of which one span has all of it
        spans = [span for trace in found for span in trace.spans if span.service == service]
        assert [span for span in spans if operation in ("", span.name) and str(span.tags.get(name, "")) == value]


def test_the_link_that_a_push_prints_finds_the_run(tmp_path_factory: pytest.TempPathFactory, shown: Shown) -> None:
    # Given another Jaeger, into which the record is pushed, and the link that is printed then
    with Jaeger(tmp_path_factory.mktemp("linked")) as other:
        printed = push(shown, other, "http/json")
        await_accepted(other, printed)
        [link] = re.findall(r"jaeger: (\S+)", printed)
        page, _, query = link.partition("?")
        assert page == f"{other.api}/search"

        # When it is asked what that page asks
        found = other.ask("/api/traces", **dict(urllib.parse.parse_qsl(query)))["data"]

    # Then it finds the run's own trace, and no other
    assert [ShownTrace(trace).root.tags["gossip.run"] for trace in found] == [shown.run]


def test_a_run_that_is_pushed_from_its_record_shows_the_same_spans_by_either_protocol(
    tmp_path_factory: pytest.TempPathFactory, shown: Shown
) -> None:
    # Given another Jaeger, into which the record is pushed by our own exporter, and what it shows then
    with Jaeger(tmp_path_factory.mktemp("pushed")) as other:
        first = push(shown, other, "http/json")
        await_accepted(other, first)
        pushed = {trace: other.trace(trace) for trace in sorted(trace.id for trace in shown.exchanges.values())}
        before = {trace.id: whole(trace) for trace in pushed.values()}

        # When it is pushed again, by the official exporter
        second = push(shown, other, "http/protobuf")

        # Then every span is the same, to the last bit: Jaeger shows each once, and does not complain
        await_accepted(other, first, second)
        again = [other.trace(trace) for trace in pushed]
        assert {trace.id: whole(trace) for trace in again} == before
        assert [text for trace in again for text in trace.warnings] == []
    # and they are those that came while the run lived, when what followed from a death was not known yet
    live = {span.id: (span.service, span.name) for trace in shown.exchanges.values() for span in trace.spans}
    assert {span.id: (span.service, span.name) for trace in pushed.values() for span in trace.spans} == live


def push(shown: Shown, jaeger: Jaeger, protocol: str) -> str:
    """Push the run's record into a Jaeger. What the command reports."""
    shown.place.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    process = shown.place.start("traces", "push", shown.run, "--all", "--jaeger-url", jaeger.api)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    return out.decode()


def whole(trace: ShownTrace) -> dict[str, tuple[object, ...]]:
    """All that Jaeger shows of each span."""
    return {
        span.id: (span.service, span.name, span.parent, span.start, span.end, span.tags, span.resource, span.links)
        for span in trace.spans
    }


@pytest.mark.parametrize("seed", ["3", "4"])
def test_the_files_of_a_simulated_record_can_be_uploaded_to_the_letter(
    tmp_path_factory: pytest.TempPathFactory, shown: Shown, seed: str
) -> None:
    # Given the traces in the record of a simulated run
    place = Place(tmp_path_factory.mktemp("upload"))
    process = place.start("simulate", "--json", "-n", "6", "--seed", seed, *NETWORK)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    shutil.rmtree(place.temporary, ignore_errors=True)
    [folder] = place.folder.glob(f"runs/{json.loads(out)['run']}/traces")
    for file in (folder / "run.jsonl", folder / "exchanges.jsonl"):
        lines = file.read_bytes().splitlines()

        # When each line is uploaded, and all of them as the page merges them
        spans = [resource for line in lines for resource in json.loads(line)["resourceSpans"]]
        merged = shown.jaeger.transform(json.dumps({"resourceSpans": spans}).encode())["data"]
        singly = [trace for line in lines for trace in shown.jaeger.transform(line)["data"]]

        # Then they are the same traces, each with one root and no orphan, and no span is lost
        assert {trace["traceID"] for trace in singly} == {trace["traceID"] for trace in merged}
        traces = [ShownTrace(trace) for trace in merged]
        assert {len(trace.roots) for trace in traces} == {1}
        assert [span for trace in traces for span in (*trace.orphans(), *trace.early())] == []
        written = sum(len(scope["spans"]) for resource in spans for scope in resource["scopeSpans"])
        assert sum(len(trace.spans) for trace in traces) == written
