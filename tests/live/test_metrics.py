"""The metrics of live runs: scraped over HTTP while a run goes on, by a test and by a real Prometheus."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from broker.streams.embedded import EmbeddedServer
from telemetry.tracing.ids import exchange_trace_id
from tests.support.live_place import END_S, LIVE, UNTIL_STOPPED, Place
from tests.support.waiting import await_true

pytestmark = LIVE
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PROMETHEUS = shutil.which("prometheus")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def get(url: str, accept: str = "*/*") -> tuple[str, str]:
    """Content and type of what is there; empty while nothing is."""
    request = urllib.request.Request(url, headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=END_S) as response:
            return response.read().decode(), response.headers["content-type"]
    except (urllib.error.URLError, ConnectionError):
        return "", ""


def having(url: str, text: str, accept: str = "*/*") -> tuple[str, str] | None:
    """Content and type of what is there, once it holds that text."""
    got = get(url, accept)
    return got if text in got[0] else None


def totals(families: Any, name: str, label: str) -> dict[str, float]:
    """The values of a metric in an exposition, summed up by one label."""
    found: dict[str, float] = {}
    for family in families:
        for sample in family.samples:
            if sample.name == name:
                found[sample.labels[label]] = found.get(sample.labels[label], 0) + sample.value
    return found


def fates_in_record(place: Place) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in (place.folder / "runs/latest/fates.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["row"] == "fate":
            found[row["fate"]] = found.get(row["fate"], 0) + 1
    return found


def test_a_run_is_scraped_while_it_goes_on_and_until_it_is_over(place: Place) -> None:
    # Given a reader that waits for a run, and a run
    port = free_port()
    reader = place.start("metrics", "--port", str(port), "--wait")
    lab = place.start("run", "--json", "-n", "3", "--seed", "3", *UNTIL_STOPPED)
    url = f"http://127.0.0.1:{port}/metrics"

    # When it is scraped in both formats, once something was relayed
    text, kind = await_true(lambda: having(url, "gossip_relay_messages_total"))
    openmetrics, other_kind = await_true(lambda: having(url, "# {", OPENMETRICS))
    # Then each is what Prometheus' own parser reads, of the content type that was asked for
    assert kind.startswith("text/plain; version=0.0.4")
    assert other_kind.startswith(OPENMETRICS)
    earlier = totals(text_families(text), "gossip_relay_messages_total", "gossip_fate")
    later = totals(openmetrics_families(openmetrics), "gossip_relay_messages_total", "gossip_fate")
    assert 0 < sum(earlier.values()) <= sum(later.values())

    # And the reader ends with the run, without a trace of trouble in it
    _, result, _ = place.stop(lab)
    out, err = reader.communicate(timeout=END_S)
    assert (result["verdict"], reader.returncode, out) == ("HELD", 0, b"")
    assert err.decode().splitlines()[-2:] == [f"run {result['run']}: metrics at {url}", f"run {result['run']} is over"]
    recorded = fates_in_record(place)
    assert all(later[fate] <= recorded[fate] for fate in later)
    assert place.is_clean()


@pytest.mark.long
def test_one_reader_serves_the_runs_of_a_server_one_after_the_other(place: Place, server: EmbeddedServer) -> None:
    # Given a reader that stays, and a server without a run
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    reader = place.start("metrics", "--port", str(port), "--stay", "--redis-url", server.url)
    for _ in range(2):
        # When a run is dealt there
        out, _ = place.start("deal", "--json", "-n", "2", "--redis-url", server.url).communicate(timeout=END_S)
        run = json.loads(out)["run"]
        # Then its metrics are served until it is stopped
        await_true(lambda run=run: f'gossip_run="{run}"' in get(url)[0])
        place.start("stop", run, "--redis-url", server.url).communicate(timeout=END_S)
        await_true(lambda: not get(url)[0])
    # And the reader ends when it is asked to
    reader.send_signal(signal.SIGTERM)
    assert (reader.communicate(timeout=END_S)[0], reader.returncode) == (b"", 0)


def test_a_port_that_is_taken_is_one_line_and_ctrl_c_ends_in_order(place: Place) -> None:
    # Given a simulated run whose metrics are served
    place.start("simulate", "-n", "3", "--seed", "3").communicate(timeout=END_S)
    port = free_port()
    first = place.start("metrics", "--port", str(port))
    await_true(lambda: get(f"http://127.0.0.1:{port}/metrics")[0])

    # When another one is to be served at the same port
    second = place.start("metrics", "--port", str(port))
    out, err = second.communicate(timeout=END_S)

    # Then it says so, and the first goes on until it is interrupted
    complaint = f"robots: --port: 127.0.0.1:{port}: Address already in use\n"
    assert (second.returncode, out, err.decode()) == (4, b"", complaint)
    assert get(f"http://127.0.0.1:{port}/metrics")[0]
    first.send_signal(signal.SIGINT)
    out, err = first.communicate(timeout=END_S)
    assert (first.returncode, out, err.count(b"\n")) == (0, b"", 1)


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """The URL of a Prometheus, and the port that it scrapes every 200 ms."""
    target, port = free_port(), free_port()
    config = {
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
        "scrape_configs": [{"job_name": "robots-lab", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    assert PROMETHEUS is not None
    command = [
        PROMETHEUS,
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    ]
    with (tmp_path / "prometheus.log").open("wb") as log:
        server = subprocess.Popen(command, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        await_true(lambda: get(f"{url}/-/ready")[0], what="Prometheus' start")
        yield url, target
    finally:
        server.terminate()
        server.wait(timeout=END_S)


def ask(url: str, api: str, **parameters: str) -> list[dict[str, Any]]:
    """The data of an answer of Prometheus' API."""
    answer = json.loads(get(f"{url}/api/v1/{api}?{urllib.parse.urlencode(parameters)}")[0])
    assert answer["status"] == "success", answer
    data = answer["data"]
    return list(data["result"] if isinstance(data, dict) else data)


@pytest.mark.prometheus
@pytest.mark.skipif(PROMETHEUS is None, reason="no `prometheus` on PATH: this test has a real one scrape a run")
def test_a_real_prometheus_scrapes_a_run_and_its_exemplars(
    place: Place, prometheus: tuple[str, int], tmp_path: Path
) -> None:
    # Given a Prometheus, a reader that it scrapes, and a live run
    url, target = prometheus
    place.start("metrics", "--port", str(target), "--wait")
    lab = place.start("run", "--json", "-n", "4", "--seed", "3", *UNTIL_STOPPED)

    # When it has scraped the run while it goes on
    fates = "sum by (gossip_fate) (gossip_relay_messages_total)"
    live = await_true(lambda: ask(url, "query", query=fates), what="a scrape of the live run")
    _, result, _ = place.stop(lab)

    # And then the record of the same run
    place.start("metrics", "latest", "--port", str(target))
    recorded = {fate: str(count) for fate, count in fates_in_record(place).items()}

    def scraped() -> dict[str, str]:
        return {row["metric"]["gossip_fate"]: row["value"][1] for row in ask(url, "query", query=fates)}

    # Then its sums are the record's counts
    assert all(float(row["value"][1]) <= float(recorded[row["metric"]["gossip_fate"]]) for row in live)
    await_true(lambda: scraped() == recorded, what="a scrape of the record")
    [info] = ask(url, "query", query="target_info")
    assert info["metric"]["gossip_run"] == result["run"]

    # And its exemplars name traces of the run's own exchanges
    window = {"start": str(lab_start(place)), "end": str(lab_start(place) + 120)}
    query = "gossip_exchange_duration_seconds_bucket"
    kept = ask(url, "query_exemplars", query=query, **window)
    exemplars = [one for series in kept for one in series["exemplars"]]
    ended = {row["event"]["exchange"] for row in place.events() if row["event"]["name"] == "exchange.ended"}
    traces = {f"{exchange_trace_id(result['run'], 3, exchange):032x}" for exchange in ended}
    assert exemplars
    assert {one["labels"]["trace_id"] for one in exemplars} <= traces
    # And Prometheus has nothing to complain about
    assert "out of order" not in (tmp_path / "prometheus.log").read_text()


def lab_start(place: Place) -> float:
    """When the run was dealt, in seconds since 1970."""
    return float(place.events()[0]["wall_us"]) / 1e6 - 1
