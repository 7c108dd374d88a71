"""`robots why` on sick runs: what a person reads there names the cause."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.commands import main
from deploy.observing.results import result_lines
from tests.robots.simulation.judged_runs import Ended, parts_learnt, run

Ask = Callable[..., str]


@pytest.fixture
def ask(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ask:
    """`robots why ARGUMENTS` on the latest record: what it prints."""
    monkeypatch.chdir(tmp_path)

    def why(*arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["why", *arguments, "--runs-dir", str(tmp_path)])
        printed = capsys.readouterr()
        assert ended.value.code == code, printed.err
        return printed.out if code == 0 else printed.err

    return why


def sick(runs: Path, *faults: str, **more: object) -> Ended:
    """A run of six robots that is stopped after six seconds."""
    return run(runs, *faults, limit="6s", **more)


def not_done(runs: Path, ended: Ended) -> list[str]:
    """What the text of the verdict says about why the run was not done."""
    lines = result_lines(ended.result.json, runs / str(ended.result.run), width=1000)
    return [line.removeprefix("  not done    ") for line in lines if line.startswith("  not done    ")]


def test_two_halves_that_are_cut_from_each_other(tmp_path: Path, ask: Ask) -> None:
    ended = sick(tmp_path, "partition r00..r02|r03..r05")
    # Then verdict and explanation name both halves and the partition
    assert len(not_done(tmp_path, ended)) == 2
    assert "nothing passes between them and their holders r03..r05 (partition r00..r02|r03..r05)" in ask()
    assert "(partition r00..r02|r03..r05)" in ask("r04")
    # and each attempt of a robot to get a part
    lacked = next(step for step in ask("r04").splitlines() if "lack part" in step).split("part")[1].split()[1]
    attempts = ask("r04", "--part", lacked.strip(",").partition("..")[0])
    assert "was lost each time (partition r00..r02|r03..r05)" in attempts
    assert "no robot could pass it on" in attempts


def test_a_robot_whose_messages_are_all_lost(tmp_path: Path, ask: Ask) -> None:
    sick(tmp_path, "loss 1 r03")

    assert "r03 lacks parts" in ask()
    why = ask("r03")
    assert "(loss 1 r03)" in why
    assert "lost (loss 1 r03)" in why.partition("its exchanges")[2]


def test_a_sole_holder_that_lost_its_journal(tmp_path: Path, ask: Ask) -> None:
    ended = sick(tmp_path, "amnesia r05 @1ms", "delay 5ms", copies=1)

    [cause] = not_done(tmp_path, ended)
    assert cause.endswith("sole holder r05 lost its journal")
    assert cause in ask()
    assert cause in ask("r02")
    assert "injected: amnesia r05" in ask("r05")


def test_a_complete_robot_of_which_nothing_arrives(tmp_path: Path, ask: Ask) -> None:
    sick(tmp_path, "partition r00>r01..r05")

    silence = "nothing it sends arrives (partition r00>r01..r05)"
    assert f"r00 is complete and waits for a peer's confirmation: {silence}" in ask()
    assert f"it has not written: {silence}" in ask("r00")


def test_a_pause_and_a_hold_explain_a_late_robot_and_a_slow_run(tmp_path: Path, ask: Ask) -> None:
    run(tmp_path, "pause r03 @1ms+1s")
    assert "r03 was paused from 0.001 s to 1.001 s, for 1.00 s: its process stood still (injected: pause r03)" in ask(
        "r03"
    )

    run(tmp_path, "partition hold r00..r02|r03..r05 @0s+2s")
    path = ask().partition("from go to the write")[2]
    assert "(partition hold r00..r02|r03..r05)" in max(path.splitlines(), key=lambda line: " s: on its way" in line)


def test_a_lab_that_never_gossips_or_does_not_restart_a_worker(tmp_path: Path, ask: Ask) -> None:
    sick(tmp_path, exhibit="never-gossips")
    assert "r00..r05 sent no message at all" in ask()

    run(tmp_path, "crash r03/outbox_writer @1s", exhibit="restarts-nothing", for_="8s")
    assert "r03's outbox_writer has not reported to run again since its crash" in ask()


def test_a_healthy_run_shows_the_path_to_its_write_and_the_chain_of_every_part(tmp_path: Path, ask: Ask) -> None:
    ended = run(tmp_path, "loss .3", "delay 5ms..20ms", seed=4)
    writer = str(ended.result.winner)
    # Then the path ends with the write,
    path = ask().partition("from go to the write")[2].partition("\n\n")[0]
    assert path.endswith(f"{writer} wrote the secret")
    assert f"it wrote the secret {ended.result.seconds.written:.2f} s after go" in ask(writer)
    # and every robot can tell of each part from whom it came
    for part in range(17):
        explanation = json.loads(ask("r05", "--part", str(part), "--json"))
        chain = explanation["sections"][0]["steps"] if explanation["sections"] else []
        assert "r05 was dealt" in explanation["answer"] or f"r05 learnt part {part} from" in chain[-1]["text"]
        times = [step["at_s"] for step in chain if "learnt" in step["text"]]
        assert times == sorted(times)


def test_json_is_one_object_with_its_schema(tmp_path: Path, ask: Ask) -> None:
    ended = sick(tmp_path, "loss 1 r03")
    lacked = next(part for part in range(17) if part not in parts_learnt(ended, "r03"))

    explanation = json.loads(ask("latest", "r3", "--part", str(lacked), "--json"))
    assert (explanation["schema"], explanation["robot"], explanation["part"]) == ("robots.why/1", "r03", lacked)
    sections = {section["title"]: section["steps"] for section in explanation["sections"]}
    attempt = sections["exchanges that did not bring it"][0]
    assert attempt["faults"] == ["loss 1 r03"]
    assert attempt["exchange"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["r09"], "has no robot r09; allowed is one of r00, r01"),
        (["r00", "--part", "99"], "has no part 99; allowed is 0 to 16"),
        (["--part", "1"], "--part: goes with a robot"),
        (["latest", "nobot"], "has no robot nobot"),
        (["f9f9f9"], "no run 'f9f9f9'"),
    ],
)
def test_what_is_not_there_is_a_usage_error(tmp_path: Path, ask: Ask, arguments: list[str], error: str) -> None:
    run(tmp_path)

    assert error in ask(*arguments, code=2)
