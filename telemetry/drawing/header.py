"""The two lines at the top of every page: which run, how far it is, and what watching it costs."""

from __future__ import annotations

from telemetry.drawing.line import Fragment, Line, Tone, line
from telemetry.drawing.moment import Moment
from telemetry.phrases import counted, share


def header(moment: Moment) -> list[Line]:
    """Both lines."""
    return [_run_line(moment), _state_line(moment)]


def _run_line(moment: Moment) -> Line:
    scene = moment.scene
    settings = scene.settings
    word, tone = _word(moment)
    name = f" robots {settings.run} "
    facts = f"  {counted(len(scene.robots), 'robot')}  {counted(len(scene.holders), 'part')}  seed {settings.seed}"
    return line(Fragment(name, "title"), Fragment(word, tone), *_alerts(moment), facts, *_price(moment))


def _alerts(moment: Moment) -> list[Fragment]:
    """What a person must know to read the rest; first, so that a narrow terminal does not cut it off."""
    _, status, chosen = moment
    alerts = []
    if chosen.is_paused:
        alerts.append(Fragment(f"  VIEW PAUSED, {chosen.behind} events wait", "bad"))
    if status.missed:
        alerts.append(Fragment(f"  GAP {status.missed}", "bad"))
    return alerts


def _word(moment: Moment) -> tuple[str, Tone]:
    """What the run is doing, and its time."""
    scene, status, _ = moment
    since = scene.since_go_us
    at = "" if since is None else f" {since / 1e6:.1f} s"
    if status.mode == "replay":
        return f"REPLAY{at}{_length(moment)}" + (f" {status.speed:g}x" if status.is_playing else " stands"), "news"
    if status.is_held:
        return "HELD BACK: press g to let it go", "news"
    if status.result is not None:
        verdict = str(status.result["verdict"])
        return f"OVER: {verdict}", "good" if verdict == "HELD" else "bad"
    if status.is_over or scene.view.stopped is not None:
        return f"OVER{at}", "dim"
    return ("BEING BORN", "news") if since is None else (f"RUNS{at}", "good")


def _length(moment: Moment) -> str:
    """When a replay ends, in the time since `go`; nothing while that is not known."""
    scene, status, _ = moment
    dealt_us = scene.view.dealt_us
    if scene.go_us is None or dealt_us is None:
        return ""
    return f" of {(dealt_us + status.length_us - scene.go_us) / 1e6:.1f} s"


def _price(moment: Moment) -> list[Fragment]:
    """What watching costs."""
    _, status, _ = moment
    fragments = []
    if status.cost is not None:
        fragments.append(Fragment(f"  watch {share(status.cost)} of a core", "dim"))
    if status.lag_us is not None:
        fragments.append(Fragment(f"  lag {status.lag_us / 1000:.0f} ms", "dim"))
    return fragments


def _state_line(moment: Moment) -> Line:
    scene, status, _ = moment
    if status.trouble:
        return line(Fragment(f" {status.trouble}", "bad"))
    if status.away_s >= 1:
        return line(Fragment(f" the server does not answer, for {status.away_s:.0f} s now", "bad"))
    view, network = scene.view, scene.network
    lasting, everyone = len(scene.lasting), len(scene.robots)
    fragments: list[Fragment | str] = [f" mean {share(view.share)}  complete {scene.complete}/{lasting}"]
    if lasting < everyone:
        fragments.append(Fragment(f"  dead {everyone - lasting}", "bad"))
    if view.writer:
        fragments.append(Fragment(f"  written by {view.writer}", "good"))
    if scene.anomalies:
        fragments.append(Fragment(f"  unusual: {len(scene.anomalies)}", "bad"))
    offered = network.total.offered
    if offered:
        fragments.append(f"  lost {share(network.total.lost / offered)}")
    if network.held:
        fragments.append(Fragment(f"  held back {network.held}", "news"))
    if offered:
        fragments.append(Fragment(f"  {counted(offered, 'envelope')}", "dim"))
    return line(*fragments)
