"""The command `robots`: one file per subcommand, and the one place where errors become a line and an exit code.

A subcommand's file is imported only when the command is called: this file names each by an import string. Exit
codes: 0 all promises HELD; 1 something BROKEN, and nothing else; 2 usage; 3 UNPROVEN; 4 environment; 130 interrupted.
Any other error is a bug, and goes up to deploy/entry.py: 70.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from cyclopts import App, CycloptsError, Group, Parameter, UnusedCliTokensError

from deploy.commands.help import HelpText
from deploy.commands.output import report
from deploy.errors import ENVIRONMENT, INTERRUPTED, USAGE
from deploy.version import version

EXIT_CODES: Final = {
    "UsageError": USAGE,
    "NoSuchRun": USAGE,
    "Unrepeatable": USAGE,
    "EnvironmentFailure": ENVIRONMENT,
    "UnsupportedServer": ENVIRONMENT,
    "ServerGone": ENVIRONMENT,
    "OSError": ENVIRONMENT,  # a full disk, a folder that vanished
}
"""The errors whose message is one line for people. By name: their classes are not loaded before a command is."""

app = App(
    name="robots",
    help="A laboratory for gossip, failure and recovery: robots reconstruct a secret, and the lab judges what held.",
    version=version,
    help_format="plaintext",
    help_formatter=HelpText(),
    group_parameters=Group("Options", sort_key=0),
    default_parameter=Parameter(allow_leading_hyphen=True, negative=(), show_env_var=False),
)
app["--help"].group = app["--version"].group = Group("Options", sort_key=9)

_RUN_IT: Final = Group("Run it", sort_key=1)
_WATCH_IT: Final = Group("Watch it", sort_key=2)
_HARM_IT: Final = Group("Harm it", sort_key=3)
_ON_A_CLUSTER: Final = Group("On a cluster", sort_key=4)
_JUDGE_IT: Final = Group("Judge it", sort_key=5)
_SET_IT_UP: Final = Group("Set it up", sort_key=6)

_NEWEST: Final = "RUN is an id, a unique prefix, a folder or `latest`; by default the newest run that is live."
_ANY: Final = (
    "RUN is an id, a unique prefix, a folder or `latest`; by default the newest run that is live, or else the latest"
    " record."
)
_SETTINGS: Final = (
    "An option such as --loss replaces the preset's fault of that name; 0 removes it. Every option may also be set in"
    " the environment (--loss as ROBOTS_LOSS) and in ./robots.toml (as loss). Flags win over the environment, and the"
    " environment wins over the file."
)
_place = count()


def _command(group: Group, path: str, line: str, *more: str) -> None:
    """Register a command, by the name of its module or of the function in it. `line` is its help in one line."""
    module, _, attribute = path.partition(":")
    app.command(
        f"deploy.commands.{module}:{attribute or 'app'}",
        name=attribute.removesuffix("_app") or module,
        help="\n\n".join((line, *more)),
        group=group,
        sort_key=next(_place),
    )


_command(
    _RUN_IT,
    "run",
    "Run real processes on this host, and judge what held.",
    "A server, RQ workers, robots and relays are started, and ended with the run. With --redis-url the server is yours,"
    f" and nothing is left on it. {_SETTINGS}",
)
_command(
    _RUN_IT,
    "simulate",
    "Run the same robots in virtual time: one seed, one history.",
    f"With --ui tui its record is then replayed on the screens; the exit code is the run's. {_SETTINGS}",
)
_command(
    _RUN_IT,
    "go",
    "Let a live run begin that is held back (--hold).",
    "It begins at once when all of its robots are born, and otherwise as soon as they are, or three seconds after the"
    f" deal. {_NEWEST}",
)
_command(
    _RUN_IT,
    "stop",
    "Stop a live run in order.",
    f"Its robots end, its supervisor closes it, and its own `robots run`, if it has one, judges it. {_NEWEST}",
)
_command(
    _WATCH_IT,
    "watch",
    "Watch a live run: who knows what, what fails, and what heals.",
    "It may be attached to a run at any time, and left again: the run goes on. Where there is no terminal, or it is"
    f" too small, plain lines are printed. {_NEWEST}",
)
_command(_WATCH_IT, "ps", "Show the robots of a live run, its relays, supervisor and server.", _NEWEST)
_command(
    _WATCH_IT,
    "anomalies",
    "Show what was unusual in a run, and when.",
    "The rules of a live run are applied to the events of a run, with its own thresholds or with yours. RUN is an id, a"
    " unique prefix, a folder or `latest`; by default the newest run that is live, or else the newest record.",
)
_command(
    _WATCH_IT,
    "runs",
    "List the runs that are recorded here, live ones too, the newest first.",
    "With --redis-url it lists the runs that the server holds: their supervisors and relays, and how many RQ workers"
    " are free.",
)
_command(
    _WATCH_IT,
    "events",
    "Show the events of a run, as a log that can be followed.",
    _ANY,
)
_command(
    _WATCH_IT,
    "replay",
    "Show a recorded run again, at any speed, back and forth.",
    "On a terminal the screens of a live run open, and time is yours. Elsewhere the stories of the run are printed, one"
    " a line, and its verdict. RUN is an id, a unique prefix, a folder or `latest`.",
)
_command(
    _WATCH_IT,
    "metrics",
    "Show the metrics of a run, or serve them to Prometheus.",
    f"{_ANY} With OTEL_EXPORTER_OTLP_ENDPOINT they are pushed to that collector, too.",
)
_command(
    _WATCH_IT,
    "traces",
    "List the exchanges of a run, the slowest first, or draw one of them.",
    f"EXCHANGE is an id from the list, or a unique prefix; `run` draws the run itself. {_ANY}",
)
_command(
    _WATCH_IT,
    "why",
    "Explain a verdict, a robot, or how a robot came to know a part.",
    "RUN may be left out before ROBOT. `robots why` explains the run: each promise that is not HELD, why it did not go"
    " on, and where the time went. `robots why r03` explains when r03 was complete, what it lacks, and why it wrote, or"
    " did not; with --part, who taught it that part, or which faults kept it away. RUN is an id, a unique prefix, a"
    " folder or `latest`.",
)
_command(_HARM_IT, "faults", "See and change the fault plan of a live run.", _NEWEST)
_command(_HARM_IT, "inject:kill_app", "Kill a process of a live run; its successor takes over.", _NEWEST)
_command(_HARM_IT, "inject:pause_app", "Stop a process of a live run, and let it go on later.", _NEWEST)
_command(
    _HARM_IT,
    "inject:resume_app",
    "Let a paused process of a live run go on before its time.",
    f"It ends all pauses of that process. {_NEWEST}",
)
_command(_HARM_IT, "inject:restart_app", "End a process of a live run in order; it is started again.", _NEWEST)
_command(_HARM_IT, "inject:crash_app", "Crash one worker of a robot in a live run; its siblings run on.", _NEWEST)
_command(
    _HARM_IT,
    "inject:contradict_app",
    "Send a robot of a live run another word for a part that it was dealt.",
    _NEWEST,
)
_command(_HARM_IT, "inject:amnesia_app", "Kill a robot of a live run, and delete its journal.", _NEWEST)
_command(
    _ON_A_CLUSTER,
    "deal",
    "Deal a run on a server, for processes on any hosts.",
    "Its robots are queued, and it says how many RQ workers to start. Nothing is started here, and no record is made:"
    " `robots verify --wait` makes it, on any host. With --closed no robot joins later.",
)
_command(
    _ON_A_CLUSTER,
    "worker",
    "Start RQ workers for robots on this host.",
    "Each runs a robot that waits in the queue, of any run. When none waits, a new robot joins the newest run that is"
    " not closed. They end with Ctrl-C or SIGTERM, hand their robots back and print which; they also end with a run"
    " that has a server of its own.",
)
_command(
    _ON_A_CLUSTER,
    "relay",
    "Relay a shard of a live run, or stand by for one.",
    "It takes over a shard when its relay dies or there is none. It leaves when the run is stopped, or with Ctrl-C."
    f" {_NEWEST} On a server that is named with --redis-url it waits for the next run when none is live. With --stay it"
    " relays every shard there that has no relay, of all runs at the same time.",
)
_command(
    _ON_A_CLUSTER,
    "supervise",
    "Lead a run that was dealt with `robots deal`, or stand by.",
    "The supervisor starts the run when its robots are born, queues the robots of dead RQ workers again, lets robots"
    " join when RQ workers are idle, follows the fault plan, and stops the run. It leaves when the run is over, or with"
    " Ctrl-C; then the run goes on. RUN is an id or a unique prefix; by default the newest run on the server, or the"
    " next one that is dealt there. With --stay it leads every run there that has no supervisor, all at the same time.",
)
_command(
    _JUDGE_IT,
    "verify",
    "Judge a recorded run, or wait for the end of a live one.",
    "With --wait it waits for the end of the run, on any host that reaches its server, and records a run that was dealt"
    " with `robots deal`. RUN is an id, a unique prefix, a folder or `latest`; with --wait by default the newest run"
    " that is live or has just ended.",
)


_command(
    _JUDGE_IT,
    "schema",
    "Print the JSON Schema of a record's files and of what --json prints.",
    "NAME is a file (plan.jsonl: of each of its lines) or a command (ps); by default all of them.",
)
_command(
    _SET_IT_UP,
    "doctor",
    "Check what could stop a run on this host and its server.",
    "Each line says what was checked, what was found, and how to mend what is wrong. A server that is named is asked"
    " for its version, persistence, memory and clock, and for the user's rights; nothing is written on it.",
)
_command(
    _SET_IT_UP,
    "config",
    "Print every setting in force here, as robots.toml would set it.",
    "A password in a URL and the secret itself are printed as ***. What is masked, has no value, or gets it later, is a"
    f" comment. {_SETTINGS}",
)


def main(arguments: list[str] | None = None, loaded: Callable[[], None] = lambda: None) -> None:
    """Run one command and exit with its code. `loaded` is called once everything is imported, before the command
    begins."""
    sys.exit(_code(sys.argv[1:] if arguments is None else arguments, loaded))


def _code(arguments: list[str], loaded: Callable[[], None]) -> int:
    try:
        command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
        loaded()
        _report_unknown_variables(command)
        result: Any = command(*bound.args, **bound.kwargs)
    except CycloptsError as error:
        return _complain(_one_line(error), USAGE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        codes = [EXIT_CODES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in EXIT_CODES]
        if not codes:
            raise
        return _complain(str(error), codes[0])
    return result if isinstance(result, int) else 0


def _report_unknown_variables(command: object) -> None:
    """One line for each variable that looks like a setting and is none, before a command that loads settings."""
    model: Any = getattr(command, "settings_model", None)  # deploy/config/flags.py; None: it loads no settings
    for line in () if model is None else model.unknown_variables():
        report(f"robots: {line}")


def _one_line(error: CycloptsError) -> str:
    error.verbose = False
    if isinstance(error, UnusedCliTokensError):
        left = " ".join(map(repr, error.unused_tokens or ()))
        return f"too many arguments: {left} is not expected; a value with a space in it is written in quotes"
    return " ".join(str(error).split()).removesuffix(".")


def _complain(line: str, code: int) -> int:
    report(f"robots: {line}")
    return code
