"""What watching a run costs: folding its events into a scene, copying the scene, and drawing the overview.

Run it by hand: `python tests/benchmarks/benchmark_screens.py`.

Not collected by pytest: a busy machine must not fail a test. Every figure is the least CPU time of several rounds over
the events of one simulated run with the preset lossy.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import msgspec

from telemetry.drawing.line import Size
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Chosen, Moment, Status
from telemetry.drawing.pages import FOOTER, screen
from telemetry.events import Stamped
from telemetry.scene.scene import Scene
from tests.support.scenes import Played, played

SIZES = (Size(80, 24), Size(120, 40), Size(200, 60))
SPREADING_S = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robots", type=int, nargs="+", default=[16, 100], help="[default: 16 100]")
    parser.add_argument("--rounds", type=int, default=7, help="of which the fastest counts [default: 7]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    for robots in options.robots:
        run = played((("robots", str(robots)), ("seed", "7"), ("for_", "6s")))
        figures |= {f"{robots} robots: {name}": value for name, value in measure(run, options.rounds).items()}
    if options.json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{name:<44}{value:10.2f}" for name, value in figures.items()))


def measure(run: Played, rounds: int) -> dict[str, float]:
    encoded = [msgspec.json.encode(stamped) for stamped in run.events]
    decoder = msgspec.json.Decoder(Stamped)
    fold_s = least_s(lambda: folded(run), rounds)
    spreading, over = run.until(SPREADING_S), run.until(1e6)
    figures = {
        "events": float(len(run.events)),
        "events folded in a second": len(run.events) / fold_s,
        "µs to fold an event": fold_s / len(run.events) * 1e6,
        "µs to decode an event": least_s(lambda: [decoder.decode(each) for each in encoded], rounds)
        / len(encoded)
        * 1e6,
        "µs to copy the scene": least_s(over.copy, rounds) * 1e6,
    }
    for name, scene in (("spreading", spreading), ("over", over)):
        for size in SIZES:
            drawn_s = least_s(lambda scene=scene, size=size: draw(scene, size), rounds)
            figures[f"ms to draw {size.width}x{size.height}, {name}"] = drawn_s * 1e3
    return figures


def folded(run: Played) -> Scene:
    scene = Scene(run.settings, run.dealt)
    for stamped in run.events:
        scene.handle(stamped)
    return scene


def draw(scene: Scene, size: Size) -> None:
    screen(Moment(scene, Status(), Chosen()), Size(size.width, size.height - FOOTER), Marks())


def least_s(act: Callable[[], object], rounds: int) -> float:
    """The least CPU time of so many rounds."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        act()
        times.append(time.process_time() - began)
    return min(times)


if __name__ == "__main__":
    main()
