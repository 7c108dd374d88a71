"""What a manifest or a unit asks of the lab: its commands, and its settings as variables. No tests here."""

from __future__ import annotations

from collections.abc import Iterable

from deploy.commands import app
from deploy.config import settings
from deploy.config.flags import name_of

VARIABLES = {
    f"ROBOTS_{name_of(field).upper()}"
    for model in vars(settings).values()
    if isinstance(model, type) and issubclass(model, settings.PlaceSettings)
    for field in model.model_fields
}
"""Every variable that sets an option of some command."""


def demand_command(arguments: Iterable[str]) -> None:
    """Raises cyclopts' errors unless the command line `robots ARGUMENTS` is understood."""
    app.parse_args(list(arguments), exit_on_error=False, print_error=False)


def unknown_variables(names: Iterable[str]) -> list[str]:
    """Those that look like settings of the lab and set nothing."""
    return sorted(name for name in names if name.startswith("ROBOTS_") and name not in VARIABLES)
