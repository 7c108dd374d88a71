"""The scrape, the rules and their tests in deploy/prometheus: Prometheus takes them, and the lab has what they read."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml

from deploy.config.settings import LabSettings
from telemetry.anomalies.thresholds import DEFAULTS
from telemetry.events import ExchangeEnded
from tests.deploy.manifests.promql import SERIES, faults_of, metrics_in
from tests.support.checkout import ROOT

PROMETHEUS = ROOT / "deploy/prometheus"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no `promtool` on PATH: the rules are only read here")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def promtool(*arguments: str, folder: Path = PROMETHEUS) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    command = [PROMTOOL, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50, check=False)


@needs_promtool
def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    done = promtool("check", "config", "prometheus.yml")

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules())} rules found" in done.stdout


@needs_promtool
def test_each_alert_fires_where_it_should_and_nowhere_else() -> None:
    done = promtool("test", "rules", "rules_test.yml")

    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("alert", [rule["alert"] for rule in rules()])
def test_an_alert_that_never_fires_fails_its_test(alert: str, tmp_path: Path) -> None:
    # Given rules of which one can never fire
    for name in ("rules.yml", "rules_test.yml"):
        shutil.copy(PROMETHEUS / name, tmp_path)
    changed = yaml.safe_load((tmp_path / "rules.yml").read_text())
    [rule] = [rule for group in changed["groups"] for rule in group["rules"] if rule["alert"] == alert]
    rule["expr"] = "vector(0) > 1"
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(changed))
    # Then their tests notice
    done = promtool("test", "rules", "rules_test.yml", folder=tmp_path)
    assert done.returncode == 1
    assert alert in done.stdout + done.stderr


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_reads_what_the_lab_has(rule: dict[str, Any]) -> None:
    assert metrics_in(rule["expr"])
    assert faults_of(rule["expr"]) == []
    # And what it tells a person names labels that are left in its result
    labels = re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values()))
    left = {label.strip() for text in re.findall(r"\bby *\(([^)]*)\)", rule["expr"]) for label in text.split(",")}
    assert set(labels) <= left - {"le"}
    assert rule["labels"]["severity"] in ("warning", "info")


def test_the_tests_of_the_rules_feed_what_the_lab_has() -> None:
    for case in yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]:
        for given in case["input_series"]:
            assert faults_of(given["series"]) == [], case["name"]


def test_a_query_for_what_is_not_there_is_noticed() -> None:
    faults = faults_of(
        'sum by (gossip_robot) (rate(gossip_relay_messages_total{gossip_outcome="lost"}[1m])) / gossip_no'
    )

    assert faults == [
        "gossip_relay_messages_total has no label gossip_outcome",
        "gossip_no is no metric of the lab",
        "none of gossip_relay_messages_total has a label gossip_robot",
    ]


def test_outcomes_and_lag_are_the_labs_own() -> None:
    text = (PROMETHEUS / "rules.yml").read_text()
    # Given the outcomes that are named, and the lag from which a relay is late
    outcomes = set(re.findall(r'gossip_outcome="([^"]*)"', text))
    [lag] = re.findall(r"gossip_relay_lag_seconds_bucket\S+ > (\S+)", text)
    # Then an exchange can end so, and the leader's own rule has that lag
    assert outcomes <= set(get_args(get_type_hints(ExchangeEnded)["outcome"]))
    assert float(lag) == DEFAULTS.lag_ticks * LabSettings.model_fields["tick"].default / 1e6


def test_the_run_is_scraped_often_where_its_metrics_are() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())

    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert config["rule_files"] == ["rules.yml"]
    assert jobs["robots-lab"]["static_configs"] == [{"targets": ["metrics:9464"]}]
    assert jobs["robots-lab"]["scrape_interval"] == "1s"
    assert len(SERIES) > 20
