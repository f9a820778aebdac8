"""What the runner counted while a command ran."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.metrics.cells import DistributionResult

from transforms.metric_names import NAMESPACE

Figures = dict[str, Any]  # by the name of the metric: a count, or a distribution's result


def figures(result: Any, namespace: str = NAMESPACE) -> Figures:
    """The metrics of one namespace in a pipeline's result, added up over its steps."""
    found = result.metrics().query(MetricsFilter().with_namespace(namespace))
    added: Figures = {}
    for metric in found["counters"]:
        added[metric.key.metric.name] = added.get(metric.key.metric.name, 0) + metric.result
    for metric in found["distributions"]:
        before = added.get(metric.key.metric.name)
        data = metric.result.data if before is None else before.data.combine(metric.result.data)
        added[metric.key.metric.name] = DistributionResult(data)
    return added


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
