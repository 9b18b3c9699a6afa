"""Alerts and dashboard judge by metrics that exist, and each alert fires on what it is for."""

import json
import re
import subprocess
from pathlib import Path
from typing import get_args

import pytest
import yaml
from headrace_cli.topology import SERVICES
from headrace_native import checkers
from headrace_telemetry import Attribute, MetricName

DEPLOY = Path(__file__).parents[3] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "headrace.json").read_text(encoding="utf-8"))
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}
EXPRESSIONS = {name: rule["expr"] for name, rule in ALERTS.items()} | {
    f"panel {panel['title']}": target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]
}


def prometheus_names(names):
    return {name.replace(".", "_") for name in names}


METRICS = prometheus_names(get_args(MetricName)) | {"up"}  # Prometheus's own: whether a scrape was answered
LABELS = prometheus_names(get_args(Attribute))


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_it_asks_for_metrics_and_labels_of_the_vocabulary(name):
    """A misspelt name would be an alert that never fires, or a panel that stays empty."""
    asked = set(re.findall(r"\b(?:(?:headrace|messaging|gen_ai|rpc)_\w+|up\b)", EXPRESSIONS[name]))
    asked = {re.sub(r"_bucket$", "", one) for one in asked}
    assert asked & METRICS
    assert asked <= METRICS | LABELS


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_the_matter_and_what_to_do(name):
    """Whoever is woken needs both; a runbook that is named is there."""
    annotations = ALERTS[name]["annotations"]
    assert annotations["summary"]
    for document in re.findall(r"docs/\S+\.md", annotations["action"]):
        assert (DEPLOY.parent / document).is_file()


def test_prometheus_takes_the_configuration_and_the_alerts_fire(checker):
    """Promtool accepts the configuration and runs alerts_test.yml: a healthy platform is silent, each fault is told."""
    promtool = checker(checkers.promtool)
    for arguments in (["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run([promtool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_runbook_is_about_alerts_that_exist():
    """Whoever is woken looks for the alert's name."""
    runbooks = (DEPLOY.parent / "docs" / "runbooks").glob("*.md")
    headings = [re.findall(r"^## .*", file.read_text(encoding="utf-8"), re.MULTILINE) for file in runbooks]
    named = set(re.findall(r"`([A-Z]\w+)`", str(headings)))
    assert named
    assert named <= set(ALERTS)


def test_every_service_is_missed():
    """A service whose metrics end, or never begin, is told by its name."""
    asked = re.findall(r'absent\(headrace_subscriber_lag{job="headrace/(\w+)"}\)', EXPRESSIONS["ServiceGone"])
    assert sorted(asked) == sorted(spec.name for spec in SERVICES)


def test_every_alert_is_tested():
    """No alert without a case in which it fires."""
    tested = (PROMETHEUS / "alerts_test.yml").read_text(encoding="utf-8")
    assert [name for name in ALERTS if name not in tested] == []


def test_the_dashboard_shows_what_matters():
    """Lag, outcomes, cost, latency p50 and p99, dead letters and the outbox are on one page."""
    shown = " ".join(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])
    for part in ("headrace_subscriber_lag", "headrace_outcomes", "headrace_cost", "headrace_dead_letters",
                 "headrace_outbox_pending", "histogram_quantile(0.5", "histogram_quantile(0.99"):  # fmt: skip
        assert part in shown
