"""What deploys Flink is taken by the tools that will read it, and by our own command; damage is not."""

import functools
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from pipeline import __main__, flags
from tests.servers import flink_programs
from tests.servers.flink_programs import DEPLOY, flink_deployment_schema

pytestmark = pytest.mark.slow
NEEDS_MAVEN = pytest.mark.needs(flink_programs.unavailable())
KUBERNETES = "1.29"  # the first with sidecars that end with their job
COMPOSE, DEPLOYMENT, JOB = (
    DEPLOY / name for name in ("docker-compose.yaml", "flink-deployment.yaml", "embed-job.yaml")
)


@functools.cache
def deployment_schema() -> dict[str, Any]:
    """Of a whole FlinkDeployment; the operator's own leaves out what all of Kubernetes' objects have."""
    every = {"apiVersion": {"const": "flink.apache.org/v1beta1"}, "kind": {"const": "FlinkDeployment"}, "metadata": {}}
    schema = flink_deployment_schema()
    whole: dict[str, Any] = strict(
        schema | {"properties": schema["properties"] | every, "required": ["metadata", "spec"]}
    )
    return whole


def strict(schema: Any) -> Any:
    """A schema that refuses unknown fields, as `kubectl apply` does."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not is_open:
        closed["additionalProperties"] = False
    return closed


def check_kubernetes(text: str) -> None:
    """Raises ValidationError for a manifest that a cluster with Flink's operator refuses."""
    for document in yaml.safe_load_all(text):
        if document["kind"] == "FlinkDeployment":
            jsonschema.validate(document, deployment_schema())
            template = document["spec"]["taskManager"]["podTemplate"]
            kubernetes_validate.validate(_with_image(template), KUBERNETES, strict=True)
        else:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)


def run_tool(*command: str | Path) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode


def damaged(file: Path, old: str, new: str) -> str:
    text = file.read_text()
    assert text.count(old) >= 1
    return text.replace(old, new, 1)


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, str(value)


def _with_image(template: dict[str, Any]) -> dict[str, Any]:
    """The pod as the operator completes it: the main container gets Flink's image."""
    return template | {
        "spec": template["spec"]
        | {"containers": [{"image": "flink", **each} for each in template["spec"]["containers"]]}
    }


@NEEDS_MAVEN
@pytest.mark.parametrize("file", [DEPLOYMENT, JOB], ids=lambda file: file.name)
def test_kubernetes_and_flinks_operator_take_the_manifests(file: Path) -> None:
    check_kubernetes(file.read_text())


@NEEDS_MAVEN
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (DEPLOYMENT, "flinkVersion: v1_19", "flinkVersion: v9_19"),
        (DEPLOYMENT, "replicas: 2", "replica: 2"),
        (DEPLOYMENT, "flinkConfiguration:", "flinkConfig:"),
        (DEPLOYMENT, "containerPort: 50000", "containerPort: fifty"),
        (DEPLOYMENT, "claimName:", "claim:"),
        (JOB, "backoffLimit: 2", "backoffLimit: many"),
        (JOB, "command:", "comand:"),
    ],
)
def test_kubernetes_or_flinks_operator_refuses_a_damaged_manifest(file: Path, old: str, new: str) -> None:
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check_kubernetes(damaged(file, old, new))


def test_the_schema_of_compose_takes_the_file_and_refuses_damage(tmp_path: Path) -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    assert run_tool(*check, COMPOSE) == 0
    for old, new in (("depends_on:", "depend_on:"), ("restart: unless-stopped", "restart: [always]")):
        broken = tmp_path / "docker-compose.yaml"
        broken.write_text(damaged(COMPOSE, old, new))
        assert run_tool(*check, broken) == 1


def test_every_service_and_volume_that_compose_names_is_there() -> None:
    compose = yaml.safe_load(COMPOSE.read_text())
    services = compose["services"]
    for service in services.values():
        named = {
            *service.get("depends_on", ()),
            service.get("network_mode", "service:jobmanager").removeprefix("service:"),
        }
        assert named <= set(services)
        volumes = {volume.split(":")[0] for volume in service.get("volumes", ()) if not volume.startswith("$")}
        assert volumes <= set(compose["volumes"])
    pools = [service["network_mode"] for name, service in services.items() if name.startswith("worker-pool")]
    assert sorted(pools) == ["service:taskmanager-1", "service:taskmanager-2"]  # one each


@NEEDS_MAVEN
def test_maven_takes_the_pom_and_refuses_damage(tmp_path: Path) -> None:
    maven = ["mvn", "--batch-mode", "--quiet", "--offline", "validate", "--file"]
    assert run_tool(*maven, DEPLOY / "pom.xml") == 0
    for old, new in (("<artifactId>slf4j-simple</artifactId>", ""), ("${slf4j.version}", "${slf4j.versio}")):
        broken = tmp_path / "pom.xml"
        broken.write_text(damaged(DEPLOY / "pom.xml", old, new))
        assert run_tool(*maven, broken) != 0


def test_hadolint_takes_the_dockerfile_and_refuses_damage(tmp_path: Path) -> None:
    hadolint = str(shutil.which("hadolint", path=Path(sys.executable).parent))
    assert run_tool(hadolint, DEPLOY / "Dockerfile") == 0
    broken = tmp_path / "Dockerfile"
    broken.write_text(damaged(DEPLOY / "Dockerfile", "WORKDIR /build", "WORKDIR build"))
    assert run_tool(hadolint, broken) != 0


def test_the_operator_is_told_what_the_tests_run_with() -> None:
    configured = dict(flat(yaml.safe_load((DEPLOY / "config.yaml").read_text())))
    (deployment,) = (each for each in yaml.safe_load_all(DEPLOYMENT.read_text()) if each["kind"] == "FlinkDeployment")
    told = deployment["spec"]["flinkConfiguration"]
    assert told.items() <= configured.items()
    assert deployment["spec"]["taskManager"]["resource"]["memory"] == configured["taskmanager.memory.process.size"]
    assert deployment["spec"]["image"].startswith(f"flink:{flink_programs.FLINK}-")
    assert f"FROM {deployment['spec']['image']} AS cluster" in (DEPLOY / "Dockerfile").read_text()


def test_our_command_takes_the_flags_that_compose_and_kubernetes_give_it() -> None:
    compose = yaml.safe_load(COMPOSE.read_text())["services"]["embed"]["entrypoint"]
    job = yaml.safe_load(JOB.read_text())["spec"]["template"]["spec"]["containers"][0]["command"]
    top, commands = __main__.parsers()
    for command in ([*compose, "--input=/data/clips/**", "--output=/data/dataset"], job):
        assert command[:2] == ["yamnet-beam", "embed"]
        ours, unknown = top.parse_known_args(command[1:])
        flags.embed_options(vars(ours))
        assert "--environment_config=localhost:50000" in flags.beam_flags(unknown, flags.flags_of(commands["embed"]))
