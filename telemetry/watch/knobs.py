"""The knobs as keys: what a person changes in a live run from the app. Requests run in a thread, because they may take
seconds; keys and pages go on meanwhile. Without controls there is none of it.

The keys belong to the screen, so that the app may use the same ones on other pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import ClassVar, Final

from msgspec.structs import replace
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from telemetry.console import harmless
from telemetry.drawing.faults.knobs import KNOBS, OFF, Knob, change, is_changeable, knob_named, setting_of, stepped
from telemetry.drawing.moment import Chosen, Moment
from telemetry.drawing.pages import PAGES
from telemetry.watch.dialogs import Confirm, FaultInput, WorkerChoice
from telemetry.watch.stage import Controls, Reply, Stage

LEFT: Final = 0
"""What the app returns when a person leaves it."""

STOP: Final = 130
"""What it returns when they want the run to stop, and it did not answer that yet, or there is no run."""

AGAIN_S: Final = 3.0  # within which ctrl+c has to come twice
PAUSE: Final = "5s"
_MOST_LOGGED: Final = 50
_DESTROYING: Final = {
    "kill": "Kill {robot}? Its process gets SIGKILL; its next life goes on from its journal.",
    "contradict": "Contradict {robot}? It receives another word for a part that it was dealt.",
    "amnesia": "Take {robot}'s memory? Its process is killed and its journal deleted: what it held cannot be proven.",
}


class MainScreen(Screen[None]):
    """The app's own screen, with the keys of the knobs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "app.knob('step', 1)", "Step up", show=False, id="knob.up"),
        Binding("minus", "app.knob('step', -1)", "Step down", show=False, id="knob.down"),
        Binding("0", "app.knob('clear')", "Clear", show=False, id="knob.clear"),
        Binding("enter", "app.knob('apply')", "Apply", show=False, id="knob.apply"),
        Binding("escape", "app.knob('drop')", "Drop", show=False, id="knob.drop"),
        Binding("e,colon", "app.knob('any')", "Any fault", show=False, id="knob.any"),
        Binding("t", "app.knob('target')", "Target", show=False, id="knob.target"),
        Binding("n", "app.knob('robot', 1)", "Next robot", show=False, id="knob.next"),
        Binding("p", "app.knob('robot', -1)", "Previous robot", show=False, id="knob.previous"),
        Binding("H", "app.harm('heal')", "Heal", show=False, id="heal"),
        Binding("K", "app.harm('kill')", "Kill", show=False, id="kill"),
        Binding("P", "app.harm('pause')", "Pause robot", show=False, id="pause.robot"),
        Binding("R", "app.harm('resume')", "Resume", show=False, id="resume"),
        Binding("C", "app.harm('crash')", "Crash", show=False, id="crash"),
        Binding("X", "app.harm('contradict')", "Contradict", show=False, id="contradict"),
        Binding("A", "app.harm('amnesia')", "Amnesia", show=False, id="amnesia"),
        Binding("g", "app.harm('go')", "Go", show=False, id="go"),
    ]


class KnobsApp(App[int]):
    """An app with knobs; they stand still while `controls` is None. The rest of the app gives `chosen`, `moment` and
    `choose`."""

    stage: Stage
    controls: Controls | None
    chosen: Chosen
    _is_interrupted = False

    @property
    def moment(self) -> Moment | None:
        """What is shown; None while nothing is known."""
        raise NotImplementedError

    def choose(self, **changes: object) -> None:
        """Change what is shown."""
        raise NotImplementedError

    def get_default_screen(self) -> Screen[None]:
        return MainScreen(id="_default")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "knob":
            return self._is_free and self.chosen.page == "faults" and self._has_use(str(parameters[0]))
        if action == "harm":
            return self._is_free and (parameters[0] != "go" or self.stage.status.is_held)
        return super().check_action(action, parameters)

    @property
    def _is_free(self) -> bool:
        """Whether the run may be changed from here."""
        return self.controls is not None and self.moment is not None and is_changeable(self.moment)

    def _has_use(self, what: str) -> bool:
        """Whether the key does something now; else the app may use it."""
        return what not in ("apply", "drop") or bool(self.chosen.knobs.knob)

    # The page of faults

    def action_knob(self, what: str, by: int = 0) -> None:
        moment, controls = self.moment, self.controls
        if moment is None or controls is None:
            return
        match what:
            case "step":
                self._turn(moment, by)
            case "clear":
                self._propose(moment, KNOBS[self.chosen.cursor], OFF)
            case "apply":
                self._apply(moment, controls)
            case "drop":
                self._note(knob="", pending="", same_as="")
            case "target":
                robots = moment.scene.robots
                self._aim("" if self.chosen.knobs.target else robots[0])
            case "robot":
                self._aim(self._next_robot(moment, by))
            case "any":
                self.push_screen(FaultInput(self._submit))

    def _turn(self, moment: Moment, by: int) -> None:
        knob, knobs = KNOBS[self.chosen.cursor], self.chosen.knobs
        is_turned = knobs.knob == knob.name
        now = knobs.pending if is_turned else setting_of(moment.scene, knob, knobs.target) or OFF
        self._propose(moment, knob, stepped(knob, now, by))

    def _propose(self, moment: Moment, knob: Knob, arguments: str) -> None:
        """Show a change that is not made yet; none, where it would change nothing."""
        if arguments == setting_of(moment.scene, knob, self.chosen.knobs.target):
            self._note(knob="", pending="", same_as="")
        else:
            same_as = " && ".join(self._commands(moment, knob, arguments))
            self._note(knob=knob.name, pending=arguments, same_as=same_as)

    def _commands(self, moment: Moment, knob: Knob, arguments: str) -> list[str]:
        assert self.controls is not None
        wanted, commands = change(moment.scene, knob, self.chosen.knobs.target, arguments), []
        if wanted.set:
            commands.append(self.controls.command_of("set", wanted.set))
        return commands + [self.controls.command_of("clear", text) for text in wanted.clears]

    def _apply(self, moment: Moment, controls: Controls) -> None:
        knobs = self.chosen.knobs
        wanted = change(moment.scene, knob_named(knobs.knob), knobs.target, knobs.pending)
        requests = [partial(controls.request, wanted.set)] * bool(wanted.set)
        requests += [partial(controls.clear, text) for text in wanted.clears]
        self._ask(f"change {knobs.knob}", knobs.same_as, lambda: _all_of(requests))
        self._note(knob="", pending="", same_as="")

    def _aim(self, target: str) -> None:
        self._note(target=target, knob="", pending="", same_as="")

    def _next_robot(self, moment: Moment, by: int) -> str:
        """Around all robots and everyone, who is before the first."""
        targets = ["", *moment.scene.robots]
        place = targets.index(self.chosen.knobs.target) if self.chosen.knobs.target in targets else 0
        return targets[(place + by) % len(targets)]

    def _submit(self, text: str, dialog: FaultInput) -> None:
        assert self.controls is not None
        controls = self.controls

        def finish(reply: Reply) -> None:
            if dialog.is_attached:
                dialog.finish(reply)

        self._ask(text, controls.command_of("set", text), lambda: controls.request(text), finish)

    # Whatever page

    def action_harm(self, verb: str) -> None:
        moment, controls = self.moment, self.controls
        if moment is None or controls is None:
            return
        if verb in ("heal", "go"):
            self._ask(verb, controls.command_of(verb), controls.heal if verb == "heal" else controls.go)
            return
        robot = selected(moment)
        if not robot:
            self._toast(f"{verb}: choose a robot first", is_done=False)
        elif verb == "crash":
            self._choose_worker(controls, robot)
        elif verb in _DESTROYING:
            question = _DESTROYING[verb].format(robot=robot)
            self._confirm(question, controls.command_of(verb, robot), partial(self._inject, verb, robot))
        else:
            self._inject(verb, robot)

    def _inject(self, verb: str, target: str) -> None:
        assert self.controls is not None
        fault = f"{verb} {target}" + f" @0s+{PAUSE}" * (verb == "pause")
        self._ask(f"{verb} {target}", self.controls.command_of(verb, target), partial(self.controls.request, fault))

    def _choose_worker(self, controls: Controls, robot: str) -> None:
        def crash(worker: str | None) -> None:
            if worker is not None:
                self._inject("crash", f"{robot}/{worker}")

        self.push_screen(WorkerChoice(f"Crash which worker of {robot}? Its siblings run on.", controls.workers), crash)

    def _confirm(self, question: str, command: str, do: Callable[[], None]) -> None:
        def decide(is_wanted: bool | None) -> None:
            if is_wanted:
                do()

        self.push_screen(Confirm(question, command), decide)

    def action_interrupt(self) -> None:
        """Stop the run when it comes twice; where nothing can be stopped, leave."""
        is_again, self._is_interrupted = self._is_interrupted, True
        self.set_timer(AGAIN_S, self._forget_interrupt)
        can_stop = self._is_free
        if not is_again:
            self._toast(f"ctrl+c again {'stops the run' if can_stop else 'leaves'}", is_done=True)
        elif can_stop and self.controls is not None:
            self.stop_run(self.controls)
        else:
            self.exit(LEFT)

    def stop_run(self, controls: Controls) -> None:
        """Stop the run, and show how it ends. One that does not answer is left to the command."""
        if self.chosen.knobs.busy:
            self.exit(STOP)
        else:
            self._ask("stop", controls.command_of("stop"), controls.stop)

    def _forget_interrupt(self) -> None:
        self._is_interrupted = False

    def knob_commands(self) -> Iterable[SystemCommand]:
        """What the palette offers of the knobs, now."""
        if not self._is_free or self.moment is None:
            return
        robot = selected(self.moment)
        names = ("heal", "go") if self.stage.status.is_held else ("heal",)
        for verb in (*names, *(("kill", "pause", "resume", "crash", "contradict", "amnesia") if robot else ())):
            target = "" if verb in names else f" {robot}"
            yield SystemCommand(f"{verb.capitalize()}{target}", "changes the run", partial(self.action_harm, verb))
        yield SystemCommand("Any fault", "type its text", lambda: self.push_screen(FaultInput(self._submit)))

    # Requests

    def _ask(
        self,
        what: str,
        command: str,
        request: Callable[[], Reply],
        finish: Callable[[Reply], None] = lambda _answer: None,
    ) -> None:
        """Make a request in a thread: one at a time, the next waits for none."""
        if self.chosen.knobs.busy:
            finish(Reply([f"not asked: {self.chosen.knobs.busy} is not answered yet"], False))
            self._toast(f"not asked: {self.chosen.knobs.busy} is not answered yet", is_done=False)
            return
        self._note(busy=what)

        def work() -> None:
            reply = request()
            with suppress(RuntimeError):  # the app has ended
                self.call_later(self._finished, what, command, reply, finish)

        # Not one of Textual's workers: an app that is left would wait for them.
        Thread(target=work, name="knobs", daemon=True).start()

    def _finished(self, what: str, command: str, reply: Reply, finish: Callable[[Reply], None]) -> None:
        lines = [*([] if reply.is_done else [f"NOT done: {what}"]), *reply.lines]
        log = (*self.chosen.knobs.log, f"{'; '.join(lines)}   same as: {command}")[-_MOST_LOGGED:]
        self._note(busy="", log=log)
        self._toast("\n".join([*lines, f"same as: {command}"]), reply.is_done)
        finish(reply)

    def _toast(self, text: str, is_done: bool) -> None:
        lines = "\n".join(map(harmless, text.splitlines()))
        self.notify(lines, severity="information" if is_done else "error", markup=False)

    def _note(self, **changes: object) -> None:
        self.choose(knobs=replace(self.chosen.knobs, **changes))


def selected(moment: Moment) -> str:
    """The robot that is meant on this page: in detail, under the cursor, or the target of the knobs; empty: none."""
    chosen = moment.chosen
    if chosen.robot:
        return chosen.robot
    if chosen.page == "faults":
        return chosen.knobs.target
    rows = PAGES[chosen.page].rows(moment)
    row = rows[chosen.cursor] if chosen.cursor < len(rows) else ""
    return row if row in moment.scene.robots else ""


def _all_of(requests: Iterable[Callable[[], Reply]]) -> Reply:
    """One after the other, until one is refused."""
    lines: list[str] = []
    for request in requests:
        reply = request()
        lines += reply.lines
        if not reply.is_done:
            return Reply(lines, False)
    return Reply(lines, True)
