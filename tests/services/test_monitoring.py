"""Dashboard and alerts: every metric that they name exists, with the labels that they go by."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.program import running
from tests.fleet.kit import Town

ROOT = Path(__file__).parents[2]
WORDS = re.compile(r"\b(?:trustgate|process)_[a-z0-9_]+")
LABELLED = re.compile(r"by \(([a-z_, ]+)\)|without \(([a-z_, ]+)\)|\{([^}]*)\}")
OF_PROMETHEUS = {"le", "instance", "severity"}


def expressions() -> Iterator[str]:
    board = json.loads((ROOT / "deploy" / "grafana" / "trustgate.json").read_text("utf-8"))
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    rules = yaml.safe_load((ROOT / "deploy" / "alerts.yaml").read_text("utf-8"))
    for group in rules["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What /metrics says of a process with everything in it."""
    variables = {"KAFKA_BROKERS": "127.0.0.1:1", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    with (
        running("run", folder=tmp_path_factory.mktemp("run"), variables=variables) as program,
        program.admin() as admin,
    ):
        town = Town(admin)
        town.gateway.policy("rate_limiter", town.consumer, limit=1, window="1h")
        for _ in range(2):
            town.ask(program)
        return program.get("proxy", "/metrics")[1]


def test_every_metric_that_is_named_is_there(told: str) -> None:
    there = {line.split()[2] for line in told.splitlines() if line.startswith("# TYPE")}
    named: set[str] = set()
    for expression in expressions():
        for word in WORDS.findall(expression):
            named.add(word.removesuffix("_bucket"))
    assert len(named) > 15
    assert named <= there


def test_every_label_that_is_gone_by_is_there(told: str) -> None:
    there = set(re.findall(r'([a-z_]+)="', told)) | {"on_error"}  # of a policy that could not decide
    for expression in expressions():
        for by, without, matched in LABELLED.findall(expression):
            names = re.findall(r"[a-z_]+", by or without) or re.findall(r"([a-z_]+)(?:=|!=|=~)", matched)
            assert set(names) <= there | OF_PROMETHEUS, expression


def test_each_alert_says_what_to_do() -> None:
    rules: Any = yaml.safe_load((ROOT / "deploy" / "alerts.yaml").read_text("utf-8"))
    for rule in rules["groups"][0]["rules"]:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["description"]
