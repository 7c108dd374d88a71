"""The page of faults: what each knob is set to and what was measured, what is in force and for how long, which process
faults were injected, and what a person is about to change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Final

from telemetry.drawing.faults.knobs import KNOBS, is_changeable, knob_named, setting_of, value_text
from telemetry.drawing.faults.table import knob_lines
from telemetry.drawing.line import Fragment, Line, Size, beside, block, headed, line
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Moment
from telemetry.scene.faults import SeenFault, SeenInjection, SeenRequest
from telemetry.scene.scene import Scene

_WIDE: Final = 110  # columns, from where the lists stand side by side


def rows(moment: Moment) -> Sequence[str]:  # noqa: ARG001  as of every page
    """What the cursor moves over."""
    return [knob.name for knob in KNOBS]


def draw(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """The page."""
    top = knob_lines(moment, marks)
    bottom = list(_change_lines(moment, marks))
    middle = Size(size.width, max(0, size.height - len(top) - len(bottom)))
    return block([*top, *_lists(moment, middle, marks), *bottom], size)


# What is in force, and what was injected.


def _lists(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    scene = moment.scene
    in_force, changes = list(_in_force_lines(scene)), list(_done_lines(scene))
    title = line(Fragment(f" IN FORCE{' AT THE END' * scene.faults.is_over}", "title"))
    if size.width >= _WIDE:
        left = Size(size.width // 2, size.height)
        right = Size(size.width - left.width - len(marks.divider), size.height)
        return beside(headed(title, in_force, left), headed(_done_title(scene), changes, right), marks.divider)
    upper = min(len(in_force) + 1, (size.height + 1) // 2)
    return [
        *headed(title, in_force, Size(size.width, upper)),
        *headed(_done_title(scene), changes, Size(size.width, size.height - upper)),
    ]


def _in_force_lines(scene: Scene) -> Iterator[Line]:
    if not scene.faults.is_known:
        yield line(Fragment("  unknown: no relay has reported its plan yet", "dim"))
        return
    standing = scene.faults.in_force(scene.go_us)
    if not standing:
        yield line(Fragment("  nothing, the network is calm", "good"))
    width = max((len(fault.text) for fault in standing), default=0)
    for fault in standing:
        yield line(Fragment(f"  {fault.text:<{min(width, 34)}}  ", "news"), _duration(scene, fault))


def _duration(scene: Scene, fault: SeenFault) -> str:
    lasts = f"for {(scene.now_us - fault.since_us) / 1e6:.1f} s"
    if fault.ends_us is None:
        return f"{lasts}, no end known"
    return f"{lasts}, ends in {max(0, fault.ends_us - scene.now_us) / 1e6:.1f} s"


def _done_title(scene: Scene) -> Line:
    faults = scene.faults
    counts = "  ".join(f"{verb} {count}" for verb, count in faults.done.items())
    fragments = [Fragment(" DONE ", "title"), Fragment(counts)]
    if faults.failed:
        fragments.append(Fragment(f"  not done {faults.failed}", "bad"))
    return tuple(fragments)


def _done_lines(scene: Scene) -> Iterator[Line]:
    """What was injected and requested, the newest first."""
    faults = scene.faults
    done = [(each.at_us, _injected(each)) for each in faults.injections]
    done += [(each.at_us, _requested(each)) for each in faults.requests]
    for at_us, what in sorted(done, key=itemgetter(0), reverse=True):
        yield line(f" {_at(scene, at_us):>9}  ", what)
    if not done:
        yield line(Fragment("  nothing: no process fault, no request", "dim"))


def _injected(injection: SeenInjection) -> Fragment:
    asked = f"{injection.verb} {injection.target}"
    if injection.why:
        return Fragment(f"{asked}  not done: {injection.why}", "bad")
    return Fragment(asked if injection.victim == injection.target else f"{asked}, which was {injection.victim}")


def _requested(request: SeenRequest) -> Fragment:
    if request.refusal:
        return Fragment(f"request: {request.text}  refused: {request.refusal}", "bad")
    return Fragment(f"request: {request.text}", "news")


def _at(scene: Scene, at_us: int) -> str:
    return "before go" if scene.go_us is None or at_us < scene.go_us else f"{(at_us - scene.go_us) / 1e6:.1f} s"


# What a person is about to change.


def _change_lines(moment: Moment, marks: Marks) -> Iterator[Line]:
    if not is_changeable(moment):
        yield line(Fragment(f" {_why_fixed(moment)}", "dim"))
        return
    knobs = moment.chosen.knobs
    for text in knobs.log[-1:]:
        yield line(Fragment(f" {text}", "dim"))
    if knobs.busy:
        yield line(Fragment(f" the run is asked: {knobs.busy} {marks.more}", "news"))
    elif knobs.knob:
        yield _pending_line(moment)
        yield line(Fragment(f" same as: {knobs.same_as}", "dim"))
    yield _hints("j k", "knob", "+ -", "step", "0", "clear", "e", "any fault", "t n p", "target", "H", "heal all")
    yield _hints("K", "kill", "P", "pause", "R", "resume", "C", "crash", "X", "contradict", "A", "amnesia")


def _pending_line(moment: Moment) -> Line:
    scene, chosen = moment.scene, moment.chosen
    knob, target = knob_named(chosen.knobs.knob), chosen.knobs.target
    now, then = setting_of(scene, knob, target), chosen.knobs.pending
    change = f"{value_text(knob, now).strip()} -> {value_text(knob, then).strip()}"
    whom = f" for {target}" if target else ""
    return line(
        Fragment(f" pending: {knob.name} {change}{whom}", "news"),
        "   ",
        Fragment("enter", "key"),
        " applies  ",
        Fragment("esc", "key"),
        " drops it",
    )


def _why_fixed(moment: Moment) -> str:
    status = moment.status
    if status.mode == "replay":
        return "a replay: what was done is done"
    if status.is_read_only:
        return "read-only: nothing can be changed from here"
    return "the run is over: nothing can be changed any more"


def _hints(*words: str) -> Line:
    fragments = [Fragment(" ")]
    for key, what in zip(words[::2], words[1::2], strict=True):
        fragments += [Fragment(key, "key"), Fragment(f" {what}  ")]
    return tuple(fragments)
