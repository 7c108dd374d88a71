"""Played: what the plan wanted happened, in time and with its effect; and nothing else did."""

from __future__ import annotations

from typing import Any

import pytest

from telemetry.events import SupervisorBegan, SupervisorStalled
from tests.verdict.alterations import Damage, drop, named, rows
from tests.verdict.judged import assert_convicted, assert_unproven, finding, verdict_on
from tests.verdict.planned_record import planned
from tests.verdict.scribe import GO_MS, Files

PLAN = [
    "loss 0.1",
    "partition hold r00|r01 @1s+2s",
    "loss 0.5 r02 @4s+1s",
    "kill r02 @2s",
    "pause r01 @6s+2s",
    "reorder 0.1 @7s+1s",
]
KINDS: dict[str, tuple[list[str], int]] = {
    "nothing": ([], 0),
    "undated": (["loss 0.1", "delay 5ms..20ms"], 2),
    "dated": (["loss 0.1 @2s", "partition r00|r01 @1s+500ms"], 2),
    "recurring": (["partition r00|r01 @1s+300ms every 1s"], 7),
    "healed": (["loss 0.1", "partition r00|r01 @1s+300ms every 1s", "heal @3500ms"], 4),
    "after the end": (["loss 0.1 @20s", "kill r00 @30s"], 0),
    "killed": (["kill r02 @2s", "kill robot @1s every 2s", "kill rq:r00 @3s", "kill redis @4s"], 7),
    "paused": (["pause r01 @2s+1s", "pause r02 @4s+2s"], 4),
    "restarted": (["restart r01 @2s", "restart rq:r02 @4s"], 2),
    "contradicted": (["contradict r01 @1s"], 1),
    "forgotten": (["amnesia r01 @1s"], 1),
    "all": (PLAN, 7),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_that_is_played_is_held_and_counts_what_was_due(kind: str) -> None:
    # Given a record of a leader that plays the plan
    lines, tested = KINDS[kind]
    files = planned(lines, for_us=8_000_000)
    # When it is judged
    found = verdict_on(files).promises["played"]
    # Then all that was due is counted, and nothing is missed
    assert (found.state, found.tested) == ("HELD", tested), found.why


REQUESTS = {
    0.5: "set loss .4; delay 10ms @1s+1s every 3s",
    1.2: "set kill r2 @1s every 2s",
    2.0: "set loss 0; duplicate .5 x3 r0",
    3.1: "clear #3",
    4.0: "clear kill r02",
    4.4: "set pause r1 @0s+3s; heal @3s",
    5.0: "clear pause",
    6.0: "heal",
    6.5: "set nonsense",
    7.0: "set corrupt .3 r00,r01|r02 @0s+1s",
}


def test_what_people_request_amends_what_is_due() -> None:
    # Given a run whose plan people changed: added, replaced, cleared and healed, once in vain
    files = planned(["loss 0.1", "reorder 0.1 @8s"], requests=REQUESTS, for_us=8_000_000)
    assert any(row["refusal"] for row in rows(files, "plan", control="plan") if row.get("request"))
    # When it is judged, then the plan is held as amended
    assert finding(files, "played")[0] == "HELD", finding(files, "played")
    # But not, if the leader had forgotten one of the requests
    for row in files["plan"]:
        if row.get("request", "").startswith("clear #3"):
            row.update(request="", request_id="")
    assert finding(files, "played")[0] == "BROKEN"


def standing(files: Files, instance: int) -> list[dict[str, Any]]:
    found = [row for row in files["plan"] if any(fault["instance"] == instance for fault in row.get("faults", ()))]
    assert found
    return found


def leave_out(files: Files, instance: int, shard: int | None = None) -> None:
    for row in standing(files, instance):
        if shard in (None, row["shard"]):
            row["faults"] = [fault for fault in row["faults"] if fault["instance"] != instance]


def put_another(files: Files) -> None:
    for row in standing(files, 1):
        row["faults"] = [fault | {"fault": fault["fault"].replace("r01", "r02")} for fault in row["faults"]]


def never_end(files: Files, instance: int) -> None:
    fault = next(fault for fault in standing(files, instance)[0]["faults"] if fault["instance"] == instance)
    begun = set[int]()
    for row in files["plan"]:
        if fault in row.get("faults", ()):
            begun.add(row["shard"])
        elif row["shard"] in begun and "faults" in row:
            row["faults"] = [*row["faults"], fault]


def put_too_late(files: Files) -> None:
    """Let the lasting loss stand only from six seconds after go on."""
    for row in standing(files, 0):
        if int(row["id"].split("-")[0]) < GO_MS + 6_000:
            row["faults"] = [fault for fault in row["faults"] if fault["instance"] != 0]


def begin_too_early(files: Files) -> None:
    """Let the loss that is due after four seconds stand with the partition, three seconds before."""
    loss = next(fault for fault in standing(files, 2)[0]["faults"] if fault["instance"] == 2)
    for row in standing(files, 1):
        row["faults"] = [*row["faults"], loss]


def injections(files: Files, verb: str) -> list[dict[str, Any]]:
    return rows(files, "fleet", row="injection", verb=verb)


def inject_what_was_not_planned(files: Files) -> None:
    files["fleet"].append({**injections(files, "kill")[0], "id": f"{GO_MS + 8_500}-0"})


def inject_too_early(files: Files) -> None:
    injections(files, "kill")[0]["id"] = f"{GO_MS + 800}-0"
    files["fleet"].sort(key=lambda row: row["id"])


BREACHES: dict[str, tuple[Damage, str]] = {
    "a fault that never stood": (lambda f: leave_out(f, 1), "fault 1"),
    "a fault that stood in one outbox only": (lambda f: leave_out(f, 1, shard=1), "fault 1"),
    "a lasting fault that never stood": (lambda f: leave_out(f, 0), "fault 0"),
    "another fault under its number": (put_another, "fault 1"),
    "a fault that never ended": (lambda f: never_end(f, 1), "outbox 0, entry"),
    "a fault that stood far too late": (put_too_late, "fault 0"),
    "a fault that stood far too early": (begin_too_early, "outbox 0, entry"),
    "a kill that was due and not injected": (
        lambda f: drop(f, "fleet", injections(f, "kill")[0]),
        "kill r02, due 2.00 s after go",
    ),
    "a kill that was not due": (inject_what_was_not_planned, "fleet log, injection"),
    "a kill that was injected too early": (inject_too_early, "kill r02, due 2.00 s after go"),
    "a kill of another robot": (lambda f: injections(f, "kill")[0].update(victim="r01"), "fleet log, injection"),
    "a pause that did not end": (lambda f: drop(f, "fleet", injections(f, "resume")[0]), "the end of pause r01"),
    "a pause that ended too early": (
        lambda f: injections(f, "resume")[0].update(id=f"{GO_MS + 6_300}-0"),
        "fleet log, injection",
    ),
}


@pytest.fixture
def files() -> Files:
    """The files of an honest record of a run with faults of all sorts."""
    return planned(PLAN)


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_convicted_with_a_witness(breach: str, files: Files) -> None:
    assert_convicted(files, "played", *BREACHES[breach])


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("kill r02 @1s", 11),
        ("kill rq:r02 @1s", 11),
        ("pause r02 @1s+8s", 10),
        ("restart r02 @1s", 11),
        ("amnesia r02 @1s", 11),
    ],
)
def test_an_injection_that_is_recorded_and_not_done_is_broken(line: str, seconds: int) -> None:
    # Given a leader that records an injection, and a robot that goes on all the same
    files = planned([line], seconds=seconds, fakes=[line.partition(" ")[0]])
    # When it is judged, then the robot's signs of life convict
    state, why = finding(files, "played")
    assert (state, "(witness: fleet log, injection" in why) == ("BROKEN", True), why
    # But a run that ended at once shows nothing of an effect, and convicts nothing
    if not line.startswith(("pause", "amnesia")):
        files = planned([line], seconds=1.5, fakes=[line.partition(" ")[0]])
        assert finding(files, "played")[0] == "UNPROVEN"


@pytest.mark.parametrize("line", ["kill r02 @1s", "restart r02 @1s", "pause r02 @1s+4s", "pause r02 @1s+9s"])
def test_an_injection_that_a_host_without_time_did_late_is_unproven(line: str) -> None:
    # Given a host that did late what it was to do
    files = planned([line], seconds=11, fakes=[line.partition(" ")[0]])
    begin_ms, end_ms = GO_MS + (7_400 if "restart" in line else 5_500), GO_MS + 10_050
    for name in ("fates", "events"):
        files[name] = [
            row
            for row in files[name]
            if not (is_of(row, "r02") and begin_ms < time_ms(row) and ("pause" not in line or time_ms(row) < end_ms))
        ]
    # When it is judged, then slow is not guilty
    state, why = finding(files, "played")
    assert (state, "its host may have had no time" in why) == ("UNPROVEN", True), why


@pytest.mark.parametrize(("stalled_us", "state"), [(300_000, "BROKEN"), (9_000_000, "UNPROVEN")])
def test_a_stall_of_the_leader_excuses_no_more_than_its_own_time(stalled_us: int, state: str) -> None:
    # Given a kill that was not done, and a leader that stalled just after its row
    files = planned(["kill r02 @1s"], seconds=11, fakes=["kill"])
    event(files, {"name": "supervisor.stalled", "stalled_us": stalled_us}, GO_MS + 1_500)
    # When it is judged
    assert finding(files, "played")[0] == state, finding(files, "played")


def is_of(row: dict[str, Any], robot: str) -> bool:
    return robot in (row.get("sender"), row.get("source"))


def time_ms(row: dict[str, Any]) -> int:
    return row["wall_us"] // 1000 if "wall_us" in row else int(row["id"].split("-")[0])


def test_a_simulated_process_acts_no_more_at_once() -> None:
    # Given a kill that was not done, half a second before the end
    files = planned(["kill r02 @1s"], seconds=1.5, fakes=["kill"])
    # When the run was simulated, then a single envelope convicts
    files["settings"]["mode"] = "simulated"
    assert finding(files, "played")[0] == "BROKEN"


def test_a_process_that_leaves_no_sign_convicts_no_leader() -> None:
    # Given a server that was to be killed, and of whose death nothing is recorded
    files = planned(["kill redis @1s"], fakes=["kill"])
    # When it is judged
    assert finding(files, "played") == ("UNPROVEN", "redis was killed, and nothing shows that it ended")


def test_short_faults_may_be_left_out_live_but_not_all_of_them_and_none_in_a_simulation() -> None:
    # Given faults of 0.1 s, of which a leader left one out
    files = planned(["partition r00|r01 @1s+100ms every 1s"], for_us=8_000_000)
    first = [row for row in standing(files, 0) if int(row["id"].split("-")[0]) < GO_MS + 1_500]
    for row in first:
        row["faults"] = []
    # Then a live leader may have been too slow, and a simulated one may not
    assert finding(files, "played")[0] == "HELD"
    files["settings"]["mode"] = "simulated"
    assert finding(files, "played")[0] == "BROKEN"
    # But when no fault stood at all, then nothing shows that the plan was played
    files["settings"]["mode"] = "live"
    leave_out(files, 0)
    assert finding(files, "played")[0] == "UNPROVEN"


def stand_for(files: Files, ms: int) -> None:
    """Let the partition have stood for so long only: in each outbox, in its first entry."""
    shards = set[int]()
    for row in standing(files, 0):
        if row["shard"] in shards:
            row["faults"] = []
        else:
            shards.add(row["shard"])
            number = 5_000 + row["shard"]
            entry = f"{int(row['id'].split('-')[0]) + ms}-{number}"
            files["plan"].append({**row, "id": entry, "faults": [], "request": "", "request_id": ""})


@pytest.mark.parametrize(
    ("ms", "live", "simulated"), [(2_900, "HELD", "BROKEN"), (1_500, "UNPROVEN", "BROKEN"), (1, "BROKEN", "BROKEN")]
)
def test_a_fault_stands_for_as_long_as_it_was_due(ms: int, live: str, simulated: str) -> None:
    # Given a partition of three seconds that stood for less time
    files = planned(["partition r00|r01 @1s+3s"])
    assert finding(files, "played")[0] == "HELD"
    stand_for(files, ms)
    # When it is judged, then a live leader may have been slow, and a simulated one may not
    assert finding(files, "played")[0] == live, finding(files, "played")
    files["settings"]["mode"] = "simulated"
    assert finding(files, "played")[0] == simulated, finding(files, "played")


def test_a_simulated_leader_is_late_only_while_the_server_is_away() -> None:
    # Given a leader that does all things a second late
    files = planned(["partition r00|r01 @1s+1s"])
    for row in [*standing(files, 0), *rows(files, "plan", control="plan", faults=[])]:
        at_ms, number = map(int, row["id"].split("-"))
        row["id"] = f"{at_ms + 1_000 if at_ms > GO_MS else at_ms}-{number}"
    # When it is judged, then it may be so if the run is live, and may not if it is simulated
    assert finding(files, "played")[0] == "HELD", finding(files, "played")
    files["settings"]["mode"] = "simulated"
    assert finding(files, "played")[0] == "BROKEN"


def test_what_was_due_just_before_the_end_may_be_missing() -> None:
    # Given a kill and a fault that were due half a second before the order to stop, and did not come
    files = planned(["kill r02 @8500ms", "partition r00|r01 @8500ms"], seconds=9)
    drop(files, "fleet", injections(files, "kill")[0])
    leave_out(files, 1)
    # When it is judged, then the leader had no time to be late
    assert finding(files, "played")[0] == "UNPROVEN"
    files = planned(["kill r02 @8500ms"], seconds=9)
    drop(files, "fleet", injections(files, "kill")[0])
    assert finding(files, "played")[0] == "HELD"


def server_away(files: Files) -> None:
    leave_out(files, 1)
    row = {"victim": "redis", "robot": "", "incarnation": 0, "how": "signal", "status": -9}
    files["fleet"].append({"id": f"{GO_MS + 2_500}-9", "row": "death", **row})


def event(files: Files, event_fields: dict[str, Any], at_ms: int) -> None:
    row = named(files, "fault.injected")[0]
    files["events"].append({**row, "number": 99, "wall_us": at_ms * 1000, "event": event_fields})


def fail(files: Files, at_ms: int) -> None:
    failure = {"verb": "kill", "target": "r02", "why": "there is no r02 now"}
    files["fleet"].append({"id": f"{at_ms}-0", "row": "failure", **failure})


def fail_instead(files: Files) -> None:
    drop(files, "fleet", injections(files, "kill")[0])
    fail(files, GO_MS + 2_010)


def take_over(files: Files) -> None:
    drop(files, "fleet", injections(files, "kill")[0])
    assert SupervisorBegan(is_successor=True)
    event(files, {"name": "supervisor.began", "is_successor": True}, GO_MS + 3_000)


def be_without_a_leader(files: Files) -> None:
    drop(files, "fleet", injections(files, "kill")[0])
    row = {"id": f"{GO_MS + 4_500}-0", "row": "leadership_gap", "away_us": 3_200_000}
    files["fleet"].append(row)


def stall(files: Files) -> None:
    leave_out(files, 1)
    assert SupervisorStalled(stalled_us=2_100_000)
    event(files, {"name": "supervisor.stalled", "stalled_us": 2_100_000}, GO_MS + 3_050)


def be_silent(files: Files) -> None:
    """Let the server have stamped nothing for two seconds, in which the partition was due."""
    leave_out(files, 1)
    begin, end = GO_MS + 800, GO_MS + 3_200
    for name in ("fates", "fleet", "plan"):
        files[name] = [row for row in files[name] if not begin < int(row["id"].split("-")[0]) < end]


DOUBTS: dict[str, tuple[Damage, str]] = {
    "a server that was away": (server_away, "the server was away"),
    "a takeover": (take_over, "another supervisor took over"),
    "a time without a leader": (be_without_a_leader, "no supervisor led the run"),
    "a leader that stalled": (stall, "the leader reports that it stalled"),
    "a silence": (be_silent, "the server may have been away"),
    "an injection that failed": (fail_instead, "an injection failed: kill r02 (there is no r02 now)"),
    "an injection that failed after its row": (lambda f: fail(f, GO_MS + 2_010), "an injection failed"),
    "no order go": (lambda f: f["streams"]["orders"].pop(1), "go was never given"),
    "a fault that the judge does not know": (
        lambda f: f["settings"]["plan"].__setitem__(0, "gremlins 0.2"),
        "gremlins",
    ),
    "a line without a number": (lambda f: f["settings"]["plan"].append("loss 0.1 r01"), "7 lines, but 6 instances"),
    "an outbox without a plan": (
        lambda f: f.update(plan=[row for row in f["plan"] if row["shard"] == 0 or row["control"] != "plan"]),
        "no plan is recorded of outbox 1",
    ),
    "no fleet log": (lambda f: f.pop("fleet"), "fleet.jsonl is missing"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_cannot_be_shown_is_unproven_with_the_reason(doubt: str, files: Files) -> None:
    assert_unproven(files, "played", *DOUBTS[doubt])


def test_an_outage_excuses_no_leader_that_had_time_afterwards(files: Files) -> None:
    # Given a server that was away when a lasting fault was due, and a leader that never published it
    files = planned(["loss 0.1 @1s"])
    leave_out(files, 0)
    row = {"victim": "redis", "robot": "", "incarnation": 0, "how": "signal", "status": -9}
    files["fleet"].append({"id": f"{GO_MS + 1_000}-9", "row": "death", **row})
    # When it is judged, then the outage was over long before the end
    assert finding(files, "played")[0] == "BROKEN"


def die(files: Files, victim: str, at_ms: int) -> None:
    row = {"victim": victim, "robot": "", "incarnation": 0, "how": "signal", "status": -9}
    files["fleet"].append({"id": f"{at_ms}-9", "row": "death", **row})
    files["fleet"].sort(key=lambda row: row["id"])


def test_what_may_be_missing_takes_no_row_from_what_must_not() -> None:
    # Given two pauses, the second soon after the first, in which the robot was killed
    files = planned(["pause r01 @1s+2500ms", "pause r01 @4s+1s"], seconds=6.5)
    drop(files, "fleet", injections(files, "resume")[0])
    die(files, "r01", GO_MS + 2_000)
    # When it is judged, then the only resume is that of the second
    assert finding(files, "played")[0] == "HELD", finding(files, "played")
    # But without it, the second did not end
    drop(files, "fleet", injections(files, "resume")[0])
    assert finding(files, "played")[0] == "BROKEN"


def test_a_resume_in_the_millisecond_of_the_pause_ends_it_if_it_comes_behind() -> None:
    # Given a pause that a line `resume` ended in the same millisecond
    files = planned(["pause r01 @1s+1s", "resume r01 @1s"])
    pause, (early, end) = injections(files, "pause")[0], injections(files, "resume")
    early["id"] = pause["id"].replace("-0", "-1")
    drop(files, "fleet", end)
    # When it is judged, then it was over
    assert finding(files, "played")[0] == "HELD", finding(files, "played")
    # But a resume that came first ended nothing
    early["id"], pause["id"] = pause["id"], early["id"]
    assert finding(files, "played")[0] == "BROKEN"


def silence(files: Files, begin_ms: int, end_ms: int) -> None:
    """Let the server have stamped nothing in between."""
    for name in ("fates", "fleet", "plan"):
        files[name] = [row for row in files[name] if not begin_ms < int(row["id"].split("-")[0]) < end_ms]


@pytest.mark.parametrize("mode", ["live", "simulated"])
def test_a_paused_server_is_away_until_it_is_resumed(mode: str) -> None:
    # Given a kill that was due while the server was paused, and that was not injected
    files = planned(["kill r02 @3s", "pause redis @1s+8s"], seconds=11)
    files["settings"]["mode"] = mode
    silence(files, int(injections(files, "pause")[0]["id"].split("-")[0]), GO_MS + 8_999)
    # When it is judged, then the leader could not
    state, why = finding(files, "played")
    assert (state, why.rpartition(": ")[2]) == ("UNPROVEN", "the server was away"), why


def test_a_server_that_was_not_paused_excuses_nothing() -> None:
    # Given a pause of the server that was recorded only, and a kill that was due meanwhile
    files = planned(["kill r02 @5s", "pause redis @1s+8s"], seconds=11)
    drop(files, "fleet", injections(files, "kill")[0])
    # When it is judged, then the entries of the run show that the server was there
    state, why = finding(files, "played")
    assert (state, "kill r02" in why or "redis was paused" in why) == ("BROKEN", True), why


def mute(files: Files, robot: str, begin_ms: int, end_ms: int) -> None:
    """Let a robot have sent nothing in between."""
    files["fates"] = [
        row for row in files["fates"] if row["sender"] != robot or not begin_ms < int(row["id"].split("-")[0]) < end_ms
    ]


def test_a_process_that_was_resumed_goes_on_or_ends() -> None:
    # Given a pause of which only the end was recorded
    files = planned(["pause r01 @1s+2s"], seconds=12.5)
    assert finding(files, "played")[0] == "HELD", finding(files, "played")
    mute(files, "r01", GO_MS + 3_000, GO_MS + 11_500)
    # When it is judged, then nothing shows that the robot went on
    assert finding(files, "played") == ("UNPROVEN", "r01 was resumed, and nothing shows that it went on")
    # But if it died, then it could not
    die(files, "r01", GO_MS + 5_000)
    assert finding(files, "played")[0] == "HELD", finding(files, "played")


def test_a_failure_explains_what_is_missing_though_an_outage_explains_more() -> None:
    # Given two kills that are missing, of which one fell into a time without a leader
    files = planned(["kill r02 @2s", "kill r02 @5s"], for_us=8_000_000)
    for row in injections(files, "kill"):
        drop(files, "fleet", row)
    files["fleet"].append({"id": f"{GO_MS + 4_000}-0", "row": "leadership_gap", "away_us": 3_000_000})
    assert finding(files, "played")[0] == "BROKEN", finding(files, "played")
    # When the other one failed, then nothing is left to convict
    fail(files, GO_MS + 5_010)
    assert finding(files, "played")[0] == "UNPROVEN", finding(files, "played")
