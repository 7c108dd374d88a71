"""Another terminal of a person who runs the lab: what a command leaves behind. No tests here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.commands import main


class Output:
    """What a command left behind: exit code, standard output, standard error."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def complaint(self) -> str:
        """The one line on standard error; nothing else was printed."""
        assert (self.out, self.err.count("\n")) == ("", 1), (self.out, self.err)
        return self.err

    @property
    def row(self) -> Any:
        assert (self.code, self.err, self.out.count("\n")) == (0, "", 1), (self.out, self.err)
        return json.loads(self.out)


class Terminal:
    """Another terminal of the same person."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def faults(self, *arguments: str) -> Output:
        return self.do("faults", *arguments)

    def do(self, *arguments: str) -> Output:
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        printed = self._capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Output(ended.value.code, printed.out, printed.err)
