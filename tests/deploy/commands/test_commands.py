"""The command line as a person meets it: bad input is one line and changes nothing; records are judged again."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.commands import main
from deploy.config.experiment import load_deal
from deploy.config.settings import load_settings
from deploy.errors import UsageError
from tests.support.checkout import ROOT
from tests.support.waiting import DEADLINE_S, await_true


def robots(*arguments: str, cwd: Path, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ROBOTS_")}
    return subprocess.run(
        [sys.executable, "-m", "deploy", *arguments],
        cwd=cwd,
        env=clean | environment,
        input=stdin,
        capture_output=True,
        timeout=50,
        check=False,
    )


BAD = [
    (["--secret", ""], "--secret", "at least one word"),
    (["--secret", " \n "], "--secret", "at least one word"),
    (["--secret", "x" * 20_000], "--secret", "at most 16384"),
    (["--secret-file", "absent.txt"], "--secret-file", "No such file"),
    (["--secret-file", "binary"], "--secret-file", "UTF-8"),
    (["--secret-file", "empty"], "--secret-file", "at least one word"),
    (["--secret", "a", "--secret-file", "good"], "--secret", "only one"),
    (["-n", "1"], "--robots", "2 to"),
    (["-n", "100000"], "--robots", "2 to"),
    (["--robots", "many"], "--robots", "whole number"),
    (["--copies", "7"], "--copies", "1 to 6"),
    (["--loss", "1.5"], "--loss", "0 to 1"),
    (["--loss", "nan"], "--loss", "0 to 1"),
    (["--duplicate", "often"], "--duplicate", "0 to 1"),
    (["--reorder=-0.1"], "--reorder", "0 to 1"),
    (["--delay", "20"], "--delay", "20ms"),
    (["--delay", "20ms..5ms"], "--delay", "shorter one first"),
    (["--tick", "0s"], "--tick", "at least 10ms"),
    (["--tick=-5ms"], "--tick", "20ms"),
    (["--limit", "0s"], "--limit", "too short"),
    (["--limit", "1s", "--for", "2s"], "--limit", "below --for"),
    (["--quiet-period", "soon"], "--quiet-period", "20ms"),
    (["--seed=-1"], "--seed", "0 to"),
    (["--preset", "hurricane"], "--preset", "calm, lossy"),
    (["--output", "good"], "--output", "--force"),
    (["--output", "nowhere/out.txt"], "--output", "no folder"),
    (["--runs-dir", "good"], "--runs-dir", "Not a directory"),
    (["--runs-dir", "good/runs"], "--runs-dir", "Not a directory"),
    (["--runs-dir", "/proc/runs"], "--runs-dir", "can be written"),
    (["--fault", "partiton r00"], "at 'partiton'", "did you mean partition?"),
    (["--fault", "loss .2", "--fault", "loss .5 r0x"], "at 'r0x'", "a robot such as r03"),
    (["--fault", "loss .5 r17"], "r17", "r00 to r05"),
    (["--fault", "loss .5 @1s+1s every 5s"], "every 5s", "--for 17s"),
    (["--fault", "loss .5 @9s+1s", "--limit", "5s"], "--limit", "10s"),
    (["--burst-loss", ".9 2"], "--burst-loss", "9 envelopes or more"),
    (["--throttle", "20"], "--throttle", "1000000/s"),
    (["--partition", "r00", "--partition", "r01"], "--partition", ""),
    (["--faults", "absent.toml"], "--faults", "No such file"),
    (["--faults", "binary"], "--faults", "not TOML"),
    (["--faults", "wrong.toml"], "fault 2", "a probability from 0 to 1"),
    (["--faults", "wrong.toml", "--preset", "calm"], "--preset", "only one of them"),
    (["--fault", "loss", ".2"], "'.2' is not expected", "in quotes"),
    (["--again", "none"], "none", "no run"),
    (["--again", "none", "--loss", ".5"], "--loss", "the plan is the recorded one"),
    (["--relays", "0"], "--relays", "1 to 16"),
    (["--exhibit", "list"], "--exhibit", "writes-twice, ignores-last"),
    (["--colour", "red"], "--colour", ""),
    (["surplus"], "too many arguments: 'surplus' is not expected", "in quotes"),
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "good").write_text("a good secret")
    (tmp_path / "empty").write_text("")
    (tmp_path / "wrong.toml").write_text('faults = ["delay 5ms", "loss 2"]')
    (tmp_path / "binary").write_bytes(b"ok \xff\xfe")
    return tmp_path


@pytest.mark.parametrize(("arguments", "option", "allowed"), BAD, ids=[" ".join(bad[0])[:30] for bad in BAD])
def test_bad_input_is_one_line_that_names_the_option_and_starts_nothing(
    place: Path,
    arguments: list[str],
    option: str,
    allowed: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    before = sorted(place.iterdir())

    for command in ("simulate", "run"):
        with pytest.raises(SystemExit) as ended:
            main([command, *arguments])
        reported = capfd.readouterr()

        assert ended.value.code == 2, reported.err
        assert reported.err.count("\n") == 1
        assert option in reported.err
        assert allowed in reported.err
        assert reported.out == ""
    assert sorted(place.iterdir()) == before
    assert (place / "good").read_text() == "a good secret"


@pytest.mark.parametrize(
    ("url", "code", "word"),
    [
        ("http://localhost", 2, "--redis-url"),
        ("redis://127.0.0.1:1", 4, "127.0.0.1:1"),
        ("unix:///nowhere/redis.sock", 4, "/nowhere/redis.sock"),
    ],
)
def test_a_server_that_will_not_do_is_one_line_and_no_record(place: Path, url: str, code: int, word: str) -> None:
    done = robots("run", "--redis-url", url, cwd=place)

    assert (done.returncode, done.stderr.count(b"\n")) == (code, 1)
    assert word in done.stderr.decode()
    assert not (place / "runs").exists()


def test_a_server_that_is_too_old_is_one_line_and_no_record(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr("redis.Redis.info", lambda *_: {"redis_version": "6.2.14"})

    with pytest.raises(SystemExit) as ended:
        main(["run", "--redis-url", "redis://127.0.0.1:1"])

    reported = capfd.readouterr()
    assert (ended.value.code, reported.err.count("\n"), reported.out) == (4, 1, "")
    assert "6.2.14" in reported.err
    assert not (place / "runs").exists()


def test_an_output_that_fails_at_the_end_does_not_hide_the_verdict(place: Path) -> None:
    done = robots("simulate", "--seed", "5", "--json", "--output", "/proc/robots.txt", cwd=place)

    assert (done.returncode, done.stderr.count(b"robots: ")) == (4, 1)
    assert b"--output" in done.stderr
    assert json.loads(done.stdout)["verdict"] == "HELD"
    assert robots("verify", cwd=place).returncode == 0


def test_flags_overrule_what_the_environment_switched_on(place: Path) -> None:
    arguments = ("simulate", "--seed", "5", "-n", "3", "--secret", "a b")

    assert json.loads(robots(*arguments, cwd=place, ROBOTS_JSON="1").stdout)["verdict"] == "HELD"
    assert robots(*arguments, "--no-json", cwd=place, ROBOTS_JSON="1").stdout.startswith(b"HELD")
    refused = robots(*arguments, "--output", "good", "--no-force", cwd=place, ROBOTS_FORCE="1")
    assert refused.returncode == 2
    assert (place / "good").read_text() == "a good secret"


def in_background(place: Path, disposition: signal.Handlers) -> subprocess.Popen[bytes]:
    """`robots verify`, as a terminal or `nohup` starts it, kept at its very first import of the lab."""
    (place / "deploy").mkdir()
    for name in ("__init__.py", "entry.py", "errors.py", "lean_redis.py"):
        shutil.copy(ROOT / "deploy" / name, place / "deploy")
    (place / "deploy/commands.py").write_text(
        "import pathlib, time\n"
        "pathlib.Path('importing').touch()\n"
        "while not pathlib.Path('go on').exists(): time.sleep(0.01)\n"
        "def main(loaded): loaded(); pathlib.Path('ran').touch(); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", "from deploy.entry import main; main()"],
        cwd=place,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, disposition),  # noqa: PLW1509
    )
    try:
        await_true((place / "importing").exists)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return process


def test_ctrl_c_during_the_imports_ends_without_a_word(place: Path) -> None:
    process = in_background(place, signal.SIG_DFL)
    process.send_signal(signal.SIGINT)

    assert process.communicate(timeout=DEADLINE_S)[1] == b""
    assert process.returncode == -signal.SIGINT


def test_ctrl_c_after_the_imports_is_pythons_again(place: Path) -> None:
    process = in_background(place, signal.SIG_DFL)
    (place / "go on").touch()
    await_true((place / "ran").exists)
    process.send_signal(signal.SIGINT)

    assert b"KeyboardInterrupt" in process.communicate(timeout=DEADLINE_S)[1]


def test_a_ctrl_c_that_is_ignored_stays_so(place: Path) -> None:
    process = in_background(place, signal.SIG_IGN)
    process.send_signal(signal.SIGINT)
    (place / "go on").touch()
    await_true((place / "ran").exists)
    process.send_signal(signal.SIGINT)
    process.terminate()

    assert process.communicate(timeout=DEADLINE_S)[1] == b""
    assert process.returncode == -signal.SIGTERM


def test_a_password_is_never_shown(place: Path) -> None:
    done = robots("run", "--redis-url", "redis://me:hunter2@127.0.0.1:1", cwd=place)

    assert done.returncode == 4
    assert b"hunter2" not in done.stderr + done.stdout


def test_the_environment_sets_and_flags_win() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBOTS_ROBOTS", "9")
        patch.setenv("ROBOTS_LOSS", ".4")
        patch.setenv("ROBOTS_FOR", "3s")
        patch.setenv("ROBOTS_SECRET", "from the environment")

        settings = load_settings({"robots": "4"})
        assert (settings.robots, settings.loss, settings.for_) == (4, "0.4", 3_000_000)
        assert len(load_deal(settings).parts) == 3
        assert load_settings({"secret_file": "x"}).secret is None, "a flag silences the environment"

        patch.setenv("ROBOTS_LOSS", "7")
        with pytest.raises(UsageError, match="ROBOTS_LOSS"):
            load_settings({})


def test_simulate_prints_one_object_and_verify_finds_the_same_verdict_in_the_folder(place: Path) -> None:
    # Given a simulated run
    done = robots(
        "simulate", "--seed", "5", "--json", "--output", "out.txt", "--secret-file", "-", cwd=place, stdin=b" a\nb  c "
    )
    result = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert result["schema"] == "robots.result/3"
    assert result["verdict"] == "HELD"
    assert (place / "out.txt").read_bytes() == b" a\nb  c "
    assert (place / result["record"] / "secret.txt").read_bytes() == b" a\nb  c "

    # When it is judged again by id, prefix, folder and latest, it is the same
    for name in (result["run"], result["run"][:3], result["record"], "latest"):
        again = robots("verify", name, "--json", cwd=place)
        assert (again.returncode, json.loads(again.stdout)) == (0, {k: v for k, v in result.items() if k != "digest"})

    # When the written text is edited, it is BROKEN
    register = place / result["record"] / "register.json"
    register.write_text(register.read_text().replace("b  c", "b  d"))
    assert robots("verify", cwd=place).returncode == 1

    # When a file is missing, it is UNPROVEN
    shutil.copy(place / result["record"] / "fates.jsonl", place / "kept")
    register.unlink()
    assert robots("verify", cwd=place).returncode == 3


@pytest.mark.parametrize(
    "error", ["ValueError('a bug')", "asyncio.CancelledError('a bug')", "ExceptionGroup('a bug', [OSError()])"]
)
def test_an_error_of_the_lab_itself_keeps_its_traceback_and_is_no_verdict(place: Path, error: str) -> None:
    # Given a bug in a command
    (place / "buggy.py").write_text(
        "import asyncio\nimport deploy.commands.ps as ps\nfrom deploy.entry import main\n"
        f"def find_live(*_):\n    raise {error}\n"
        "ps.find_live = find_live\nmain()\n"
    )
    # When it is called
    done = subprocess.run([sys.executable, "buggy.py", "ps"], cwd=place, capture_output=True, timeout=50, check=False)
    # Then its exit code is none of a verdict's, and the traceback shows where the bug is
    assert done.returncode == os.EX_SOFTWARE
    assert b"in find_live" in done.stderr
    assert b"a bug" in done.stderr
    assert done.stdout == b""


def test_a_lab_that_cannot_be_imported_gives_no_verdict(place: Path) -> None:
    # Given an installation in which a library of the lab is broken
    (place / "cyclopts.py").write_text("raise RuntimeError('a broken library')")
    # When a command is called
    done = robots("runs", cwd=place)
    # Then its exit code is none of a verdict's
    assert done.returncode == os.EX_SOFTWARE
    assert b"a broken library" in done.stderr


def test_verify_names_what_it_cannot_find(place: Path) -> None:
    for name in ("latest", "abc", "../x"):
        done = robots("verify", name, cwd=place)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)


def test_an_unfinished_run_is_unproven(place: Path) -> None:
    done = robots("simulate", "--loss", "1", "--limit", "3s", "--seed", "1", "--json", cwd=place)
    result = json.loads(done.stdout)

    assert (done.returncode, result["verdict"], result["ended"]) == (3, "UNPROVEN", "limit")
    assert result["winner"] is None
    assert result["seconds"]["written"] is None
    assert result["promises"]["convergent"]["state"] == "UNPROVEN"
    assert not (place / result["record"] / "secret.txt").exists()


def test_help_shows_examples(place: Path) -> None:
    for command in ("run", "simulate", "verify"):
        done = robots(command, "--help", cwd=place)
        assert done.returncode == 0
        assert b"Examples:" in done.stdout
    assert b"verify" in robots("--help", cwd=place).stdout
    assert robots("--version", cwd=place).stdout.strip()


def test_as_many_live_robots_as_no_machine_bears_are_refused(place: Path) -> None:
    done = robots("run", "-n", "501", cwd=place)

    assert (done.returncode, done.stderr) == (2, b"robots: --robots: 501 is outside of what is allowed: 2 to 500\n")
