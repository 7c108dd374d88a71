"""A history whose robots lived on hosts with wrong clocks: it answers all questions as if the clocks were right."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from broker.envelope import shard_of
from deploy.observing.live_history import history_of
from telemetry.anomalies.detector import AnomalyDetector
from telemetry.anomalies.replay import anomalies_in
from telemetry.events import Stamped
from telemetry.explanations.about_robot import why_robot
from telemetry.explanations.about_run import why_run
from telemetry.explanations.run_index import RunIndex
from telemetry.record.clocks import on_server_clock
from telemetry.record.history import History
from telemetry.record.reader import RecordReader
from telemetry.record.rows import CompleteRow, QuietRow
from telemetry.tracing.exchanges import traces_of
from telemetry.tracing.run_trace import run_trace
from tests.robots.simulation.judged_runs import run
from tests.telemetry.tracing.simulated import history

S = 1_000_000
SICK = "r02"
DIFFERENCES_S = [5, -5, 3600, -86_400]
NEAR_US = 3_000  # what a clock's offset is known by: a millisecond, and the margin within which it may be right


def ahead(right: History, robot: str, seconds: int) -> History:
    """The same run, had the robot's host had its clock ahead by so much."""
    events = [
        replace(each, wall_us=each.wall_us + seconds * S) if each.source == robot else each for each in right.events
    ]
    journals = [
        replace(row, at_us=row.at_us + seconds * S)
        if isinstance(row, CompleteRow | QuietRow) and row.robot == robot
        else row
        for row in right.journals
    ]
    return replace(right, events=events, journals=journals)


def anomalies(run: History) -> list[tuple[str, str]]:
    detector = AnomalyDetector(run.settings.tick_us, lambda robot: shard_of(robot, run.settings.shards))
    return [(found.rule, found.about) for found in anomalies_in(run.events, detector)]


def the_run() -> History:
    return history("storm", 1, has_chaos=True)


@pytest.mark.parametrize("seconds", DIFFERENCES_S)
def test_events_come_back_onto_the_servers_clock_in_their_order(seconds: int) -> None:
    # Given a run in which one robot's clock was wrong
    right = the_run()
    wrong = ahead(right, SICK, seconds)
    # When it is brought onto the server's clock
    mended = on_server_clock(wrong)
    # Then each event and each entry of a journal is where it was, nearly,
    assert len(mended.events) == len(right.events)
    for one, other in zip(right.events, mended.events, strict=True):
        assert abs(one.wall_us - other.wall_us) <= NEAR_US
        assert replace(other, wall_us=one.wall_us) == one
    for row, mended_row in zip(right.journals, mended.journals, strict=True):
        if isinstance(row, CompleteRow | QuietRow):
            assert abs(row.at_us - mended_row.at_us) <= NEAR_US  # type: ignore[union-attr]
    # and once more changes nothing
    assert on_server_clock(mended) == mended


def test_a_history_is_made_on_the_servers_clock_from_a_record_and_from_a_servers_evidence(tmp_path: Path) -> None:
    # Given a recorded run in which one robot's clock was wrong
    ended = run(tmp_path, robots=3)
    folder = tmp_path / str(ended.result.run)
    right = RecordReader(folder).history()
    wrong = ahead(right, SICK, 5).events
    content = b"".join(msgspec.json.encode(stamped) + b"\n" for stamped in wrong)
    (folder / "events.jsonl").write_bytes(content)
    # When its history is made, from its record, or from the evidence of its server
    histories = (
        RecordReader(folder).history(),
        history_of(right.settings, right.dealt, ended.simulated.evidence, wrong),
    )
    # Then the robot's times are right,
    for made in histories:
        differences = [abs(one.wall_us - each.wall_us) for one, each in zip(right.events, made.events, strict=True)]
        assert max(differences) <= NEAR_US
    # and the record stays as it was
    assert (folder / "events.jsonl").read_bytes() == content


def test_a_run_whose_clocks_are_right_is_left_alone() -> None:
    run = the_run()

    assert on_server_clock(run) is run


@pytest.mark.parametrize("seconds", DIFFERENCES_S)
def test_why_explains_the_same_of_a_robot_whose_clock_was_wrong(seconds: int) -> None:
    # Given a run, and the same with one robot's clock wrong
    right = the_run()
    mended = on_server_clock(ahead(right, SICK, seconds))
    # Then the robot has the same lives, and the causes are the same
    one, other = RunIndex(right), RunIndex(mended)
    assert other.view.robots[SICK] == one.view.robots[SICK]
    assert other.diagnosis == one.diagnosis
    # and what is said has as many steps
    assert len(list(why_run(other, None).lines())) == len(list(why_run(one, None).lines()))
    assert len(list(why_robot(other, SICK).lines())) == len(list(why_robot(one, SICK).lines()))
    assert abs((other.completed_us(SICK) or 0) - (one.completed_us(SICK) or 0)) <= NEAR_US


@pytest.mark.parametrize("seconds", DIFFERENCES_S)
def test_the_anomalies_are_the_same_and_are_found_at_once(seconds: int) -> None:
    right = the_run()
    began_s = time.process_time()

    found = anomalies(on_server_clock(ahead(right, SICK, seconds)))

    assert time.process_time() - began_s < 5
    assert found == anomalies(right)
    assert found != []


@pytest.mark.parametrize("seconds", DIFFERENCES_S)
def test_traces_are_not_moved_twice(seconds: int) -> None:
    # Given a run, and the same with one robot's clock wrong
    right = the_run()
    mended = on_server_clock(ahead(right, SICK, seconds))
    # Then every span is where it was, nearly
    for derive in (lambda run: list(traces_of(run)), lambda run: [run_trace(run)]):
        spans = {(span.trace, span.span): span for trace in derive(right) for span in trace.spans}
        again = [span for trace in derive(mended) for span in trace.spans]
        assert {(span.trace, span.span) for span in again} == spans.keys()
        for span in again:
            assert abs(span.start_us - spans[span.trace, span.span].start_us) <= NEAR_US
            assert abs(span.end_us - spans[span.trace, span.span].end_us) <= NEAR_US


@pytest.mark.parametrize("days", [1, -1, 10_000, -9_000])
def test_a_clock_of_which_nothing_is_known_costs_no_time(days: int) -> None:
    # Given a run in which one robot's clock was days off, and that was not brought onto one clock
    run = ahead(the_run(), SICK, days * 86_400)
    # When its anomalies are looked for
    began_s = time.process_time()
    anomalies(run)
    # Then the gap is not walked through
    assert time.process_time() - began_s < 5


def test_what_was_found_before_a_long_gap_stays_as_it_is() -> None:
    # Given a run that ends with a gap of a day, before the last event of one robot
    right = the_run()
    last = max(right.events, key=lambda each: each.monotonic_us)
    later = Stamped(
        last.run, "r09", 1, 1, last.wall_us + 86_400 * S, last.monotonic_us + 86_400 * S, right.events[-1].event
    )
    # Then what was found before it is the same
    found = anomalies(replace(right, events=[*right.events, later]))
    assert found[: len(anomalies(right))] == anomalies(right)
