"""How fast gossip should spread, by theory: a mean-field model of the robots' exchanges. Pure, and knows of no run.

Of one part, `h` is the share of the robots that hold it, and `u = 1 - h`. A robot that lacks it learns it at the rate
at which calls bring it, so in a time `dt` (in ticks) `u' = u exp(-dt F a (q² h + q w))`. That is push-pull of Karp,
Schindelhauer, Shenker and Vöcking, "Randomized rumor spreading" (FOCS 2000), with messages that are lost, and in
continuous time, because robots tick at times of their own and answer from what they know at that moment.

- `F`: exchanges that a robot begins in a tick. `q`: the share of messages that arrive.
- `q²`: a robot pulls a part when its summary and the answer arrive. `q`: a robot pushes one that it learnt lately, as
  that part rides in the summary.
- `w`: holders that lack another part, and so still begin exchanges. One that is complete soon only answers.
- `a = 1 + r + r²`, `r = 1 - q²`: the summary is sent again, up to twice, when no answer came; the first time after
  about a third of a tick, the second time after a whole one.
- With a delay, `h` and `a` are those of a moment ago.
- `F` is less than the protocol's two where much is lost: exchanges without an answer stay open for two ticks, and a
  robot has four open at most. The share of new ones that find no place is Erlang's loss formula.
- Robots with different links are groups: each has a `u` of its own, and calls each group as often as it is large.

Against the medians of simulated runs (10 seeds; 16, 50 and 100 robots; 11 parts; a loss of 0, 0.2, 0.4 and 0.6) the
mean share at each tick is right to 0.1, and the time until all are complete lies within what `until_complete` gives,
or half a tick beside it. With delays of a tenth of a tick, reordering and a loss of 0.6 runs of 100 robots take three
ticks longer. With 0.8 the theory is wrong by far: what it expects after 20 ticks takes 200. Robots double their
timeouts there and suspect peers that live; whether that explains it was not measured. It knows of no death, and of no
robot that joins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, factorial, prod
from typing import Final, NamedTuple

STEPS: Final = 8
"""Steps of the model in a tick."""

RELIABLE_UP_TO: Final = 0.6
"""With a greater loss the model is too hopeful."""

_FANOUT: Final = 2
_OPEN_LIMIT: Final = 4  # exchanges that a robot has open
_OPEN_FOR: Final = 2.0  # ticks, without an answer
_ANSWERED_IN: Final = 0.2
_FEW_ROBOTS: Final = 3  # up to so many, each calls all others in every tick
_FIRST_RETRY: Final = 0.35  # ticks after the summary
_SECOND_RETRY: Final = 1.05
_DONE: Final = 0.05  # of all the parts that all robots should hold, so many are missing: as good as none

Matrix = Sequence[Sequence[float]]
_Lacking = list[list[float]]
"""By kind of part and group, the share of the robots that lack it."""


class Kind(NamedTuple):
    """So many `parts` are held by so many robots of each group at the start."""

    holders: tuple[int, ...]
    parts: int


class Lab(NamedTuple):
    """`groups`: so many robots have equal links."""

    groups: tuple[int, ...]
    kinds: tuple[Kind, ...]

    @property
    def robots(self) -> int:
        return sum(self.groups)

    @property
    def parts(self) -> int:
        return sum(kind.parts for kind in self.kinds)


class Conditions(NamedTuple):
    """`loss`: the share of messages that are lost, 0..1, from each group to each. `delay`: how long one takes, in
    ticks."""

    loss: Matrix
    delay: float = 0.0


class Duration(NamedTuple):
    """Ticks until all robots are complete: less than `most`, and hardly less than `least`."""

    least: float
    most: float


def uniform(robots: int, parts: int, copies: int) -> Lab:
    """A lab in which all links are alike. `copies`: robots that hold a part at the start."""
    return Lab((robots,), (Kind((min(copies, robots),), parts),))


def predicted(lab: Lab, conditions_at: Callable[[float], Conditions], ticks: float) -> list[float]:
    """The mean share of the parts that a robot holds, 0..1: at `go`, and after each step of 1 / STEPS ticks, until
    `ticks` after go; it is shorter when all are complete before. `conditions_at`: those at a time, in ticks."""
    history = [[[1 - held / size for held, size in zip(kind.holders, lab.groups, strict=True)] for kind in lab.kinds]]
    shares = [_share(lab, history[0])]
    for step in range(round(ticks * STEPS)):
        if (1 - shares[-1]) * lab.robots * lab.parts < _DONE:
            break
        conditions = conditions_at(step / STEPS)
        before = history[max(0, step - round(conditions.delay * STEPS))]
        history.append(_stepped(lab, conditions, history[-1], before, (step + 0.5) / STEPS))
        shares.append(_share(lab, history[-1]))
    return shares


def until_complete(lab: Lab, shares: Sequence[float]) -> Duration | None:
    """When all robots are complete by this prediction; None: not within it.

    At the least one more robot lacks a part with even odds, as if parts travelled together; at the most, as if each
    went its own way.
    """
    least = _first_below(shares, 0.5 / lab.robots)
    most = _first_below(shares, 0.5 / (lab.robots * lab.parts))
    return None if least is None or most is None else Duration(least / STEPS, most / STEPS)


def _share(lab: Lab, lacking: _Lacking) -> float:
    missing = sum(
        kind.parts * size * share
        for kind, shares in zip(lab.kinds, lacking, strict=True)
        for size, share in zip(lab.groups, shares, strict=True)
    )
    return 1 - missing / (lab.robots * lab.parts)


def _stepped(lab: Lab, conditions: Conditions, lacking: _Lacking, before: _Lacking, ticks: float) -> _Lacking:
    """What is lacking a step later. `before`: what was, a delay ago."""
    pull, push = _rates(lab, conditions, ticks)
    groups = range(len(lab.groups))
    complete = [
        prod((1 - shares[group]) ** kind.parts for kind, shares in zip(lab.kinds, before, strict=True))
        for group in groups
    ]
    if lab.parts == 1:
        complete = [0.0 for _ in groups]  # its only holder goes on until it was seen at others
    later = []
    for shares, old in zip(lacking, before, strict=True):
        holding = [1 - share for share in old]
        calling = [max(0.0, held - done) for held, done in zip(holding, complete, strict=True)]
        rates = [sum(pull[to][by] * holding[by] + push[to][by] * calling[by] for by in groups) for to in groups]
        later.append([share * exp(-rate / STEPS) for share, rate in zip(shares, rates, strict=True)])
    return later


def _rates(lab: Lab, conditions: Conditions, ticks: float) -> tuple[Matrix, Matrix]:
    """How often in a tick a robot of a group pulls from one of another, and is pushed to by it, if all of those hold
    the part."""
    called = ticks - 2 * conditions.delay  # when what arrives now was asked for
    fanout = lab.robots - 1 if lab.robots <= _FEW_ROBOTS else _FANOUT
    pull, push = [], []
    for to, _ in enumerate(lab.groups):
        pulls, pushes = [], []
        for by, size in enumerate(lab.groups):
            there, back = 1 - conditions.loss[to][by], 1 - conditions.loss[by][to]
            fails = 1 - there * back
            attempts = (called > 0) + fails * (called > _FIRST_RETRY) + fails**2 * (called > _SECOND_RETRY)
            calls = fanout * _free(fanout, fails) * attempts * size / lab.robots
            pulls.append(calls * there * back)
            pushes.append(calls * back)
        pull.append(pulls)
        push.append(pushes)
    return pull, push


def _free(fanout: int, fails: float) -> float:
    """The share of exchanges that find a place, by Erlang's loss formula. `fails`: the share of attempts."""
    unanswered = fails**3
    open_at_once = fanout * (_OPEN_FOR * unanswered + _ANSWERED_IN * (1 - unanswered))
    terms = [open_at_once**many / factorial(many) for many in range(_OPEN_LIMIT + 1)]
    return 1 - terms[-1] / sum(terms)


def _first_below(shares: Sequence[float], lacking: float) -> int | None:
    return next((step for step, share in enumerate(shares) if 1 - share < lacking), None)
