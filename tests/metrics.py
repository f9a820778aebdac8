"""What the runner counted while a command ran."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import apache_beam as beam
from apache_beam.metrics import MetricsFilter

from transforms.metric_names import NAMESPACE

Figures = dict[str, Any]  # by the name of the metric: a count, or a distribution's result


def figures(result: Any, namespace: str = NAMESPACE) -> Figures:
    """The metrics of one namespace in a pipeline's result, added up over its steps."""
    found = result.metrics().query(MetricsFilter().with_namespace(namespace))
    counts: Figures = {}
    for metric in found["counters"]:
        counts[metric.key.metric.name] = counts.get(metric.key.metric.name, 0) + metric.result
    return counts | {metric.key.metric.name: metric.result for metric in found["distributions"]}


@contextmanager
def kept_results() -> Iterator[list[Any]]:
    """The results of the pipelines that run meanwhile; the commands keep them to themselves."""
    results: list[Any] = []
    original = beam.Pipeline.run

    def run_and_keep(self: beam.Pipeline, *arguments: Any, **more: Any) -> Any:
        result = original(self, *arguments, **more)
        results.append(result)
        return result

    with mock.patch.object(beam.Pipeline, "run", run_and_keep):
        yield results
