"""`python -m deploy` is the command `robots`, for where no script is installed."""

from __future__ import annotations

from deploy.entry import main

main()
