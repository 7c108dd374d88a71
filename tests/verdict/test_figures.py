"""The figures of a result are those of its record."""

from __future__ import annotations

from telemetry.plain.verdict import verdict_lines
from telemetry.verdict.figures import Recoveries, Repeated
from tests.verdict.alterations import birth_ms, count_one, death, rows
from tests.verdict.honest_record import PAIRS, living, sent_under, stopped
from tests.verdict.judged import verdict_on
from tests.verdict.scribe import GO_MS, ROBOTS, TICK_US, WORDS, Files, Scribe, files_of


def test_the_figures_are_those_of_the_record(files: Files) -> None:
    # Given what the record holds
    envelopes = [row for row in files["fates"] if int(row["id"].split("-")[0]) >= GO_MS]
    completed = [row["at_us"] for row in rows(files, "journals", entry="complete")]
    until = [row for row in envelopes if int(row["id"].split("-")[0]) * 1000 <= max(completed)]
    # When it is judged
    result = verdict_on(files).json
    # Then the figures agree
    assert result["seconds"] == {
        "born": 0.4,
        "first_complete": (min(completed) - GO_MS * 1000) / 1e6,
        "written": 1.5,
        "all_complete": (max(completed) - GO_MS * 1000) / 1e6,
        "total": 5.2,
    }
    assert result["rounds"]["all_complete"] == round((max(completed) - GO_MS * 1000) / TICK_US, 1)
    until_complete, whole = result["until_complete"], result["whole_run"]
    assert until_complete["messages"]["sent"] == len(until)
    assert until_complete["messages"]["delivered"] == sum(bool(row["deliveries"]) for row in until)
    assert until_complete["messages"]["lost"] == sum(row["fate"] == "lost" for row in until)
    assert until_complete["messages"]["duplicated"] == sum(len(row["deliveries"]) > 1 for row in until)
    assert until_complete["messages"]["reordered"] == sum(
        any(us >= 15_000 + 10_000 for us in row["deliveries"]) for row in until
    )
    assert until_complete["messages"]["per_robot"] == round(len(until) / 3, 1)
    assert until_complete["model_bytes_per_robot"] == round(len(until) * 58 / 3, 1)
    assert until_complete["wire_bytes_per_robot"] == round(len(until) * 60 / 3, 1)
    assert (result["winner"], result["winner_incarnation"], whole["restarts"]) == ("r01", 1, 1)
    loss = whole["faults"][0]
    ruled = [row for row in files["fates"] if row["fate"] in ("delivered", "lost")]
    assert (loss["name"], loss["set"], loss["offered"]) == ("loss", "0.2", len(ruled))
    assert loss["injected"] == sum(not row["deliveries"] for row in ruled)
    assert loss["rate"] == round(loss["injected"] / loss["offered"], 4)


def test_a_robot_that_was_dealt_everything_is_complete_at_once(files: Files) -> None:
    # Given a run of one robot that was dealt the whole secret, and never journalled "complete"
    files["settings"] |= {"robots": 1}
    for part in files["deal"]["indices"]:
        part["holders"] = ["r00"]
    files["plan"] = [row for row in files["plan"] if row.get("robot") in (None, "r00")]
    files["register"]["births"] = {"r00": files["register"]["births"]["r00"]}
    content = [{"entry": "header", "origin": "dealt"}]
    content += [
        {"entry": "part", "index": index, "word": word, "last": index == 2, "cause": None}
        for index, word in enumerate(WORDS)
    ]
    dealt = [{"robot": "r00", "id": f"0-{number}", **entry} for number, entry in enumerate(content, start=1)]
    life = [{"entry": "born", "nonce": "r00-1"}, {"entry": "quiet", "ticks": 10, "at_us": (GO_MS + 1500) * 1000}]
    files["journals"] = dealt + [{"robot": "r00", "id": f"1-{n}", **entry} for n, entry in enumerate(life, start=1)]
    files["register"]["writes"][0] |= {"robot": "r00", "nonce": "r00-1"}
    # When it is judged
    result = verdict_on(files)
    # Then it was complete at `go`, and patient
    assert (result.seconds.first_complete, result.seconds.all_complete) == (0, 0)
    assert result.promises["patient"].state == "HELD"
    assert result.promises["convergent"].state == "HELD"


def test_the_figures_show_rates_with_their_bands() -> None:
    # Given a record with faults of all kinds
    files = sent_under(
        ["loss 0.2 r00>r01", "burst-loss 0.3 5", "duplicate 0.3 x3", "corrupt 0.2", "partition r09"], envelopes=300
    )
    # When it is judged
    result = verdict_on(files)
    figures = {figure.name: figure for figure in result.whole_run.faults}
    # Then each fault was offered what its target selects and the ones before it left
    lost_in_bursts = figures["burst-loss"].injected
    assert figures["burst-loss"].offered == 300
    assert figures["loss"].offered < 300 / len(PAIRS) + 1
    assert figures["duplicate"].offered == 300 - lost_in_bursts - figures["loss"].injected
    assert figures["partition"].state == "UNPROVEN"
    assert (figures["partition"].rate, figures["partition"].band) == (None, None)
    # And rates lie in their bands, which are wider where envelopes share their fates
    for name in ("loss", "burst-loss", "duplicate", "corrupt"):
        figure = figures[name]
        assert figure.band is not None
        assert figure.rate == round(figure.injected / figure.offered, 4)
        assert figure.band[0] < figure.rate < figure.band[1]
    loss = figures["burst-loss"]
    assert loss.band is not None
    assert loss.band[1] - loss.band[0] > 2 * (2 * 1.96) * (0.3 * 0.7 / 300) ** 0.5
    # And so people read it
    lines = list(verdict_lines(result.json, is_verbose=True, width=200))
    came = [row for row in files["fates"] if row["deliveries"]]
    assert (
        result.until_complete.messages.corrupted
        == figures["corrupt"].injected
        == sum(row["fate"] == "corrupt" for row in came)
    )
    assert result.until_complete.messages.delivered == len(came) - figures["corrupt"].injected
    assert any(f"{result.until_complete.messages.corrupted} corrupted" in line for line in lines)
    low, high = figures["corrupt"].band or (0, 0)
    shown = f"corrupt 0.2 acted on {figures['corrupt'].injected} of {figures['corrupt'].offered}"
    assert any(shown in line and f"95% band {low:.1%}..{high:.1%})" in line for line in lines)


def test_a_reorder_is_counted_by_first_copies_and_shown_by_any() -> None:
    # Given envelopes of two copies each, of which any may be put back
    files = sent_under(["duplicate 1", "reorder 0.3"], envelopes=120)
    result = verdict_on(files)
    # Then the rate is that of the first copies, and messages count all that overtook each other
    assert result.whole_run.faults[1].injected == sum(row["deliveries"][0] > 0 for row in files["fates"])
    assert result.until_complete.messages.reordered == sum(any(row["deliveries"]) for row in files["fates"])
    assert (result.until_complete.messages.reordered or 0) > result.whole_run.faults[1].injected


def test_copies_that_came_once_more_are_counted_whatever_is_missing_elsewhere(files: Files) -> None:
    count_one(files, "r01", 2)
    count_one(files, "r00", -1)
    assert verdict_on(files).whole_run.repeated == Repeated(redone=0, copies=2)


def test_recoveries_and_lives_are_those_of_the_record(longer_files: Files) -> None:
    # Given r02, which died and was born again
    fell_ms = int(longer_files["fleet"][0]["id"].split("-")[0])
    down_s = (birth_ms(longer_files, "r02", 2) - fell_ms) / 1000
    # When it is judged, then that is one recovery of so long, and people read of it
    result = verdict_on(longer_files)
    assert result.verdict == "HELD"
    assert (result.whole_run.recoveries, result.whole_run.lives) == (Recoveries(1, down_s, down_s), {"r02": 2})
    assert f"  lives       1 restart; 1 recovery, median {down_s:.2f} s, longest {down_s:.2f} s" in list(
        verdict_lines(result.json)
    )
    # When its process had died once more before that birth, then it is still one, from the first death on
    death(longer_files, "r02", 1, fell_ms + 20, "exit", 1)
    assert verdict_on(longer_files).whole_run.recoveries == Recoveries(1, down_s, down_s)


def test_a_run_without_deaths_had_no_recoveries() -> None:
    scribe = Scribe()
    scribe.deal()
    for robot in ROBOTS:
        scribe.born(robot)
    result = verdict_on(stopped(scribe, *ROBOTS))
    assert result.promises["supervised"].why == "no death of a robot, and no crash of a worker"
    assert (result.whole_run.recoveries, result.whole_run.lives) == (Recoveries(0, None, None), {})
    assert not any("recover" in line for line in verdict_lines(result.json))


def test_the_median_of_recoveries_is_shown_and_the_longest() -> None:
    scribe = living(3, pause_ms=100)
    scribe.now_ms += 900
    scribe.born("r02")
    recoveries = verdict_on(files_of(scribe)).whole_run.recoveries
    assert recoveries == Recoveries(3, 0.101, 0.901)
