"""What Terraform makes of deploy/terraform, with a provider of the real schema on loopback."""

import base64
import datetime
import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.deploy import nights
from tests.deploy.google_provider import PROVIDER_VERSION
from tests.deploy.refresh_definition import DEPLOY, REGION, VALUES, request
from tests.deploy.terraform_provider import google_provider

pytestmark = pytest.mark.slow
NO_TERRAFORM = "terraform is not in PATH; see https://developer.hashicorp.com/terraform/install"
needs_terraform = pytest.mark.needs(None if shutil.which("terraform") else NO_TERRAFORM)

FOLDER = DEPLOY / "terraform"
SETTINGS: dict[str, Any] = {
    "project": VALUES["project"],
    "region": REGION,
    "input": VALUES["input"],
    "source_buckets": ["clips", "more-clips"],
    "notification_emails": ["somebody@example.org"],
}
RESOURCE = re.compile(r'^resource "(google_\w+)"', re.MULTILINE)


class Terraform:
    """Runs terraform in a copy of deploy/."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.deploy = shutil.copytree(
            DEPLOY, folder / "deploy", ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*")
        )
        self.folder = self.deploy / "terraform"
        self._env = os.environ | env | {"TF_CLI_CONFIG_FILE": os.devnull, "NO_COLOR": "1"}
        self.set(**SETTINGS)

    def set(self, **settings: Any) -> None:
        """Give the variables."""
        (self.folder / "terraform.tfvars.json").write_text(json.dumps(settings))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command, whatever its end."""
        return subprocess.run(
            ["terraform", *arguments], cwd=self.folder, env=self._env, capture_output=True, text=True, check=False
        )

    def __call__(self, *arguments: str) -> str:
        """Run a command that must succeed; return what it prints."""
        ended = self.run(*arguments)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout


def _text(folder: Path = FOLDER) -> str:
    """All of the configuration, without comments."""
    files = sorted(folder.glob("*.tf"))
    return re.sub(r"(?m)(^| )#.*$", "", "\n".join(file.read_text() for file in files))


@pytest.fixture(scope="module")
def provider() -> Iterator[dict[str, str]]:
    with google_provider(frozenset(RESOURCE.findall(_text()))) as env:
        yield env


@pytest.fixture
def terraform(provider: dict[str, str], tmp_path: Path) -> Terraform:
    """A copy that is initialised."""
    made = Terraform(tmp_path, provider)
    made("init", "-input=false")
    return made


@pytest.fixture(scope="module")
def applied(provider: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """A copy that is applied."""
    made = Terraform(tmp_path_factory.mktemp("applied"), provider)
    made("init", "-input=false")
    made("apply", "-auto-approve", "-input=false")
    return made


@pytest.fixture(scope="module")
def resources(applied: Terraform) -> list[dict[str, Any]]:
    """What the state holds."""
    found: list[dict[str, Any]] = json.loads(applied("show", "-json"))["values"]["root_module"]["resources"]
    return found


@pytest.fixture(scope="module")
def outputs(applied: Terraform) -> dict[str, str]:
    return {name: output["value"] for name, output in json.loads(applied("output", "-json")).items()}


def _values(resources: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """The values of the resources of a kind, by name, or by key where there are several."""
    return {str(found.get("index", found["name"])): found["values"] for found in resources if found["type"] == kind}


@needs_terraform
def test_the_files_are_formatted() -> None:
    subprocess.run(["terraform", "fmt", "-check", "-diff", "-recursive", FOLDER], check=True)


def test_the_versions_are_those_that_are_checked() -> None:
    minor = PROVIDER_VERSION.rsplit(".", 1)[0]
    assert f'version = "~> {minor}"' in _text()


@needs_terraform
def test_applied_again_it_changes_nothing_and_then_it_can_be_destroyed(terraform: Terraform) -> None:
    terraform("apply", "-auto-approve", "-input=false")
    assert "No changes." in terraform("plan", "-detailed-exitcode", "-input=false")
    terraform("destroy", "-auto-approve", "-input=false")
    assert json.loads(terraform("show", "-json")).get("values") is None


@needs_terraform
def test_all_callers_have_the_request_of_the_definition(
    resources: list[dict[str, Any]], outputs: dict[str, str]
) -> None:
    def dated(text: str) -> Any:
        return json.loads(text.replace("YYYYMMDD", "20261124"))

    variables = _values(resources, "google_workflows_workflow")["refresh"]["user_env_vars"]
    assert dated(variables["REQUEST"]) == request("20261124")
    assert dated(outputs["request"]) == request("20261124")
    assert dated(outputs["airflow_variable"]) == {
        "project": VALUES["project"],
        "region": REGION,
        "request": request("20261124"),
    }
    assert {name: variables[name] for name in ("PROJECT", "REGION")} == {"PROJECT": VALUES["project"], "REGION": REGION}
    topic = _values(resources, "google_pubsub_topic")["refresh"]["name"]
    assert variables["TOPIC"] == topic
    asked = set(re.findall(r"sys\.get_env\(\"(\w+)\"\)", (DEPLOY / "workflows/refresh.yaml").read_text()))
    assert asked == set(variables)


@needs_terraform
def test_the_launch_by_hand_sends_it_too(applied: Terraform, tmp_path: Path) -> None:
    (commands,) = re.findall(r"```bash\n(.*?)```", (DEPLOY / "workflows/README.md").read_text(), re.DOTALL)
    gcloud = tmp_path / "gcloud"
    gcloud.write_text('#!/bin/sh\n[ "$*" = "auth print-access-token" ] && echo token\n')
    gcloud.chmod(0o755)
    with nights.night() as night:
        env = night.cloud.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        before = datetime.datetime.now(datetime.timezone.utc)
        subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=applied.folder, env=env, check=True)
    days = (before, datetime.datetime.now(datetime.timezone.utc))  # midnight may lie between them
    assert night.dataflow.launches[0] in [request(day.strftime("%Y%m%d")) for day in days]


@needs_terraform
def test_an_input_with_quotes_stays_what_it_is(terraform: Terraform) -> None:
    query = 'bq:SELECT uri FROM `p.d.t` WHERE kind = "dog\\bark"'
    terraform.set(**SETTINGS | {"input": query})
    terraform("apply", "-auto-approve", "-input=false", "-target=google_workflows_workflow.refresh")
    found = json.loads(terraform("show", "-json"))["values"]["root_module"]["resources"]
    text = _values(found, "google_workflows_workflow")["refresh"]["user_env_vars"]["REQUEST"]
    assert json.loads(text)["launchParameter"]["parameters"]["input"] == query


@needs_terraform
def test_the_schedule_starts_the_workflow_as_its_account(resources: list[dict[str, Any]]) -> None:
    (target,) = _values(resources, "google_cloud_scheduler_job")["refresh"]["http_target"]
    workflow = _values(resources, "google_workflows_workflow")["refresh"]
    assert target["uri"] == f"https://workflowexecutions.googleapis.com/v1/{workflow['id']}/executions"
    assert json.loads(base64.b64decode(target["body"])) == {"argument": "{}"}
    (token,) = target["oauth_token"]
    accounts = _values(resources, "google_service_account")
    assert token["service_account_email"] == accounts["scheduler"]["email"]
    assert workflow["service_account"] == accounts["launcher"]["id"]
    assert workflow["source_contents"] == (DEPLOY / "workflows/refresh.yaml").read_text()


@needs_terraform
def test_buckets_are_closed_and_the_temporary_one_forgets(resources: list[dict[str, Any]]) -> None:
    buckets = _values(resources, "google_storage_bucket")
    assert set(buckets) == {"dataset", "temp", "templates"}
    for bucket in buckets.values():
        assert bucket["uniform_bucket_level_access"] is True
        assert bucket["public_access_prevention"] == "enforced"
    rules = [(rule["action"][0]["type"], rule["condition"][0]["age"]) for rule in buckets["temp"]["lifecycle_rule"]]
    assert ("Delete", 7) in rules
    kept = [rule["action"][0]["type"] for rule in buckets["dataset"]["lifecycle_rule"]]
    assert "Delete" not in kept, "a dataset's rows have no age"
    assert buckets["dataset"]["force_destroy"] is False


@needs_terraform
def test_no_role_is_wider_than_the_table_of_security(resources: list[dict[str, Any]]) -> None:
    assert granted(resources) == allowed()


def test_schemas_are_those_of_the_product() -> None:
    for path, content in _schemas().files():
        assert path.read_text() == content, "stale: python deploy/terraform/schemas.py"


@needs_terraform
def test_tables_are_those_that_a_run_would_make(resources: list[dict[str, Any]]) -> None:
    made = {table["tableReference"]["tableId"]: table for table in _prepared()}
    tables = _values(resources, "google_bigquery_table")
    assert set(tables) == {"clips", "clips_patches"}
    for name, table in tables.items():
        assert json.loads(table["schema"]) == made[name]["schema"]["fields"]
        assert table["clustering"] == made[name]["clustering"]["fields"]
        (partition,) = table["time_partitioning"]
        assert {key: partition[key] for key in ("type", "field")} == made[name]["timePartitioning"]
        assert table["description"] == made[name]["description"]
        assert table["deletion_protection"] is True


@needs_terraform
def test_variables_are_described_and_used_and_in_the_readme(applied: Terraform) -> None:
    check_variables(applied)


@needs_terraform
def test_the_example_of_the_readme_is_a_plan(terraform: Terraform) -> None:
    (values,) = re.findall(r"<<'VALUES'\n(.*?)VALUES\n", (FOLDER / "README.md").read_text(), re.DOTALL)
    (terraform.folder / "terraform.tfvars.json").unlink()
    (terraform.folder / "terraform.tfvars").write_text(values)
    assert "0 to change, 0 to destroy." in terraform("plan", "-input=false")
    subprocess.run(["terraform", "fmt", "-check", terraform.folder], check=True)


@needs_terraform
def test_a_value_that_cannot_work_is_refused_with_its_rule(terraform: Terraform) -> None:
    wrong = {
        "project": "My Project",
        "region": "europe-west1-b",
        "input": "/home/me/clips",
        "source_buckets": ["gs://clips"],
        "subnetwork": "default",
        "bigquery_dataset": "my-audio",
        "schedule": "daily",
        "notification_emails": ["me"],
        "max_hours_without_run": 0,
        "max_dead_ratio": 2,
        "max_lag_hours": 25,
        "temp_days": 1,
    }
    terraform.set(**SETTINGS | wrong)
    ended = terraform.run("plan", "-input=false", "-no-color")
    said = " ".join(ended.stderr.replace("│", " ").split())
    rules = re.findall(r'error_message = "(.*)"', (FOLDER / "variables.tf").read_text())
    assert len(rules) == len(wrong)
    for rule in rules:
        assert rule in said


@needs_terraform
def test_outputs_are_described_and_next_steps(applied: Terraform, outputs: dict[str, str]) -> None:
    guides = "".join(path.read_text() for path in DEPLOY.glob("*/README.md"))
    for name in outputs:
        assert re.search(rf"terraform (-chdir=\S+ )?output (-raw )?{name}\b|`{name}`", guides), f"no guide uses {name}"
    described = re.findall(r'output "(\w+)" \{\n  description = "', (FOLDER / "outputs.tf").read_text())
    assert described == re.findall(r'output "(\w+)"', (FOLDER / "outputs.tf").read_text())
    assert outputs["run_today"].startswith("gcloud workflows run yamnet-refresh ")


@needs_terraform
def test_the_build_writes_the_template_that_is_launched(outputs: dict[str, str]) -> None:
    command, _, given = outputs["build"].rpartition(" ")
    substitutions = dict(pair.split("=") for pair in given.split(","))
    assert VALUES["template"] == f"gs://{substitutions['_BUCKET']}/{substitutions['_TEMPLATE']}"
    assert command.endswith("--config=deploy/cloudbuild.yaml --substitutions")
    build = yaml.safe_load((DEPLOY / "cloudbuild.yaml").read_text())
    assert set(substitutions) <= {*build["substitutions"], "_BUCKET"}


@needs_terraform
def test_alerts_are_sent_and_read_metrics_and_fields_that_exist(resources: list[dict[str, Any]]) -> None:
    policies = _values(resources, "google_monitoring_alert_policy")
    assert set(policies) == {"job_failed", "refresh_failed", "no_run", "dead_letters", "lag"}
    channels = [channel["id"] for channel in _values(resources, "google_monitoring_notification_channel").values()]
    assert channels
    assert all(policy["notification_channels"] == channels for policy in policies.values())
    metrics = _values(resources, "google_logging_metric").values()
    read = set(re.findall(r"logging\.googleapis\.com/user/(\w+)", json.dumps(policies)))
    assert read == {metric["name"] for metric in metrics}
    workflow = (DEPLOY / "workflows/refresh.yaml").read_text()
    for field in set(re.findall(r"jsonPayload\.([a-z_.]+)", json.dumps(policies) + json.dumps([*metrics]))):
        assert re.search(rf"\b{field.rpartition('.')[2]}:", workflow), f"the workflow logs no {field}"
    assert "event: yamnet_refresh" in yaml.dump(yaml.safe_load(workflow)).replace("outcome.", "")
    assert "[26h]" in policies["no_run"]["conditions"][0]["condition_prometheus_query_language"][0]["query"]


def check_valid(terraform: Terraform) -> None:
    """Raises AssertionError with what Terraform says of the configuration."""
    terraform("validate")


def check_formatted(terraform: Terraform) -> None:
    """Raises AssertionError with the differences."""
    terraform("fmt", "-check", "-diff")


def check_variables(terraform: Terraform) -> None:
    """Raises AssertionError: a variable has no description, is nowhere used, or not in the table of the README."""
    terraform("plan", "-input=false", "-out=plan")
    variables = json.loads(terraform("show", "-json", "plan"))["configuration"]["root_module"]["variables"]
    others = [file.read_text() for file in terraform.folder.glob("*.tf") if file.name != "variables.tf"]
    used = set(re.findall(r"\bvar\.(\w+)", re.sub(r"(?m)(^| )#.*$", "", "".join(others))))
    assert set(variables) == used, "declared and used variables differ"
    guide = (terraform.folder / "README.md").read_text()
    for name, variable in variables.items():
        default = f"`{json.dumps(variable['default'])}`" if "default" in variable else ""
        line = f"| `{name}` | {default} | {variable.get('description')} |".replace("|  |", "| |")
        assert line in guide, f"deploy/terraform/README.md lacks: {line}"


def check_roles(terraform: Terraform) -> None:
    """Raises AssertionError: what is granted is not what deploy/SECURITY.md allows."""
    terraform("apply", "-auto-approve", "-input=false")
    resources = json.loads(terraform("show", "-json"))["values"]["root_module"]["resources"]
    assert granted(resources) == allowed()


def granted(resources: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """(account, role, on) of every grant in the state."""
    accounts = _values(resources, "google_service_account")
    members = {account["member"]: name for name, account in accounts.items()}
    buckets = {bucket["name"]: f"{name} bucket" for name, bucket in _values(resources, "google_storage_bucket").items()}
    buckets |= dict.fromkeys(SETTINGS["source_buckets"], "source buckets")
    places: dict[str, Callable[[dict[str, Any]], str]] = {
        "google_project_iam_member": lambda _: "project",
        "google_bigquery_dataset_iam_member": lambda _: "dataset",
        "google_artifact_registry_repository_iam_member": lambda _: "image repository",
        "google_pubsub_topic_iam_member": lambda _: "topic",
        "google_storage_bucket_iam_member": lambda grant: buckets[grant["bucket"]],
        "google_service_account_iam_member": lambda grant: next(
            f"{name} account" for name, account in accounts.items() if account["name"] == grant["service_account_id"]
        ),
    }
    grants = [found for found in resources if "_iam_" in found["type"]]
    strange = [found["address"] for found in grants if found["type"] not in places]
    assert not strange, "grants of a kind that is not known here, or that take roles from others"
    return {
        (members[found["values"]["member"]], found["values"]["role"], places[found["type"]](found["values"]))
        for found in grants
    }


def allowed() -> set[tuple[str, str, str]]:
    """(account, role, on) of every line of the table."""
    lines = re.findall(r"^\| (\w+) \| (roles/\S+) \| ([^|]+) \| [^|]+ \|$", (DEPLOY / "SECURITY.md").read_text(), re.M)
    return set(lines)


Damage = tuple[Callable[[Terraform], None], str, str, str]
SERVICE_ACCOUNT, TOPIC = "google_service_account.worker", "google_pubsub_topic.refresh"
DAMAGE: dict[str, Damage] = {
    "an argument that there is not": (
        check_valid,
        "storage.tf",
        "public_access_prevention    =",
        "public_prevention =",
    ),
    "a block that there is not": (check_valid, "alerts.tf", "condition_matched_log {", "condition_log {"),
    "a required argument left out": (check_valid, "bigquery.tf", "  table_id            = each.key\n", ""),
    "a value of another type": (check_valid, "storage.tf", "age = var.temp_days", 'age = "a week"'),
    "a reference to nothing": (check_valid, "schedule.tf", f"{TOPIC}.name", f"{TOPIC}s.name"),
    "an attribute that there is not": (check_valid, "iam.tf", f"{SERVICE_ACCOUNT}.member", f"{SERVICE_ACCOUNT}.mail"),
    "a file out of form": (check_formatted, "schedule.tf", "    PROJECT = var.project", "    PROJECT=var.project"),
    "a variable that nobody uses": (check_variables, "schedule.tf", "var.paused", "false"),
    "a wider role": (check_roles, "iam.tf", '"roles/storage.objectUser"', '"roles/storage.admin"'),
    "a role more": (check_roles, "iam.tf", '"roles/bigquery.jobUser"', '"roles/bigquery.jobUser", "roles/viewer"'),
}


@needs_terraform
@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found(name: str, terraform: Terraform) -> None:
    check, file, whole, damaged = DAMAGE[name]
    path = terraform.folder / file
    assert whole in path.read_text()
    check(terraform)
    path.write_text(path.read_text().replace(whole, damaged, 1))
    with pytest.raises(AssertionError):
        check(terraform)


def _schemas() -> ModuleType:
    """deploy/terraform/schemas.py."""
    spec = importlib.util.spec_from_file_location("schemas_of_tables", FOLDER / "schemas.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _prepared() -> list[dict[str, Any]]:
    """The tables that the product asks BigQuery to make, as it sends them."""
    from tests.servers.cloud import google_cloud
    from tests.servers.egress import Route
    from tests.servers.serving import Request, Response, serving
    from transforms import schemas, staging, warehouse

    asked: list[dict[str, Any]] = []

    def answer(message: Request) -> Response:
        sent = json.loads(message.body)
        if message.path.endswith("/tables"):
            asked.append(sent)
        job = {"jobReference": {"projectId": "p", "jobId": "j"}, "status": {"state": "DONE"}, "statistics": {}}
        body = job | sent if message.path.endswith("/jobs") else sent
        return Response(200, (("Content-Type", "application/json"),), json.dumps(body).encode())

    name = f"{VALUES['project']}:{VALUES['bigquery_dataset']}.clips"
    with (
        serving(answer) as port,
        google_cloud(routes={"bigquery.googleapis.com": Route(port)}) as cloud,
        cloud.activate(),
    ):
        for kind, fields in {"clips": schemas.CLIP_FIELDS, "patches": schemas.PATCH_FIELDS}.items():
            staging.prepare(warehouse.table(kind, name, "attempt", fields))
    return asked
