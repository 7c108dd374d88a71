"""The command `robots`: one file per subcommand, and the one place where errors become a line and an exit code.

Exit codes: 0 all promises HELD; 1 something BROKEN; 2 usage; 3 UNPROVEN; 4 environment; 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Final

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from broker.streams.connection import UnsupportedServer
from deploy.commands import deal, faults, ps, relay, run, runs, simulate, stop, supervise, verify, worker
from deploy.commands import inject as inject
from deploy.commands.output import tell
from deploy.config.host import version
from deploy.config.settings import INTERRUPTED
from deploy.errors import EnvironmentFailure, Unrepeatable, UsageError
from telemetry.record.folder import NoSuchRun

USAGE: Final = 2
ENVIRONMENT: Final = 4

app = App(
    name="robots",
    help="A laboratory for gossip, failure and recovery: robots reconstruct a secret, and the lab judges what held.",
    version=version,
    help_format="plaintext",
    help_formatter="plain",
    default_parameter=Parameter(allow_leading_hyphen=True, negative=()),
)
app.command(run.run, help_epilogue=run.EXAMPLES)
app.command(simulate.simulate, help_epilogue=simulate.EXAMPLES)
app.command(verify.verify, help_epilogue=verify.EXAMPLES)
app.command(deal.deal, help_epilogue=deal.EXAMPLES)
app.command(worker.worker, help_epilogue=worker.EXAMPLES)
app.command(supervise.supervise, help_epilogue=supervise.EXAMPLES)
app.command(stop.stop, help_epilogue=stop.EXAMPLES)
app.command(faults.app)
app.command(relay.relay, help_epilogue=relay.EXAMPLES)
app.command(inject.kill, help_epilogue=inject.EXAMPLES)
app.command(inject.pause, help_epilogue=inject.EXAMPLES)
app.command(inject.resume, help_epilogue=inject.EXAMPLES)
app.command(inject.crash, help_epilogue=inject.EXAMPLES)
app.command(runs.runs, help_epilogue=runs.EXAMPLES)
app.command(ps.ps, help_epilogue=ps.EXAMPLES)


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit with its code."""
    sys.exit(_code(sys.argv[1:] if arguments is None else arguments))


def _code(arguments: list[str]) -> int:
    try:
        result = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _complain(_one_line(error), USAGE)
    except (UsageError, NoSuchRun, Unrepeatable) as error:
        return _complain(str(error), USAGE)
    except (EnvironmentFailure, UnsupportedServer) as error:
        return _complain(str(error), ENVIRONMENT)
    except OSError as error:  # a full disk, a folder that vanished
        return _complain(str(error), ENVIRONMENT)
    except KeyboardInterrupt:
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def _one_line(error: CycloptsError) -> str:
    error.verbose = False
    hint = "; a value with a space in it is written in quotes" if isinstance(error, UnusedCliTokensError) else ""
    return " ".join(str(error).split()).removesuffix(".") + hint


def _complain(line: str, code: int) -> int:
    tell(f"robots: {line}")
    return code
