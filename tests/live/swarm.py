"""A swarm of live runs with settings that are drawn by seed: every kind of fault, alone and together.

    python -m tests.live.swarm 1..100
    python -m tests.live.swarm 17 --keep /tmp/swarm

One line for each run: the seed, the verdict, what does not hold, and the command that repeats it. Exit status 1 when a
verdict is BROKEN, or a run ended in any other way than with a verdict: then read its record. Not a part of the suite,
because a hundred runs take a quarter of an hour.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from broker.envelope import robot_name
from broker.faults.process_faults import WORKERS
from tests.support.sweep import parser_of, sweep

LIMIT_S = 120  # of one run, before it counts as stuck
REFUSED = 2  # the exit code of a plan that the run can never play


def drawn(seed: int) -> list[str]:
    """The options of a run."""
    chance = Random(seed)
    robots, length_s = chance.randint(2, 20), chance.choice((1, 2, 3, 5, 8))
    options = ["-n", str(robots), "--seed", str(seed), "--for", f"{length_s}s", "--limit", f"{length_s + 40}s"]
    options += ["--copies", str(chance.randint(1, min(3, robots)))]
    options += ["--relays", str(chance.randint(1, min(3, robots)))]
    options += ["--tick", chance.choice(("20ms", "50ms", "100ms", "100ms", "200ms"))]
    options += ["--preset", chance.choice(("calm", "lossy", "lossy", "storm", "split"))]
    for fault in chance.sample(list(_message_faults(chance, robots, length_s)), chance.randint(0, 3)):
        options += ["--fault", fault]
    for fault in chance.sample(list(_process_faults(chance, robots, length_s)), chance.randint(0, 5)):
        options += ["--chaos", fault]
    return options


def _message_faults(chance: Random, robots: int, length_s: int) -> Iterator[str]:
    one, other = (robot_name(number, robots) for number in chance.sample(range(robots), 2))
    start = f"@{_moment(chance, length_s)}"
    yield f"loss {chance.choice((0.1, 0.3, 0.5))}"
    yield f"loss 0.8 {one} {start}+1s"
    yield f"burst-loss {chance.choice((0.1, 0.3))} {chance.randint(2, 8)}"
    yield f"duplicate 0.2 x{chance.randint(2, 5)}"
    yield f"delay {chance.choice(('30ms', '5ms..60ms', '20ms~0.5'))}"
    yield f"reorder {chance.choice((0.1, 0.5))}"
    yield f"corrupt {chance.choice((0.02, 0.2))}"
    yield f"throttle 50/s {one}>{other} {start}+1s"
    yield f"partition {one}|{other} {start}+1s"
    yield f"partition hold {one} {start}+800ms"
    yield f"heal {start}"


def _process_faults(chance: Random, robots: int, length_s: int) -> Iterator[str]:
    def robot() -> str:
        return robot_name(chance.randrange(robots), robots)

    def moment() -> str:
        return f"@{_moment(chance, length_s)}"

    yield f"kill {robot()} {moment()}"
    yield f"kill robot every {chance.choice((300, 700, 1500))}ms"
    yield f"kill rq:{robot()} {moment()}"
    yield f"kill relay {moment()}"
    yield f"kill redis {moment()}"
    yield f"pause {robot()} {moment()}+{chance.choice((300, 1500, 4000))}ms"
    yield f"pause relay {moment()}+{chance.choice((300, 2500))}ms"
    yield f"restart {robot()} {moment()}"
    yield f"restart rq:{robot()} {moment()}"
    yield f"restart relay {moment()}"
    yield f"restart redis {moment()}"
    yield f"crash {robot()}/{chance.choice(sorted(WORKERS))} {moment()}"
    yield f"contradict {robot()} {moment()}"


def _moment(chance: Random, length_s: int) -> str:
    return f"{chance.randrange(50, 1000 * length_s)}ms"


def run(seed: int, folder: Path) -> tuple[str, str]:
    """How a drawn run ended (a verdict, or what it is instead), and a line about it."""
    options = drawn(seed)
    while True:
        command = [sys.executable, "-m", "deploy", "run", "--json", *options, "--runs-dir", str(folder / "runs")]
        started_s = time.monotonic()
        try:
            ended = subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False)
        except subprocess.TimeoutExpired:
            return "stuck", shlex.join(options)
        if ended.returncode != REFUSED:
            break
        options = options[:-2]  # the plan cannot be played with these robots: without its last fault
    took_s = time.monotonic() - started_s
    try:
        result = json.loads(ended.stdout)
    except ValueError:
        return f"exit {ended.returncode}", f"{ended.stderr.decode()[-300:]!r} {shlex.join(options)}"
    doubts = {name: promise["why"] for name, promise in result["promises"].items() if promise["state"] != "HELD"}
    shown = "; ".join(f"{name}: {why}" for name, why in doubts.items())
    return result["verdict"], f"{took_s:5.1f} s  run {result['run']}  {shown}\n      {shlex.join(options)}"


def main() -> int:
    return sweep(parser_of(__doc__).parse_args(), run)


if __name__ == "__main__":
    sys.exit(main())
