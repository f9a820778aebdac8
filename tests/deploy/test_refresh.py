"""The one definition of the refresh: what Dataflow and the product's own options say to it."""

import argparse
import copy
import json
import re
from typing import Any

import pytest
from google.cloud import dataflow_v1beta3
from google.protobuf.json_format import ParseDict, ParseError

from pipeline import flags
from pipeline.options import EmbedOptions
from tests.deploy.refresh_definition import DEPLOY, VALUES, request, undated
from transforms import errors

pytestmark = pytest.mark.slow

DATE = "20261124"
METADATA = DEPLOY / "template/metadata.json"


def check(made: dict[str, Any]) -> EmbedOptions:
    """The settings that a launch request amounts to, after Dataflow's message and the product's parser took it.

    Raises:
        ParseError: Dataflow's message has no such field.
        UsageError: The product has no such setting, or the value cannot work.
    """
    parsed = ParseDict(made, dataflow_v1beta3.LaunchFlexTemplateRequest.pb()())
    parser = argparse.ArgumentParser(allow_abbrev=False)
    flags.add_embed_arguments(parser)
    words = [f"--{name}={value}" for name, value in parsed.launch_parameter.parameters.items()]
    known, unknown = parser.parse_known_args(words)
    flags.refuse_unknown(unknown, flags.flags_of(parser))
    return flags.embed_options(vars(known))


def test_the_definition_is_a_launch_request_of_settings_that_exist() -> None:
    options = check(request(DATE))
    assert options.run_id == f"night-{DATE}"
    assert options.mode == "refresh"
    assert options.sink == ("parquet", "bigquery")
    assert options.output == f"gs://{VALUES['dataset_bucket']}/dataset"


def test_the_template_takes_the_parameters() -> None:
    taken = {parameter["name"]: parameter for parameter in json.loads(METADATA.read_text())["parameters"]}
    for name, value in request(DATE)["launchParameter"]["parameters"].items():
        assert all(re.search(pattern, value) for pattern in taken[name].get("regexes", [])), name


def test_nights_differ_by_their_date_alone_and_a_night_is_always_the_same() -> None:
    first, second = request(DATE), request("20261125")
    assert first == request(DATE)
    assert first["launchParameter"]["jobName"] != second["launchParameter"]["jobName"]
    assert str(first).replace(DATE, "") == str(second).replace("20261125", "")


def test_the_job_of_a_night_has_its_run_as_a_label() -> None:
    launched = request(DATE)["launchParameter"]
    assert launched["environment"]["additionalUserLabels"]["run_id"] == launched["parameters"]["run_id"]


def test_workers_are_bounded_and_not_in_the_open() -> None:
    environment = request(DATE)["launchParameter"]["environment"]
    assert environment["maxWorkers"] >= 1
    assert environment["ipConfiguration"] == "WORKER_IP_PRIVATE"
    assert environment["serviceAccountEmail"] == VALUES["worker"]


def test_a_place_that_nobody_fills_is_found() -> None:
    with pytest.raises(KeyError):
        undated({name: value for name, value in VALUES.items() if name != "worker"})


@pytest.mark.parametrize(
    ("part", "name", "value", "error"),
    [
        ("parameters", "max_failure_rate", "0.05", errors.UsageError),
        ("parameters", "max_failure_ratio", "5", errors.UsageError),
        ("parameters", "sink", "csv", errors.UsageError),
        ("environment", "maximumWorkers", 20, ParseError),
        ("environment", "maxWorkers", "many", ParseError),
    ],
)
def test_a_damaged_definition_is_found(part: str, name: str, value: Any, error: type[Exception]) -> None:
    damaged = copy.deepcopy(request(DATE))
    damaged["launchParameter"][part][name] = value
    with pytest.raises(error):
        check(damaged)
