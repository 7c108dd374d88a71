"""The keys of the knobs, pressed in the app: what they request, what they ask before, and what they show."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from telemetry.drawing.line import text_of
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Chosen, Page, Status
from telemetry.scene.scene import Scene
from telemetry.watch.app import WatchApp
from telemetry.watch.dialogs import Confirm, FaultInput, WorkerChoice
from telemetry.watch.knobs import STOP
from telemetry.watch.painting import Painting
from telemetry.watch.stage import Reply
from tests.support.waiting import DEADLINE_S
from tests.telemetry.knobs.scripted import Script

KEY_TO_SCREEN_S = 0.1


class StillStage:
    """A run at one moment."""

    def __init__(self, scene: Scene, status: Status) -> None:
        self.scene: Scene | None = scene
        self.status = status

    def advance(self) -> None:
        """Nothing is new."""

    def close(self) -> None:
        """Nothing was started."""


class RecordedControls:
    """Notes what is requested. While `is_open` is not set, no request is answered; what `refused` holds is refused."""

    workers = ("inbox_reader", "secret_merger")

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.refused: dict[str, str] = {}
        self.is_open = threading.Event()
        self.is_open.set()

    def request(self, fault: str) -> Reply:
        return self._answer(f"request {fault}")

    def clear(self, what: str) -> Reply:
        return self._answer(f"clear {what}")

    def heal(self) -> Reply:
        return self._answer("heal")

    def go(self) -> Reply:
        return self._answer("go")

    def stop(self) -> Reply:
        return self._answer("stop")

    def command_of(self, verb: str, argument: str = "") -> str:
        return f"robots {verb} {argument}".strip()

    def _answer(self, request: str) -> Reply:
        self.requests.append(request)
        assert self.is_open.wait(DEADLINE_S)
        why = self.refused.get(request)
        return Reply(["as you wish"] if why is None else [why], why is None)


class Screen:
    """The app under a test's fingers."""

    def __init__(self, app: WatchApp, pilot: Pilot[int], controls: RecordedControls) -> None:
        self.app, self.pilot, self.controls = app, pilot, controls

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for what threads do."""
        deadline = time.monotonic() + DEADLINE_S
        while not is_so():
            assert time.monotonic() < deadline, self.text
            await self.pilot.pause(0.005)

    async def requested(self, *requests: str) -> None:
        await self.until(lambda: self.controls.requests == [*requests] and not self.app.chosen.knobs.busy)

    @property
    def text(self) -> str:
        """The page."""
        lines = self.app.screen_stack[0].query_one(Painting).lines
        return "\n".join(text_of(line).rstrip() for line in lines)

    @property
    def dialog(self) -> str:
        """The words of the dialog that is open."""
        return "\n".join(str(each.content) for each in self.app.screen.query(Static))

    @property
    def toasts(self) -> list[str]:
        return [notification.message for notification in self.app._notifications]


def in_app(
    test: Callable[[Screen], Awaitable[None]],
    page: Page = "faults",
    status: Status | None = None,
    script: Script | None = None,
    *,
    has_controls: bool = True,
) -> None:
    """Run a test in an app that shows six robots, under `loss 0.3` for all and `loss 0.5` at r02."""
    scene = (script or Script().begin().plan(1, "loss 0.3", "loss 0.5 r02")).scene
    controls = RecordedControls()
    app = WatchApp(StillStage(scene, status or Status()), controls if has_controls else None, Marks())
    app.chosen = Chosen(page=page)

    async def body() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await test(Screen(app, pilot, controls))
            controls.is_open.set()

    asyncio.run(body())


# The page of faults.


def test_a_turned_knob_waits_for_enter_and_then_makes_one_request() -> None:
    async def test(screen: Screen) -> None:
        # When loss is turned up twice
        await screen.press("+", "+")
        # Then the change is only shown
        assert "pending: loss 30% -> 50%" in screen.text
        assert "same as: robots set loss 0.5" in screen.text
        assert screen.controls.requests == []
        # and enter makes it
        await screen.press("enter")
        await screen.requested("request loss 0.5")
        assert "pending" not in screen.text
        assert " as you wish   same as: robots set loss 0.5" in screen.text
        assert screen.toasts == ["as you wish\nsame as: robots set loss 0.5"]

    in_app(test)


def test_escape_drops_a_change_and_turning_back_does_too() -> None:
    async def test(screen: Screen) -> None:
        await screen.press("+", "escape")
        assert "pending" not in screen.text
        await screen.press("+", "-")
        assert "pending" not in screen.text
        await screen.press("enter")
        await screen.pilot.pause()
        assert screen.controls.requests == []

    in_app(test)


def test_j_chooses_another_knob_and_0_clears_what_it_set() -> None:
    async def test(screen: Screen) -> None:
        await screen.press("j", "+", "enter")
        await screen.requested("request duplicate 0.01")
        await screen.press("k", "0", "enter")
        await screen.requested("request duplicate 0.01", "clear loss 0.3")

    in_app(test)


def test_a_change_for_one_robot_is_two_requests_and_the_second_is_left_out_when_the_first_is_refused() -> None:
    async def test(screen: Screen) -> None:
        # Given the target r02, the third robot
        await screen.press("n", "n", "n")
        assert "SET (r02)" in screen.text
        # When its loss is turned up, and the run refuses it
        screen.controls.refused["request loss 0.6 r02"] = "run f00000 refused it: no"
        await screen.press("+")
        assert "pending: loss 50% -> 60% for r02" in screen.text
        assert "same as: robots set loss 0.6 r02 && robots clear loss 0.5 r02" in screen.text
        await screen.press("enter")
        # Then nothing is cleared
        await screen.requested("request loss 0.6 r02")
        assert "NOT done: change loss; run f00000 refused it: no" in screen.text
        # and the next time both are done
        screen.controls.refused.clear()
        await screen.press("+", "enter")
        await screen.requested("request loss 0.6 r02", "request loss 0.6 r02", "clear loss 0.5 r02")

    in_app(test)


def test_t_aims_at_one_robot_and_at_everyone_again_and_p_goes_back() -> None:
    async def test(screen: Screen) -> None:
        seen = []
        for key in ("t", "t", "p", "n"):
            await screen.press(key)
            seen.append(screen.app.chosen.knobs.target)
        assert seen == ["r00", "", "r05", ""]

    in_app(test)


@pytest.mark.parametrize("key", ["e", "colon"])
def test_any_fault_can_be_typed_and_one_that_is_refused_stays_with_the_reason(key: str) -> None:
    async def test(screen: Screen) -> None:
        # Given a text that the run refuses, with what a widget would read as markup
        screen.controls.refused["request los .4"] = "FAULT: 'los' is [red]unknown[/red]"
        await screen.press(key, *"los", "space", *".4", "enter")
        # When it answered
        await screen.until(lambda: "[red]unknown[/red]" in screen.dialog)
        # Then the text is still there, and can be mended
        assert screen.app.screen.query_one(Input).value == "los .4"
        await screen.press("home", "right", "right", "right", "s", "enter")
        await screen.until(lambda: not isinstance(screen.app.screen, FaultInput))
        await screen.requested("request los .4", "request loss .4")

    in_app(test)


# On any page.


@pytest.mark.parametrize(("key", "verb"), [("K", "kill"), ("X", "contradict"), ("A", "amnesia")])
def test_what_destroys_is_asked_before_and_only_y_does_it(key: str, verb: str) -> None:
    async def test(screen: Screen) -> None:
        await screen.press("j", key)
        assert isinstance(screen.app.screen, Confirm)
        assert f"same as: robots {verb} r01" in screen.dialog
        await screen.press("n")
        await screen.press(key, "escape")
        await screen.pilot.pause()
        assert screen.controls.requests == []
        await screen.press(key, "y")
        await screen.requested(f"request {verb} r01")

    in_app(test, page="overview")


def test_what_heals_by_itself_is_done_at_once() -> None:
    async def test(screen: Screen) -> None:
        await screen.press("P")
        await screen.requested("request pause r00 @0s+5s")
        await screen.press("R")
        await screen.requested("request pause r00 @0s+5s", "request resume r00")
        await screen.press("H")
        await screen.requested("request pause r00 @0s+5s", "request resume r00", "heal")
        assert screen.toasts[0] == "as you wish\nsame as: robots pause r00"

    in_app(test, page="overview")


def test_a_worker_is_chosen_before_it_is_crashed() -> None:
    async def test(screen: Screen) -> None:
        await screen.press("C")
        assert isinstance(screen.app.screen, WorkerChoice)
        assert screen.app.screen.query_one(OptionList).option_count == 2
        await screen.press("escape", "C", "j", "enter")
        await screen.requested("request crash r00/secret_merger")

    in_app(test, page="overview")


def test_a_robot_must_be_chosen_first() -> None:
    async def test(screen: Screen) -> None:
        await screen.press("K")
        assert screen.toasts == ["kill: choose a robot first"]
        assert screen.controls.requests == []
        await screen.press("t", "K", "y")
        await screen.requested("request kill r00")

    in_app(test)


def test_while_the_run_is_slow_to_answer_keys_reach_the_screen_and_nothing_is_requested_twice() -> None:
    async def test(screen: Screen) -> None:
        # Given a request that is not answered
        screen.controls.is_open.clear()
        await screen.press("H")
        await screen.until(lambda: "heal" in screen.controls.requests)
        assert "the run is asked: heal …" in screen.text
        # When keys are pressed, they reach the screen as fast as ever
        took = []
        for key, cursor in zip("jjjkk", (1, 2, 3, 2, 1), strict=True):
            began = time.monotonic()
            await screen.press(key)
            took.append(time.monotonic() - began)
            assert screen.app.chosen.cursor == cursor
        assert min(took) <= KEY_TO_SCREEN_S
        # and another request is not made, but answered
        await screen.press("H")
        assert "not asked: heal is not answered yet" in screen.toasts
        screen.controls.is_open.set()
        await screen.requested("heal")

    in_app(test)


def test_an_app_that_is_left_does_not_wait_for_an_answer() -> None:
    async def test(screen: Screen) -> None:
        screen.controls.is_open.clear()
        await screen.press("H")
        await screen.until(lambda: screen.controls.requests == ["heal"])
        await screen.press("q")
        assert screen.app.return_value == 0
        [thread] = [thread for thread in threading.enumerate() if thread.name == "knobs"]
        assert thread.daemon

    in_app(test)


def test_ctrl_c_stops_the_run_when_it_comes_twice() -> None:
    async def test(screen: Screen) -> None:
        await screen.press("ctrl+c")
        assert screen.toasts == ["ctrl+c again stops the run"]
        assert screen.controls.requests == []
        await screen.press("ctrl+c")
        await screen.requested("stop")
        assert screen.app.is_running

    in_app(test, page="overview")


def test_a_run_that_owes_an_answer_can_be_stopped_by_the_command_behind_the_app() -> None:
    async def test(screen: Screen) -> None:
        screen.controls.is_open.clear()
        await screen.press("H")
        await screen.until(lambda: screen.controls.requests == ["heal"])
        await screen.press("ctrl+c", "ctrl+c")
        assert screen.app.return_value == STOP
        assert screen.controls.requests == ["heal"]

    in_app(test)


def test_g_lets_a_run_go_that_is_held_back_and_only_then() -> None:
    async def held(screen: Screen) -> None:
        await screen.press("g")
        await screen.requested("go")

    async def running(screen: Screen) -> None:
        await screen.press("g")
        await screen.pilot.pause()
        assert screen.controls.requests == []

    in_app(held, page="overview", status=Status(is_held=True))
    in_app(running, page="overview")


# Where nothing may be changed.


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (Status(is_read_only=True), "read-only: nothing can be changed from here"),
        (Status(mode="replay"), "a replay: what was done is done"),
        (Status(is_over=True), "the run is over: nothing can be changed any more"),
    ],
    ids=["read-only", "replay", "over"],
)
def test_where_nothing_may_be_changed_keys_and_hints_are_gone(status: Status, why: str) -> None:
    async def test(screen: Screen) -> None:
        assert why in screen.text
        assert "clear" not in screen.text
        await screen.press("+", "enter", "0", "e", "H", "t", "K", "C")
        await screen.pilot.pause()
        assert len(screen.app.screen_stack) == 1
        assert (screen.app.chosen.knobs.knob, screen.app.chosen.knobs.target) == ("", "")
        assert [command.title for command in screen.app.get_system_commands(screen.app.screen)][-1] != "Any fault"
        # and ctrl+c leaves
        await screen.press("ctrl+c")
        assert screen.toasts == ["ctrl+c again leaves"]
        await screen.press("ctrl+c")
        assert screen.app.return_value == 0

    in_app(test, status=status, has_controls=status.is_over)


def test_the_palette_offers_the_actions_on_the_selected_robot() -> None:
    async def test(screen: Screen) -> None:
        await screen.press("j")
        commands = {each.title: each for each in screen.app.get_system_commands(screen.app.screen)}
        assert {"Heal", "Kill r01", "Pause r01", "Crash r01", "Amnesia r01", "Any fault"} <= commands.keys()
        assert "Go" not in commands
        commands["Pause r01"].callback()
        await screen.requested("request pause r01 @0s+5s")

    in_app(test, page="overview")
