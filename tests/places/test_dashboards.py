"""The dashboards: generated and committed alike, and by the rules of the dashboard linter, which cannot be had here."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.places import built
from tests.support.readme import own_families

promql = pytest.importorskip("promql_parser", reason="needs: pip install promql-parser")
pytest.importorskip("grafana_foundation_sdk", reason="needs: pip install grafana-foundation-sdk")

CONTAINER = built.ROOT / "container"
NAMES = ["agent", "fleet"]


def dashboard(name: str) -> dict[str, Any]:
    """One dashboard as it is committed."""
    found: dict[str, Any] = json.loads((CONTAINER / f"grafana/dashboards/{name}.json").read_text())
    return found


def panels(name: str) -> Iterator[dict[str, Any]]:
    """Every panel with data."""
    for panel in dashboard(name)["panels"]:
        yield from panel["panels"] if panel.get("panels") else []
        if panel["type"] != "row":
            yield panel


def expressions(name: str) -> list[str]:
    """Every query of a dashboard, with its variables replaced as Grafana does."""
    found = [target["expr"] for panel in panels(name) for target in panel["targets"]]
    return [text.replace("$__rate_interval", "4m").replace("$instance", "a:9464") for text in found]


def rules() -> list[str]:
    """Every expression of the alerts and recorded series."""
    import yaml

    files = [CONTAINER / f"prometheus/{name}.yaml" for name in ("alerts", "recorded")]
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def known() -> set[str]:
    """Every series there is: the agent's own, those of its process, the machine's, and the recorded ones."""
    names = {f"{family.name}{end}" for family in own_families() for end in ("", "_bucket", "_count", "_sum")}
    recorded = re.findall(r"record: (\S+)", (CONTAINER / "prometheus/recorded.yaml").read_text())
    return names | {"up", "process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes",
                    "ALERTS", *recorded}  # fmt: skip


def used(expression: str) -> set[str]:
    """The names of the series in an expression."""
    found: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, promql.VectorSelector):
            found.add(node.name)
        for part in ("expr", "lhs", "rhs", "vector_selector", "param"):
            child = getattr(node, part, None)
            if child is not None:
                walk(child)
        for child in getattr(node, "args", None) or ():
            walk(child)

    walk(promql.parse(expression))
    return found


def test_what_is_generated_is_committed() -> None:
    """`python container/render.py` changes nothing."""
    made = runpy.run_path(str(CONTAINER / "render.py"))["rendered"]()

    assert {path: (CONTAINER / path).read_text() for path in made} == made
    assert {f"grafana/dashboards/{name}.json" for name in NAMES} < set(made)


def test_the_operators_rule_is_the_mixins() -> None:
    """The PrometheusRule holds the very groups of the rule files."""
    import yaml

    files = [CONTAINER / f"prometheus/{name}.yaml" for name in ("alerts", "recorded")]
    expected = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]

    rule = yaml.safe_load((CONTAINER / "kubernetes/monitoring/prometheusrule.yaml").read_text())

    assert expected == rule["spec"]["groups"]


@pytest.mark.parametrize("expression", [*expressions("agent"), *expressions("fleet"), *rules()])
def test_every_query_parses_and_names_series_that_exist(expression: str) -> None:
    """No panel and no rule asks for a series that no agent has."""
    names = used(expression)

    assert names
    assert set() == names - known()


def test_a_missing_series_would_be_noticed() -> None:
    """The check above looks into every corner of an expression."""
    text = 'sum(rate(a_total{x="y"}[5m])) / on() (histogram_quantile(0.9, b_bucket) or predict_linear(c[1h], 5)) > -d'

    assert {"a_total", "b_bucket", "c", "d"} == used(text)


@pytest.mark.parametrize("name", NAMES)
def test_the_variables_are_there(name: str) -> None:
    """The data source and the instances are chosen above the dashboard, which nobody edits by accident."""
    made = dashboard(name)

    variables = {variable["name"]: variable["type"] for variable in made["templating"]["list"]}
    assert {"datasource": "datasource", "instance": "query"} == variables
    assert made["editable"] is False


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_explains_itself(name: str) -> None:
    """Title, description, unit and data source; no two panels of a row are called alike."""
    for panel in panels(name):
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert "${datasource}" == panel["datasource"]["uid"]
        assert all(target["legendFormat"] for target in panel["targets"])


@pytest.mark.parametrize("name", NAMES)
def test_every_query_selects_by_job_and_instance(name: str) -> None:
    """Each selector names job and instance; each rate of a counter looks over Grafana's own interval."""
    for panel in panels(name):
        for target in panel["targets"]:
            selectors = re.findall(r"\{([^}]*)\}", target["expr"])
            assert selectors
            for selector in selectors:
                assert selector.startswith('job="telemetry-agent",instance=~"$instance"')
            assert set(re.findall(r"rate\([^\[]*\[([^\]]+)\]", target["expr"])) <= {"$__rate_interval"}


@pytest.mark.parametrize("name", NAMES)
def test_counters_are_shown_as_rates(name: str) -> None:
    """A counter's value means nothing by itself."""
    for expression in expressions(name):
        for counter in re.findall(r"(.{0,9})\b\w+_total\{", expression):
            assert re.search(r"(rate|increase)\($", counter), expression


@pytest.mark.parametrize("name", NAMES)
def test_panels_do_not_overlap(name: str) -> None:
    """Each panel has its place, within the 24 columns of the grid."""
    taken: set[tuple[int, int]] = set()
    for panel in dashboard(name)["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
