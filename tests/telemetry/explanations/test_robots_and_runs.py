"""Why a robot was last, has not written or is not complete, where a run's time went: from histories made by hand."""

from __future__ import annotations

from telemetry.events import (
    EvidenceLost,
    ExchangeEnded,
    MessageDropped,
    MessageSent,
    RobotQuiet,
    SecretRefused,
    SecretWritten,
    TicksExecuted,
    WorkerCrashed,
    WorkerRestarted,
)
from telemetry.explanations.about_robot import why_part, why_robot
from telemetry.explanations.about_run import why_run
from telemetry.explanations.explanation import Explanation
from telemetry.record.rows import LostRow
from tests.telemetry.explanations.made_history import MadeRun


def of_two() -> MadeRun:
    """Two robots with a part each."""
    return MadeRun({0: ["r00"], 1: ["r01"]}, robots=2)


def both_complete() -> MadeRun:
    run = of_two()
    run.taught(100, "r01", "r00", 1, "aa")
    run.sent(200, "r01", "r00", "summary", "bb", "lost", faults=("loss 0.2",))
    run.taught(400, "r00", "r01", 0, "cc")
    return run


def texts_of(why: Explanation, title: str) -> list[str]:
    return [step.text for section in why.sections if section.title.startswith(title) for step in section.steps]


def test_the_last_robot_is_shown_with_the_way_of_its_last_part() -> None:
    why = why_robot(both_complete().index(), "r01")

    assert why.answer.startswith("r01 was complete 0.41 s after go, the last of 2, 300 ms after r00; it has not")
    assert texts_of(why, "how its last part, 0, came to it")[1:] == [
        "r01 began exchange bb with r00: its summary was lost (loss 0.2)",
        "r01 learnt part 0 from r00, by an answer of exchange cc, 5 ms on its way",
    ]


def test_the_writer_and_the_one_that_was_refused_are_distinguished() -> None:
    # Given r00, which wrote, and r01, which tried a little later
    run = both_complete()
    run.event(1400, "r00", RobotQuiet(10))
    run.event(1402, "r00", SecretWritten(9, "memory"))
    run.event(1410, "r01", SecretRefused())
    index = run.index()
    # Then each says so
    assert why_robot(index, "r00").answer.endswith("; it wrote the secret 1.40 s after go")
    assert why_robot(index, "r01").answer.endswith("it tried to write, and was refused: r00 was first, 8 ms before")


def test_a_robot_that_had_no_time_to_be_quiet_is_not_blamed() -> None:
    run = both_complete()
    run.event(1400, "r00", SecretWritten(9, "memory"))

    assert why_robot(run.index(stop_ms=1405), "r01").answer.endswith(
        "it was complete for only 1.00 s when the run ended, and must be quiet for 10 ticks (1.00 s)"
        " first; r00 wrote the secret"
    )


def test_a_complete_robot_that_no_peer_confirms_shows_how_its_exchanges_ended() -> None:
    run = both_complete()
    for number in range(6):
        run.event(500 + 200 * number, "r01", TicksExecuted(5))
        run.event(501 + 200 * number, "r01", ExchangeEnded("r00", f"d{number}", "timeout", 3, 200_000))

    assert why_robot(run.index(), "r01").answer.endswith(
        "no peer has answered that it knows the same: of its 6 exchanges since it was complete 6 got no answer"
    )


def test_a_robot_without_its_journal_shows_how_it_was_lost() -> None:
    run = of_two()
    run.killed(50, "r01", 1, "amnesia")
    run.history.journals[:] = [row for row in run.history.journals if row.robot != "r01"]
    run.event(60, "r01", EvidenceLost("journal"))
    run.history.journals.append(LostRow("r01"))
    index = run.index()

    assert why_robot(index, "r01").answer == (
        "r01 lost its journal: what it knew cannot be proven any more (injected: amnesia r01); it had not reported to"
        " be complete; it has not written"
    )
    assert texts_of(why_robot(index, "r00"), "what it lacks") == [
        "no living robot holds part 1: its sole holder r01 lost its journal"
    ]


def test_a_worker_that_never_ran_again_and_a_silent_robot_are_shown() -> None:
    run = both_complete()
    run.event(1000, "r01", WorkerCrashed("outbox_writer", "injected"))
    run.event(1000, "r01", WorkerRestarted("outbox_writer", 1, 20_000))

    assert texts_of(why_robot(run.index(), "r01"), "its lives") == [
        "r01's outbox_writer crashed: injected",
        "r01's outbox_writer was to be started again after 20 ms",
        "r01's outbox_writer has not reported to run again since its crash, until the end",
        "r01 reported nothing any more from here on, for 9.00 s until the end",
    ]


def test_the_critical_path_of_a_run_shows_where_its_time_went() -> None:
    # Given a run that r01 wrote, which had waited for part 0
    run = both_complete()
    run.event(1400, "r01", RobotQuiet(10))
    run.event(1403, "r01", SecretWritten(9, "memory"))
    verdict = {"verdict": "HELD", "promises": {"once": {"state": "HELD", "why": "r01 wrote it"}}}
    why = why_run(run.index(1500), verdict)
    # Then every step has its length, and they follow each other
    [path] = [section for section in why.sections if section.title.startswith("from go to the write")]
    assert [(step.at_s, step.took_s) for step in path.steps] == [(0.0, 0.4), (0.4, 0.005), (0.405, 0.995), (1.4, 0.003)]
    assert "r01 waited for part 0, which r00 held: 1 exchange failed, by loss 0.2" in path.steps[0].text
    assert why.answer.startswith(
        "run f00000 held every promise; r01 wrote the secret 1.40 s after go; the longest step of that took 995 ms:"
    )


def test_promises_with_one_reason_are_explained_together() -> None:
    # Given a run in which nothing was written, because r01 cannot be reached
    run = of_two()
    run.plan(1, "partition r00|r01")
    run.event(5, "r00", MessageSent("r01", 1, "summary", "aa", 0, 9, 0))
    run.event(5, "r01", MessageSent("r00", 1, "summary", "bb", 0, 9, 0))
    nothing = {"state": "UNPROVEN", "why": "nothing was written"}
    cut = {"state": "UNPROVEN", "why": "no robot was in scope at the end; cut off at the end: r00, r01"}
    held = {"state": "HELD", "why": "fine"}
    promises = {"once": held, "right": nothing, "patient": nothing, "convergent": cut}
    why = why_run(run.index(), {"verdict": "UNPROVEN", "promises": promises})
    # Then the cause stands first, and each reason once
    assert why.answer == "run f00000 is UNPROVEN: right, patient, convergent; nothing was written"
    assert [section.title for section in why.sections] == [
        "why it did not go on",
        "right, patient are UNPROVEN",
        "convergent is UNPROVEN",
        "what happened in the run",
    ]
    assert [step.text for step in why.sections[0].steps] == [
        "r00 lacks part 1, and nothing passes between it and its holder r01 (partition r00|r01)",
        "r01 lacks part 0, and nothing passes between it and its holder r00 (partition r00|r01)",
    ]


def test_robots_that_send_nothing_are_named() -> None:
    why = why_run(of_two().index(), None)

    assert texts_of(why, "why it did not go on")[0] == "r00, r01 sent no message at all"


def test_a_text_from_outside_does_nothing_to_a_terminal_and_long_sections_are_cut_in_text_only() -> None:
    # Given many crashes whose error holds an escape
    run = of_two()
    for number in range(38):
        run.event(10 + number, "r00", WorkerCrashed("secret_merger", "\x1b[2J"))
    why = why_part(run.index(), "r00", 1)
    text = "\n".join(why.lines())
    # Then the text is cut and harmless, and the JSON is whole
    assert "… 16 more (--json has all)" in text
    assert "\x1b" not in text
    assert sum("crashed: " in step.text for section in why.sections for step in section.steps) == 38


def test_a_next_life_must_be_quiet_anew_and_is_counted_from_its_birth() -> None:
    # Given r01, which was killed after it was complete, and of whose death the life is not known
    run = both_complete()
    run.killed(1200, "r01", 0)
    run.born(1300, "r01", 2)
    run.event(1400, "r00", SecretWritten(9, "memory"))
    why = why_robot(run.index(stop_ms=1500), "r01")
    # Then its next life is counted, and that is the one born after its death
    assert "its last life was complete for only 200 ms when the run ended" in why.answer
    assert texts_of(why, "its lives") == [
        "r01 was killed by signal 9 (injected: kill r01)",
        "r01 lived again, as life 2, after 100 ms",
    ]


def test_the_places_that_a_witness_names_are_explained_in_words() -> None:
    # Given a contradictory part in the journal of r00, and an envelope that was lost
    run = both_complete()
    run.killed(300, "r01", 1)
    run.born(350, "r01", 2)
    whys = {
        "unique": "part 1 has two words: see also 0-2 (witness: journal of r00, entry 1-3)",
        "fenced": "r01/1 sent after the birth of r01/2 (witness: outbox 0, entry 1700000000200-2)",
        "played": "it was not done (witness: fleet log, injection 1700000000300-3)",
        "supervised": "it did not run (witness: event 1 of r01/1)",
    }
    verdict = {"verdict": "BROKEN", "promises": {name: {"state": "BROKEN", "why": why} for name, why in whys.items()}}
    why = why_run(run.index(), verdict)
    # Then each place is explained
    texts = [step.text for section in why.sections for step in section.steps]
    assert "entry 1-3 of r00's journal is part 1, brought by envelope 1 of r01/1 (answer of exchange aa)" in texts
    assert "event 1 of r01/1 is: r01 is born, with 1 part" in texts
    assert "that injection was: kill r01, done to r01" in texts
    sent = "r01/1 sent that envelope to r00 (summary of exchange bb); recorded is: lost (loss 0.2)"
    assert sent in texts


def test_an_injection_explains_one_death_that_follows_it_and_nothing_else() -> None:
    # Given a contradictory update and, later, a death; a pause that was ended, and a death; and a kill
    run = both_complete()
    run.injected(100, "contradict", "r00")
    run.died(200, "r00", 1)
    run.born(250, "r00", 2)
    run.injected(300, "pause", "r00")
    run.injected(350, "resume", "r00")
    run.died(400, "r00", 2)
    run.born(450, "r00", 3)
    run.killed(500, "r00", 3)
    # Then only the kill is named as a cause
    deaths = [text for text in texts_of(why_robot(run.index(), "r00"), "its lives") if "was killed" in text]
    assert deaths == [
        "r00/1 was killed by signal 9; no injection caused it",
        "r00/2 was killed by signal 9; no injection caused it",
        "r00/3 was killed by signal 9 (injected: kill r00)",
    ]


def test_an_outage_of_the_server_explains_a_slow_step() -> None:
    # Given a part that came late, because the server was paused and an outbox did not answer
    run = of_two()
    run.taught(5, "r01", "r00", 1, "aa")
    run.injected(20, "pause", "redis")
    run.event(50, "r01", MessageDropped("r00", 90, "summary", "bb", "the outbox is away", 0))
    run.injected(3000, "resume", "redis")
    run.taught(3100, "r00", "r01", 0, "cc")
    run.event(4100, "r01", SecretWritten(9, "memory"))
    why = why_run(run.index(), None)
    # Then the path says so
    [path] = [section for section in why.sections if section.title.startswith("from go to the write")]
    assert path.steps[0].text == (
        " 3.10 s: r01 waited for part 0, which r00 held: 1 exchange failed, because the outbox is away; the server"
        " was paused from 0.020 s to 3.000 s, for 2.98 s: its process stood still (injected: pause redis)"
    )
