"""Traces in files: an exporter of the SDK that writes one OTLP/JSON request a line, as Jaeger's upload takes them.

Which traces are written is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from telemetry.otlp.json_encoder import encode_request

RUN_FILE: Final = "run.jsonl"
EXCHANGES_FILE: Final = "exchanges.jsonl"


class FileExporter(SpanExporter):
    """Writes each batch as a line of the file at `path`, which appears whole at the end of the block, or not at all."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._path = path
        self._draft = path.with_name(f".{path.name}.draft")
        self._file = self._draft.open("wb", buffering=1 << 18)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Raises OSError."""
        if spans:
            self._file.write(encode_request(spans) + b"\n")
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Put the file into its place. Raises OSError."""
        self._file.close()
        self._draft.replace(self._path)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        """Hand what is buffered to the operating system. Raises OSError."""
        self._file.flush()
        return True

    def __enter__(self) -> FileExporter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.shutdown()
            return
        self._file.close()
        self._draft.unlink(missing_ok=True)
