"""The Flex Template's metadata says what a launch may say, in the form that the service reads."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline import flags, template
from pipeline.__main__ import main
from pipeline.options import EmbedOptions
from transforms import errors

FILE = Path(__file__).parents[2] / "deploy/template/metadata.json"
REQUIRED = {"input": "gs://bucket/**", "output": "gs://bucket/dataset"}


@pytest.fixture
def metadata() -> dict[str, Any]:
    return template.metadata()


@pytest.fixture
def parameters(metadata: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {parameter["name"]: parameter for parameter in metadata["parameters"]}


def parse(metadata: dict[str, Any]) -> Any:
    """Reads it as the service does: its own message type, which refuses unknown fields and values."""
    from google.cloud import dataflow_v1beta3
    from google.protobuf import json_format

    return json_format.ParseDict(metadata, dataflow_v1beta3.TemplateMetadata.pb()())


def matches(parameter: dict[str, Any], value: str) -> bool:
    if "enumOptions" in parameter:
        return value in [option["value"] for option in parameter["enumOptions"]]
    return all(re.search(pattern, value) for pattern in parameter.get("regexes", []))


def test_the_file_is_fresh(tmp_path: Path) -> None:
    assert main(["template", "--output", str(tmp_path / "metadata.json")]) == 0
    fresh = (tmp_path / "metadata.json").read_text()
    assert FILE.read_text() == fresh, "run: python -m pipeline template --output deploy/template/metadata.json"


def test_without_a_place_the_metadata_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["template"]) == 0
    assert json.loads(capsys.readouterr().out) == template.metadata()


def test_the_service_s_own_type_reads_the_file() -> None:
    message = parse(json.loads(FILE.read_text()))
    assert [parameter.name for parameter in message.parameters if not parameter.is_optional] == ["input", "output"]


@pytest.mark.parametrize("damage", [{"helptext": "x"}, {"paramType": "STRING"}, {"isOptional": "perhaps"}])
def test_the_service_s_own_type_refuses_a_damaged_file(metadata: dict[str, Any], damage: dict[str, str]) -> None:
    from google.protobuf import json_format

    metadata["parameters"][0] |= damage
    with pytest.raises(json_format.ParseError):
        parse(metadata)


def test_every_setting_is_a_parameter_or_left_out_for_a_reason(parameters: dict[str, dict[str, Any]]) -> None:
    settings = [field.name for field in dataclasses.fields(EmbedOptions)]
    assert [name for name in settings if name not in template.LEFT_OUT] == list(parameters)[:-1]
    assert set(template.LEFT_OUT) < set(settings)
    assert set(template._FORMS) < set(parameters)


def test_every_parameter_says_what_it_is(parameters: dict[str, dict[str, Any]]) -> None:
    for parameter in parameters.values():
        assert parameter["label"][0].isupper()
        assert len(parameter["helpText"]) > 10
        assert parameter["groupName"]
        assert parameter.get("regexes") or parameter.get("enumOptions"), parameter["name"]


def test_patterns_take_their_defaults(parameters: dict[str, dict[str, Any]]) -> None:
    defaults = {
        name: parameter["defaultValue"] for name, parameter in parameters.items() if "defaultValue" in parameter
    }
    assert all(matches(parameters[name], value) for name, value in defaults.items())
    assert defaults["sink"] == "parquet"
    assert defaults["drop_deleted"] == "false"


def test_defaults_said_as_parameters_are_the_defaults(parameters: dict[str, dict[str, Any]]) -> None:
    said = {name: parameter["defaultValue"] for name, parameter in parameters.items() if "defaultValue" in parameter}
    assert launched(REQUIRED | said) == launched(REQUIRED)


# What a launch says, and whether it may.
SAID = [
    ("input", "gs://bucket/a b/**/*.{wav,flac}", True),
    ("input", "@gs://bucket/lists/*.jsonl", True),
    ("input", "bq:SELECT uri FROM `p.d.t`", True),
    ("input", "https://a.org/a.wav", True),
    ("input", "clips/*.wav", False),
    ("input", "gs://bucket", False),
    ("output", "gs://bucket", True),
    ("output", "gs://bucket/dataset/", True),
    ("output", "/tmp/dataset", False),
    ("model", "gs://bucket/model", True),
    ("model", "model", False),
    ("run_id", "2026-11-24.1", True),
    ("run_id", "..", False),
    ("run_id", "a/b", False),
    ("sink", "parquet,tfrecord", True),
    ("sink", "parquet,csv", False),
    ("bigquery_table", "my-project:audio.clips", True),
    ("bigquery_table", "example.com:my-project:audio.clips", True),
    ("bigquery_table", "audio.clips", False),
    ("metadata_columns", "label,night of", True),
    ("metadata_columns", ",label", False),
    ("rows", "both", True),
    ("rows", "all", False),
    ("top_classes", "5", True),
    ("top_classes", "five", False),
    ("max_failure_ratio", "0.01", True),
    ("max_failure_ratio", "1e-2", True),
    ("max_failure_ratio", "-1", False),
    ("drop_deleted", "true", True),
    ("drop_deleted", "yes", False),
    ("allow_http_host", "a.org,*.b.org:8443", True),
    ("allow_http_host", "https://a.org", False),
    ("allow_http_network", "10.1.0.0/16,fd00::/8", True),
    ("allow_http_network", "10.1.0.0", False),
    ("sdk_container_image", "europe-docker.pkg.dev/p/r/i@sha256:0", True),
    ("sdk_container_image", "", False),
]


@pytest.mark.parametrize(("name", "value", "may"), SAID)
def test_patterns_take_what_the_command_takes(
    parameters: dict[str, dict[str, Any]], name: str, value: str, may: bool
) -> None:
    assert matches(parameters[name], value) is may
    if may and name != "sdk_container_image":
        with_table = {"sink": "bigquery"} if name == "bigquery_table" else {}
        assert launched(REQUIRED | {name: value} | with_table)


def test_hosts_and_networks_may_be_several_in_one_parameter() -> None:
    options = launched(REQUIRED | {"allow_http_host": "a.org,*.b.org", "allow_http_network": "10.0.0.0/8,fd00::/8"})
    assert options.allow_http_host == ("a.org", "*.b.org")
    assert options.allow_http_network == ("10.0.0.0/8", "fd00::/8")


def test_a_comma_in_a_path_stays() -> None:
    assert launched(REQUIRED | {"input": "gs://bucket/a,b.wav"}).input == ("gs://bucket/a,b.wav",)


def test_every_parameter_is_exercised(parameters: dict[str, dict[str, Any]]) -> None:
    numbers = {
        name for name, parameter in parameters.items() if parameter["paramType"] in ("NUMBER", "ENUM", "BOOLEAN")
    }
    assert set(parameters) - numbers - {name for name, _, _ in SAID} == {"uri_column"}


def launched(values: dict[str, str]) -> EmbedOptions:
    """The settings that the service's launcher makes of parameters: all are strings, said as --NAME=VALUE."""
    from pipeline.__main__ import parsers

    arguments = parsers()[0].parse_args(["embed", *(f"--{name}={value}" for name, value in values.items())])
    return flags.embed_options(vars(arguments))


def test_a_wrong_value_is_refused_by_the_command_too() -> None:
    with pytest.raises(errors.UsageError, match="between 0 and 1"):
        launched(REQUIRED | {"max_failure_ratio": "7"})
