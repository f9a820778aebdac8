"""The monitoring files are those of the table of metrics, and their readers take them."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from google.cloud.monitoring_dashboard_v1.types import Dashboard
from google.protobuf import json_format

from transforms.metric_names import DEAD_PREFIX, METRICS

FOLDER = Path(__file__).parents[2] / "deploy" / "monitoring"
FIGURES = ("MEAN", "MAX", "COUNT")


def _generated() -> dict[Path, str]:
    spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    files: dict[Path, str] = module.generated()
    return files


def _values(found: Any, key: str) -> list[Any]:
    """All values of a key, wherever in a JSON document it stands."""
    if isinstance(found, dict):
        return [value for name, value in found.items() if name == key] + _values(list(found.values()), key)
    return [value for item in found for value in _values(item, key)] if isinstance(found, list) else []


@pytest.fixture(scope="module")
def dashboard() -> Any:
    return json.loads((FOLDER / "dashboard.json").read_text())


@pytest.fixture(scope="module")
def grafana() -> Any:
    return json.loads((FOLDER / "grafana.json").read_text())


@pytest.mark.parametrize("name", ["README.md", "dashboard.json", "grafana.json"])
def test_the_file_is_that_of_the_table(name: str) -> None:
    path = FOLDER / name
    assert path.read_text() == _generated()[path], "run: .venv/bin/python deploy/monitoring/generate.py"


def test_cloud_monitoring_takes_the_dashboard_and_no_other(dashboard: Any) -> None:
    json_format.ParseDict(dashboard, Dashboard.pb(Dashboard()))
    damaged = json.loads(json.dumps(dashboard).replace("perSeriesAligner", "perSeriesAlinger", 1))
    with pytest.raises(json_format.ParseError, match="perSeriesAlinger"):
        json_format.ParseDict(damaged, Dashboard.pb(Dashboard()))
    damaged = json.loads(json.dumps(dashboard).replace("ALIGN_MAX", "ALIGN_MAXIMUM", 1))
    with pytest.raises(json_format.ParseError, match="ALIGN_MAXIMUM"):
        json_format.ParseDict(damaged, Dashboard.pb(Dashboard()))


def test_the_tiles_of_the_dashboard_do_not_overlap(dashboard: Any) -> None:
    covered = [
        (x, y)
        for tile in dashboard["mosaicLayout"]["tiles"]
        for x in range(tile["xPos"], tile["xPos"] + tile["width"])
        for y in range(tile["yPos"], tile["yPos"] + tile["height"])
    ]
    assert len(covered) == len(set(covered))
    assert max(x for x, _ in covered) < dashboard["mosaicLayout"]["columns"]


def test_every_metric_is_in_a_chart_and_every_chart_shows_metrics_of_the_table(dashboard: Any) -> None:
    filters = " ".join(_values(dashboard, "filter") + _values(dashboard, "prometheusQuery"))
    shown = set(re.findall(r'one_of\(([^)]*)\)|"metric_name"="(\w+)"', filters))
    names = {name.strip('"') for group, name in shown for name in (*group.split(","), name) if name}
    kinds = {metric.name: metric.kind for metric in METRICS}
    expected = {name for name, kind in kinds.items() if kind == "counter"}
    expected |= {f"{name}_{figure}" for name, kind in kinds.items() if kind == "distribution" for figure in FIGURES}
    assert names == expected - {"batch_patches_MAX", "batch_patches_COUNT"}


def test_grafana_shows_every_counter(grafana: Any) -> None:
    shown = _values(grafana["panels"], "expr")
    prefix = "flink_taskmanager_job_task_operator_yamnet_beam_"
    counters = [metric.name for metric in METRICS if metric.kind == "counter"]
    assert sorted(shown) == sorted(f'sum({prefix}{name}{{job_name=~"$job_name"}})' for name in counters)


def test_every_query_is_promql(dashboard: Any, grafana: Any) -> None:
    queries = _values(dashboard, "prometheusQuery") + _values(grafana, "expr")
    assert len(queries) > 20
    for query in queries:
        promql_parser.parse(query)
    with pytest.raises(ValueError, match="unclosed"):
        promql_parser.parse(queries[0].replace(")", "", 1))


def test_the_table_has_every_code_of_a_letter_and_no_name_twice() -> None:
    from transforms import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ClipError)]
    names = [metric.name for metric in METRICS]
    assert {f"{DEAD_PREFIX}{kind.code}" for kind in kinds} == {name for name in names if name.startswith(DEAD_PREFIX)}
    assert len(names) == len(set(names))
    assert all(re.fullmatch("[a-z][a-z0-9_]*", name) for name in names), "as Prometheus takes them"
