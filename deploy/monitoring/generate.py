"""Makes this folder's generated files from the table of metrics: `python deploy/monitoring/generate.py`.

Counters and distributions of Dataflow arrive in Cloud Monitoring as dataflow.googleapis.com/job/user_counter, with the
name in the label metric_name; of a distribution there are NAME_MEAN, NAME_MAX, NAME_MIN and NAME_COUNT. All are gauges
of the total so far, of which the service makes no rate: a chart of counts rises until the job ends.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parents[1]))

from transforms.metric_names import BEAMS, DEAD_PREFIX, METRICS, NAMESPACE, Metric  # noqa: E402

README, DASHBOARD, GRAFANA = FOLDER / "README.md", FOLDER / "dashboard.json", FOLDER / "grafana.json"
COLUMNS, WIDTH, HEIGHT = 48, 16, 14
USER_COUNTER = "dataflow.googleapis.com/job/user_counter"

Json = dict[str, Any]


class Chart(NamedTuple):
    """One chart of both dashboards.

    Attributes:
      title: over it.
      unit: of its axis.
      takes: which metrics it shows.
      of: which of a distribution's figures: MEAN or MAX; empty for counters.
      is_stacked: whether its lines add up to something.
    """

    title: str
    unit: str
    takes: Callable[[Metric], bool]
    of: str = ""
    is_stacked: bool = False

    def metrics(self) -> list[Metric]:
        """Those that it shows."""
        kind = "distribution" if self.of else "counter"
        return [metric for metric in METRICS if metric.kind == kind and self.takes(metric)]


def _is_dead(metric: Metric) -> bool:
    return metric.name.startswith(DEAD_PREFIX)


def _is_planning(metric: Metric) -> bool:
    return metric.stage in ("ListClips", "PlanWork")


def _is_failure(metric: Metric) -> bool:
    return metric.unit == "clips" and metric.name.endswith("_failed") and not _is_dead(metric)


def _is_progress(metric: Metric) -> bool:
    return metric.unit == "clips" and not (_is_dead(metric) or _is_planning(metric) or _is_failure(metric))


def _has_unit(unit: str) -> Callable[[Metric], bool]:
    return lambda metric: metric.unit == unit


CHARTS = (
    Chart("Clips listed and planned", "clips", _is_planning),
    Chart("Clips through the stages", "clips", _is_progress),
    Chart("Clips that fail, by stage", "clips", _is_failure, is_stacked=True),
    Chart("Dead letters, by code", "clips", _is_dead, is_stacked=True),
    Chart("Runs committed and refused", "runs", _has_unit("runs")),
    Chart("Audio embedded", "milliseconds", _has_unit("milliseconds")),
    Chart("Segments", "segments", _has_unit("segments")),
    Chart("Patches embedded", "patches", _has_unit("patches")),
    Chart("Patches in a batch, mean", "patches", _has_unit("patches"), of="MEAN"),
    Chart("One step takes, mean", "microseconds", _has_unit("microseconds"), of="MEAN"),
    Chart("One step takes, longest", "microseconds", _has_unit("microseconds"), of="MAX"),
    Chart("Bytes", "bytes", _has_unit("bytes")),
    Chart("Rows written and loaded", "rows", _has_unit("rows")),
    Chart("Files written", "files", _has_unit("files")),
)


def table() -> str:
    """The metrics as a Markdown table."""
    lines = ["| stage | name | kind | counts |", "|---|---|---|---|"]
    for metric in METRICS:
        text = metric.description if _is_dead(metric) else f"{metric.unit} {metric.description}"
        lines.append(f"| {metric.stage} | `{metric.name}` | {metric.kind} | {text} |")
    for metric in BEAMS:
        lines.append(
            f"| {metric.stage} (Beam's own) | `{metric.name}` | {metric.kind} | {metric.unit} {metric.description} |"
        )
    return "\n".join(lines)


def readme(text: str) -> str:
    """README with a fresh table."""
    begin, end = "<!-- metrics -->\n", "\n<!-- /metrics -->"
    before, rest = text.split(begin)
    return before + begin + table() + end + rest.split(end.strip())[1]


def dashboard() -> Json:
    """The dashboard of Cloud Monitoring, as `gcloud monitoring dashboards create` takes it."""
    widgets = [_busy(), *(_dataflow_chart(chart) for chart in CHARTS), _vcpus(), _log_lines()]
    return {
        "displayName": "yamnet-beam",
        "dashboardFilters": [{"filterType": "RESOURCE_LABEL", "labelKey": "job_name"}],
        "mosaicLayout": {"columns": COLUMNS, "tiles": [_tile(*placed) for placed in enumerate(widgets)]},
    }


def _tile(number: int, widget: Json) -> Json:
    row, column = divmod(number, COLUMNS // WIDTH)
    return {"xPos": column * WIDTH, "yPos": row * HEIGHT, "width": WIDTH, "height": HEIGHT, "widget": widget}


def _dataflow_chart(chart: Chart) -> Json:
    suffix = f"_{chart.of}" if chart.of else ""
    names = ",".join(f'"{metric.name}{suffix}"' for metric in chart.metrics())
    filters = (
        f'metric.type="{USER_COUNTER}" AND resource.type="dataflow_job" AND metric.label.metric_name=one_of({names})'
    )
    # Of a step that is in the graph twice, counts add up, means and maxima do not.
    reducer = {"": "REDUCE_SUM", "MEAN": "REDUCE_MEAN", "MAX": "REDUCE_MAX"}[chart.of]
    series = {
        "timeSeriesFilter": {
            "filter": filters,
            "aggregation": {
                "alignmentPeriod": "60s",
                "perSeriesAligner": "ALIGN_MAX",
                "crossSeriesReducer": reducer,
                "groupByFields": ["metric.label.metric_name"],
            },
        }
    }
    legend = {"legendTemplate": "${metric.labels.metric_name}"}
    return _xy(chart.title, chart.unit, [(series, legend)], is_stacked=chart.is_stacked)


def _busy() -> Json:
    """Mean times count: how long all workers together were busy with each step."""
    steps = [metric.name for metric in METRICS if metric.unit == "microseconds"]
    return _xy("Busy with each step, all workers", "seconds", [_busy_with(step) for step in steps], is_stacked=True)


def _busy_with(name: str) -> tuple[Json, Json]:
    def figure(of: str) -> str:
        return f'{{"__name__"="{USER_COUNTER}","monitored_resource"="dataflow_job","metric_name"="{name}_{of}"}}'

    query = f"sum({figure('MEAN')} * ignoring(metric_name) {figure('COUNT')}) / 1e6"
    return {"prometheusQuery": query}, {"legendTemplate": name.removesuffix("_microseconds")}


def _vcpus() -> Json:
    series = {
        "timeSeriesFilter": {
            "filter": 'metric.type="dataflow.googleapis.com/job/current_num_vcpus" AND resource.type="dataflow_job"',
            "aggregation": {
                "alignmentPeriod": "60s",
                "perSeriesAligner": "ALIGN_MAX",
                "crossSeriesReducer": "REDUCE_SUM",
            },
        }
    }
    return _xy("vCPUs", "vCPUs", [(series, {})])


def _log_lines() -> Json:
    return {
        "title": "Lines of the job",
        "logsPanel": {"filter": 'resource.type="dataflow_step" AND jsonPayload.message:"run_id="'},
    }


def _xy(title: str, unit: str, series: Sequence[tuple[Json, Json]], *, is_stacked: bool = False) -> Json:
    plot = "STACKED_AREA" if is_stacked else "LINE"
    sets = [{"plotType": plot, "targetAxis": "Y1", "timeSeriesQuery": query, **more} for query, more in series]
    return {"title": title, "xyChart": {"dataSets": sets, "yAxis": {"label": unit, "scale": "LINEAR"}}}


def grafana() -> Json:
    """The dashboard of Grafana over Flink's Prometheus reporter, which has the counters alone."""
    panels = list(_panels([chart for chart in CHARTS if not chart.of]))
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    job = {
        "name": "job_name",
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "query": f"label_values({_flink_name('read_clips_in')}, job_name)",
        "includeAll": True,
        "multi": True,
    }
    return {
        "title": "yamnet-beam on Flink",
        "uid": "yamnet-beam-flink",
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [source, job]},
        "panels": panels,
    }


def _panels(charts: Sequence[Chart]) -> Iterator[Json]:
    for number, chart in enumerate(charts):
        row, column = divmod(number, 3)
        targets = [
            {
                "refId": f"M{index}",
                "expr": f'sum({_flink_name(metric.name)}{{job_name=~"$job_name"}})',
                "legendFormat": metric.name,
            }
            for index, metric in enumerate(chart.metrics())
        ]
        stacking = {"custom": {"stacking": {"mode": "normal" if chart.is_stacked else "none"}}}
        yield {
            "id": number + 1,
            "type": "timeseries",
            "title": chart.title,
            "description": f"in {chart.unit}, since the job began",
            "datasource": {"type": "prometheus", "uid": "${source}"},
            "gridPos": {"x": column * 8, "y": row * 8, "w": 8, "h": 8},
            "fieldConfig": {
                "defaults": {"unit": "bytes" if chart.unit == "bytes" else "short", **stacking},
                "overrides": [],
            },
            "targets": targets,
        }


def _flink_name(name: str) -> str:
    """Beam names a counter of Flink NAMESPACE.NAME, and the reporter makes underscores of what it does not allow."""
    return f"flink_taskmanager_job_task_operator_{NAMESPACE}_{name}"


def generated() -> dict[Path, str]:
    """The files and what they must hold."""
    return {
        README: readme(README.read_text()),
        DASHBOARD: json.dumps(dashboard(), indent=1) + "\n",
        GRAFANA: json.dumps(grafana(), indent=1) + "\n",
    }


if __name__ == "__main__":
    for path, content in generated().items():
        path.write_text(content)
