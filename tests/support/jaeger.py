"""A real Jaeger with its store in memory, on loopback ports of its own, and its HTTP API. No tests here.

How to build it (version 1.76.0 of the module is version 2 of the program, without the pages of its UI):
`go mod init scratch && go get -tool github.com/jaegertracing/jaeger/cmd/jaeger@v1.76.0`, then
`go build -o ~/bin/jaeger github.com/jaegertracing/jaeger/cmd/jaeger`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.waiting import await_true

PROGRAM = shutil.which("jaeger")
MAX_TRACES = 20_000
FOREVER = {"start": "0", "end": "4102444800000000"}  # microseconds: 1970 to 2100

# A port 0 is one that the kernel chooses; the log tells which.
CONFIG = f"""
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp], processors: [batch], exporters: [jaeger_storage_exporter]}}
  telemetry:
    resource: {{service.name: jaeger}}
    metrics: {{level: none}}
    logs: {{level: info, encoding: json}}
extensions:
  jaeger_query:
    storage: {{traces: in_memory}}
    enable_tracing: false
    http: {{endpoint: "127.0.0.1:0"}}
    grpc: {{endpoint: "127.0.0.1:0"}}
  jaeger_storage:
    backends: {{in_memory: {{memory: {{max_traces: {MAX_TRACES}}}}}}}
receivers:
  otlp:
    protocols: {{http: {{endpoint: "127.0.0.1:0"}}}}
processors: {{batch: {{}}}}
exporters:
  jaeger_storage_exporter: {{trace_storage: in_memory}}
"""

Json = dict[str, Any]


class Jaeger:
    """A Jaeger that runs as long as the `with` block. `otlp` takes traces, `api` answers questions: both are URLs."""

    def __init__(self, folder: Path) -> None:
        self._config = folder / "jaeger.yaml"
        self._log = folder / "jaeger.log"
        self.otlp = ""
        self.api = ""

    def __enter__(self) -> Jaeger:
        assert PROGRAM is not None
        self._config.write_text(CONFIG)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "--config", str(self._config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self.otlp = "http://" + self._address("Starting HTTP server", "endpoint")
            self.api = "http://" + self._address("Query server started", "http_addr")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _address(self, message: str, field: str) -> str:
        return await_true(lambda: self._logged(message, field), seconds=30, what=f"Jaeger's {message!r}")

    def _logged(self, message: str, field: str) -> str:
        text = self._log.read_text(errors="replace")
        assert self._process.poll() is None, text[-4000:]
        found = re.search(rf'"msg":"{message}".*"{field}":"(127\.0\.0\.1:\d+)"', text)
        return found[1] if found else ""

    def complaints(self) -> list[str]:
        """What Jaeger logged as a warning or an error while it took in traces and answered."""
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.startswith("{")]
        rows = [json.loads(line) for line in lines]
        return [row["msg"] for row in rows if row["level"] not in ("debug", "info") and "ui assets" not in row["msg"]]

    def ask(self, path: str, **parameters: str) -> Json:
        """The answer to GET `path`."""
        query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
        return self._answer(urllib.request.Request(self.api + path + query))

    def transform(self, body: bytes) -> Json:
        """What the page for uploads makes of a file: it posts the file's lines, merged into one object."""
        return self._answer(urllib.request.Request(self.api + "/api/transform", body, method="POST"))

    @staticmethod
    def _answer(request: urllib.request.Request) -> Json:
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                answer: Json = json.load(response)
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{request.full_url}: {refused.code} {refused.read().decode()}") from refused
        assert not answer.get("errors"), answer["errors"]
        return answer

    def services(self) -> set[str]:
        return set(self.ask("/api/v3/services").get("services", []))

    def operations(self, service: str) -> set[tuple[str, str]]:
        """The operations of a service: name and kind."""
        answer = self.ask("/api/v3/operations", service=service)
        return {(operation["name"], operation.get("spanKind", "")) for operation in answer.get("operations", [])}

    def search(self, service: str, operation: str = "", **tags: str) -> list[ShownTrace]:
        """The traces that the search page finds: one span of each has this service, this operation and all these
        tags; `__` in a name stands for a dot."""
        named = {name.replace("__", "."): text for name, text in tags.items()}
        parameters = {"service": service, "limit": str(MAX_TRACES), "tags": json.dumps(named), **FOREVER}
        if operation:
            parameters["operation"] = operation
        return [ShownTrace(trace) for trace in self.ask("/api/traces", **parameters)["data"]]

    def trace(self, trace_id: str) -> ShownTrace:
        """The trace as its own page shows it."""
        [trace] = self.ask(f"/api/traces/{trace_id}")["data"]
        return ShownTrace(trace)

    def stored(self) -> int:
        """How many spans there are, those that came twice counted twice."""
        parameters = {"limit": str(MAX_TRACES), "raw": "true", **FOREVER}
        answers = (self.ask("/api/traces", service=service, **parameters) for service in self.services())
        counts = {trace["traceID"]: len(trace["spans"]) for answer in answers for trace in answer["data"]}
        return sum(counts.values())

    def edges(self) -> set[tuple[str, str]]:
        """System Architecture: who calls whom."""
        answer = self.ask("/api/dependencies", endTs=str(4102444800000), lookback=str(4102444800000 - 1))
        return {(link["parent"], link["child"]) for link in answer["data"]}


class ShownSpan:
    """A span as Jaeger's API shows it. Times are microseconds since 1970."""

    def __init__(self, span: Json, process: Json) -> None:
        self.id: str = span["spanID"]
        self.name: str = span["operationName"]
        self.start: int = span["startTime"]
        self.end: int = span["startTime"] + span["duration"]
        self.service: str = process["serviceName"]
        self.tags: Json = {tag["key"]: tag["value"] for tag in span["tags"]}
        self.resource: Json = {tag["key"]: tag["value"] for tag in process.get("tags", [])}
        self.warnings: list[str] = span.get("warnings") or []
        self.logs: list[Json] = span.get("logs") or []
        same = [ref["spanID"] for ref in span["references"] if ref["traceID"] == span["traceID"]]
        self.links: list[str] = [ref["traceID"] for ref in span["references"] if ref["traceID"] != span["traceID"]]
        assert len(same) <= 1, f"more than one reference into its own trace: {span}"
        self.parent: str | None = same[0] if same else None

    def __repr__(self) -> str:
        return f"{self.service} {self.name} {self.tags}"


class ShownTrace:
    """A trace as Jaeger's API shows it."""

    def __init__(self, trace: Json) -> None:
        self.id: str = trace["traceID"]
        self.spans = [ShownSpan(span, trace["processes"][span["processID"]]) for span in trace["spans"]]
        self.roots = [span for span in self.spans if span.parent is None]
        self.warnings = [*(trace.get("warnings") or []), *(text for span in self.spans for text in span.warnings)]

    @property
    def root(self) -> ShownSpan:
        [root] = self.roots
        return root

    def orphans(self) -> list[ShownSpan]:
        """Spans whose parent is not in the trace."""
        known = {span.id for span in self.spans}
        return [span for span in self.spans if span.parent is not None and span.parent not in known]

    def early(self) -> list[ShownSpan]:
        """Spans that begin before their parent, or end before they begin."""
        begins = {span.id: span.start for span in self.spans}
        return [
            span for span in self.spans if span.start < begins.get(span.parent or span.id, 0) or span.end < span.start
        ]

    def named(self, name: str) -> list[ShownSpan]:
        return [span for span in self.spans if span.name == name]

    def children(self, span: ShownSpan) -> list[ShownSpan]:
        return [other for other in self.spans if other.parent == span.id]

    def drawn(self) -> str:
        """The trace as text: a line a span, below its parent, in milliseconds from the root's beginning."""
        lines = [f"trace {self.id}"]
        zero = min(span.start for span in self.spans)

        def draw(span: ShownSpan, depth: int) -> None:
            after, took = (span.start - zero) / 1000, (span.end - span.start) / 1000
            tags = {
                key: value for key, value in span.tags.items() if key.startswith(("gossip", "error", "otel.status"))
            }
            links = f" links {len(span.links)}" if span.links else ""
            logs = "".join(f" @{log['fields'][0]['value']}" for log in span.logs)
            lines.append(f"{span.service:10}{'  ' * depth + span.name:28}{after:9.1f}{took:9.1f}  {tags}{links}{logs}")
            for child in sorted(self.children(span), key=lambda child: child.start):
                draw(child, depth + 1)

        for root in [*self.roots, *self.orphans()]:
            draw(root, 0)
        return "\n".join(lines)
