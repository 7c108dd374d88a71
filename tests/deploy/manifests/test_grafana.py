"""What Grafana is given in deploy/grafana: data sources, and a dashboard that asks for what the lab has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from telemetry.metrics.prometheus import prometheus_family
from telemetry.metrics.table import METRICS
from telemetry.metrics.values import Distribution, Exemplar, Family
from tests.deploy.manifests.promql import SERIES, faults_of, metrics_in
from tests.support.checkout import ROOT

GRAFANA = ROOT / "deploy/grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards/robots.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SOURCES = {
    source["uid"]: source
    for source in yaml.safe_load((GRAFANA / "provisioning/datasources/robots.yaml").read_text())["datasources"]
}
PROMTOOL = shutil.which("promtool")
WIDTH = 24  # of Grafana's grid


def queries() -> list[str]:
    return [target["expr"] for panel in PANELS for target in panel["targets"]]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_the_lab_has_and_has_a_description(panel: dict[str, Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["targets"]
    for target in panel["targets"]:
        assert metrics_in(target["expr"]), target["expr"]
        assert faults_of(target["expr"]) == []
        legend = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
        assert all(label in SERIES[name] for name in metrics_in(target["expr"]) for label in legend)
    assert len(panel["description"]) > 20
    assert defaults["unit"]
    assert defaults["thresholds"]["steps"][0]["value"] is None


def test_all_metrics_of_a_run_are_shown() -> None:
    shown = {name for query in queries() for name in metrics_in(query)}

    missing = {name for name in SERIES if not name.endswith(("_sum", "_count", "_bucket"))} - shown
    assert missing <= {"target_info"}
    assert {name.removesuffix("_bucket") for name in SERIES if name.endswith("_bucket")} <= {
        re.sub("_(bucket|count)$", "", name) for name in shown
    }


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] >= 0 < place["w"]
        assert place["x"] + place["w"] <= WIDTH, panel["title"]
    for one, other in combinations(panels, 2):
        a, b = one["gridPos"], other["gridPos"]
        side_by_side = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert side_by_side or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"], (one["title"], other["title"])


def test_every_data_source_that_is_named_is_provisioned() -> None:
    named = re.findall(r'"uid": "([^"]+)"', json.dumps(DASHBOARD))

    assert set(named) - {DASHBOARD["uid"]} == {"prometheus"}
    assert SOURCES.keys() == {"prometheus", "jaeger"}
    assert SOURCES["prometheus"]["url"] == "http://prometheus:9090"
    assert SOURCES["jaeger"]["url"] == "http://jaeger:16686"


def test_an_exemplar_leads_to_the_trace_of_its_exchange() -> None:
    # Given the labels that the lab gives to an exemplar
    [metric] = [metric for metric in METRICS if metric.name == "gossip.exchange.duration"]
    counts = (1, *(0 for _ in range(15)))
    exemplars = (Exemplar(1, 2, 0.1, 3), *(None for _ in range(15)))
    family = prometheus_family(Family(metric, distributions=(Distribution((), counts, 0.1, 0.1, 0.1, exemplars),)))
    given = next(sample.exemplar.labels for sample in family.samples if sample.exemplar)
    # Then the data source links the trace's id to Jaeger, and a panel of that metric shows them
    [link] = SOURCES["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert link["name"] in given
    assert link["datasourceUid"] == "jaeger"
    shown = [target["expr"] for panel in PANELS for target in panel["targets"] if target["exemplar"]]
    assert shown
    assert all("gossip_exchange_duration_seconds_bucket" in expr for expr in shown)


def test_every_variable_that_is_used_is_defined_by_a_query_of_the_labs_labels() -> None:
    defined = {variable["name"]: variable["definition"] for variable in DASHBOARD["templating"]["list"]}
    used = {name for query in queries() for name in re.findall(r"\$(\w+)", query) if not name.startswith("__")}

    assert used == defined.keys()
    assert [faults_of(query) for query in defined.values()] == [[], []]


def test_the_dashboard_is_found_where_it_is_mounted_and_cannot_be_changed_by_hand() -> None:
    [provider] = yaml.safe_load((GRAFANA / "provisioning/dashboards/robots.yaml").read_text())["providers"]
    pods = (ROOT / "deploy/k8s/components/observability/grafana.yaml").read_text()

    assert f"mountPath: {provider['options']['path']}," in pods
    assert (
        f"{provider['options']['path']}/robots.json"
        in (ROOT / "deploy/k8s/components/observability/kustomization.yaml").read_text()
    )
    assert (provider["allowUiUpdates"], DASHBOARD["editable"]) == (False, False)


@pytest.mark.skipif(PROMTOOL is None, reason="no `promtool` on PATH: the queries are only read here")
def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    # Given all queries as rules, as Grafana fills in its variables
    asked = [
        query.replace("$__rate_interval", "4s").replace("$robot", ".*").replace("$relay", ".*") for query in queries()
    ]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(asked)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    # Then its own tool takes them
    command = [str(PROMTOOL), "check", "rules", "rules.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(asked)} rules found" in done.stdout
