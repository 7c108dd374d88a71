"""The options that `run` and `simulate` share: names and help. What is allowed, deploy/settings.py says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Final

from cyclopts import Parameter

INTERRUPTED: Final = 130  # the exit code of what a person interrupted


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What to try."""

    robots: Annotated[str | None, Parameter(name=["--robots", "-n"], help="How many robots. [default: 6]")] = None
    secret: Annotated[str | None, Parameter(help="The secret itself. [default: a sentence of 11 words]")] = None
    secret_file: Annotated[str | None, Parameter(help="A UTF-8 file with the secret; - is standard input.")] = None
    copies: Annotated[str | None, Parameter(help="How many robots hold each part at the start. [default: 1]")] = None
    again: Annotated[
        str | None,
        Parameter(help="Repeat a recorded run: its seed, settings and plan, with what was changed by hand and when."),
    ] = None
    preset: Annotated[str | None, Parameter(help="The network: calm, lossy, storm or split. [default: lossy]")] = None
    fault: Annotated[
        tuple[str, ...] | None,
        Parameter(help="Any fault: 'NAME ARGS [TARGET] [@start[+duration]] [every T]'. May be repeated."),
    ] = None
    faults: Annotated[
        str | None, Parameter(help="A TOML file in the place of the preset: faults = ['loss 0.2', …].")
    ] = None
    loss: Annotated[str | None, Parameter(help="Probability that an envelope is lost; 0 removes the fault.")] = None
    burst_loss: Annotated[str | None, Parameter(help="Share lost, and mean length of a burst: '.2 5'.")] = None
    duplicate: Annotated[str | None, Parameter(help="Probability that it arrives twice; '.1 x3': thrice.")] = None
    delay: Annotated[str | None, Parameter(help="How long every copy is held: 20ms, 5ms..20ms or 20ms~0.5.")] = None
    reorder: Annotated[str | None, Parameter(help="Probability of a further 10..50 ms: others overtake.")] = None
    corrupt: Annotated[str | None, Parameter(help="Probability that it arrives damaged.")] = None
    throttle: Annotated[str | None, Parameter(help="Envelopes that pass from one robot to another: 20/s.")] = None
    partition: Annotated[
        str | None, Parameter(help="Who is cut from whom, and when: 'hold r00..r02|r03..r05 @1s+3s'.")
    ] = None
    kill: Annotated[
        tuple[str, ...] | None, Parameter(help="Whom to kill, and when: r03@2s, robot@1s, relay:1@3s. May be repeated.")
    ] = None
    pause: Annotated[tuple[str, ...] | None, Parameter(help="Whom to stop for how long: r01@9s+5s. Likewise.")] = None
    restart: Annotated[
        tuple[str, ...] | None,
        Parameter(help="What to stop in order, and start again: redis@6s, relay@3s or r03@2s. Likewise."),
    ] = None
    chaos: Annotated[
        tuple[str, ...] | None, Parameter(help="Any fault of a process: 'kill robot every 500ms'. Likewise.")
    ] = None
    relays: Annotated[str | None, Parameter(help="Outboxes, each with a relay of its own. [default: 1]")] = None
    seed: Annotated[str | None, Parameter(help="Draws deal and fates. [default: drawn, and printed]")] = None
    tick: Annotated[str | None, Parameter(help="How often a robot gossips. [default: 100ms]")] = None
    quiet_period: Annotated[str | None, Parameter(help="How long without news before it writes. [default: 1s]")] = None
    for_: Annotated[str | None, Parameter(name="--for", help="Go on at least so long. [default: 0s]")] = None
    limit: Annotated[str | None, Parameter(help="Go on at most so long. [default: --for + 30s]")] = None
    runs_dir: Annotated[str | None, Parameter(help="Where records are kept. [default: runs]")] = None
    json_: Annotated[
        bool | None, Parameter(name="--json", negative="--no-json", help="Print one JSON object, and only that.")
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Where the secret is to go, beside the record."""

    output: Annotated[str | None, Parameter(help="Also write the reconstructed secret to this file.")] = None
    force: Annotated[bool | None, Parameter(negative="--no-force", help="Replace an existing --output.")] = None


def given(*groups: Any, **single: Any) -> Mapping[str, Any]:
    """The options that were really given, by the name of their setting."""
    options = {field.name: getattr(group, field.name) for group in groups for field in fields(group)} | single
    return {name: value for name, value in options.items() if value is not None}
