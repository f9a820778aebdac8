"""The workflow of the nightly refresh, run by an emulator against Dataflow, storage and Pub/Sub on loopback."""

import ast
import datetime
import functools
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema
import pytest
import yaml

from tests.deploy import environments, nights, workflow
from tests.deploy.nights import Night
from tests.deploy.refresh_definition import VALUES, request
from tests.deploy.workflow import WORKFLOW, Execution
from transforms import runs

pytestmark = pytest.mark.slow
needs_python = pytest.mark.needs(workflow.unavailable())

DATE = "20261124"
QUICK = {"date": DATE, "poll_s": 0.05}

# The functions of the service that the workflow may call; the emulator evaluates expressions as Python, which has more.
FUNCTIONS = {
    "base64.encode", "default", "int", "json.decode", "json.encode", "map.get", "math.max", "math.min", "string",
    "sys.get_env", "sys.now", "text.match_regex", "text.replace_all", "text.split", "text.substring", "time.format",
}  # fmt: skip
NODES = (
    ast.Expression, ast.Call, ast.Attribute, ast.Name, ast.Load, ast.Constant, ast.Subscript, ast.BoolOp, ast.And,
    ast.Or, ast.UnaryOp, ast.Not, ast.Compare, ast.Eq, ast.NotEq, ast.Gt, ast.In, ast.BinOp, ast.Add, ast.Sub, ast.Mult,
    ast.Div,
)  # fmt: skip


@pytest.fixture
def night() -> Iterator[Night]:
    with nights.night() as services:
        yield services
        assert not services.cloud.refused, "the workflow asked a host that it should not need"


@pytest.fixture
def execute(night: Night) -> Callable[..., Execution]:
    """Runs the workflow, or another file, with an argument."""
    return functools.partial(workflow.execute, night.cloud)


@needs_python
def test_a_night_is_launched_waited_for_and_told(night: Night, execute: Callable[..., Execution]) -> None:
    ended = execute(QUICK)
    assert ended.result, ended.log
    counts = {"listed": 300, "embedded": 0, "dead": 6, "unchanged": 294, "dead_ratio": 0.02}
    assert ended.result["counts"] == counts
    assert night.dataflow.launches == [request(DATE)]
    ((topic, message),) = night.pubsub.published
    assert topic == f"projects/{VALUES['project']}/topics/yamnet-refresh"
    assert message["attributes"] == {"run_id": f"night-{DATE}", "state": "committed"}
    assert message["data"]["counts"] == counts
    assert message["data"]["event"] == "yamnet_refresh"
    assert message["data"]["lag_s"] > 0


@needs_python
def test_a_second_start_for_the_date_finds_it_done(night: Night, execute: Callable[..., Execution]) -> None:
    execute(QUICK)
    again = execute(QUICK)
    assert again.result, again.log
    assert again.result["state"] == "committed"
    assert len(night.dataflow.launches) == 1


@needs_python
def test_without_a_date_it_is_today(night: Night, execute: Callable[..., Execution]) -> None:
    before = _today()
    execute({"poll_s": 0.05})
    assert night.dataflow.launches[0] in [request(before), request(_today())]  # midnight may lie between them


@needs_python
def test_two_at_once_do_the_work_once(night: Night, execute: Callable[..., Execution]) -> None:
    night.dataflow.looks = 10
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(execute, [QUICK, QUICK])
    assert first.result, first.log
    assert second.result, second.log
    assert len(night.dataflow.launches) == 1, "the second has launched what the first was at"


@needs_python
def test_of_two_jobs_for_a_date_one_commits_and_both_starts_end_well(
    night: Night, execute: Callable[..., Execution]
) -> None:
    night.dataflow.late_lists, night.dataflow.refuses_twins, night.dataflow.looks = 2, False, 4
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(execute, [QUICK, QUICK])
    assert first.result, first.log
    assert second.result, second.log
    assert len(night.dataflow.launches) == 2
    states = sorted(job["currentState"] for job in night.dataflow.jobs.values())
    assert states == ["JOB_STATE_DONE", "JOB_STATE_FAILED"], "both have committed, or neither"


@needs_python
@pytest.mark.parametrize("late_lists", [0, 1])
def test_a_job_that_runs_already_is_waited_for(
    late_lists: int, night: Night, execute: Callable[..., Execution]
) -> None:
    night.dataflow.late_lists = late_lists  # then the launch meets it, with 409
    running = {"id": "by-hand", "name": f"yamnet-refresh-{DATE}", "currentState": "JOB_STATE_RUNNING", "looks": 0}
    night.dataflow.jobs["by-hand"] = running
    night.dataflow.launches.append(request(DATE))
    ended = execute(QUICK)
    assert ended.result, ended.log
    assert len(night.dataflow.launches) == 1


@needs_python
def test_a_run_that_the_gate_refuses_fails_the_night_and_is_told(
    night: Night, execute: Callable[..., Execution]
) -> None:
    night.dataflow.work = nights.is_refused
    ended = execute(QUICK)
    assert ended.result is None
    ((_, message),) = night.pubsub.published
    assert message["attributes"]["state"] == "refused"
    assert "30 of 300 clips are dead" in message["data"]["reason"]
    assert "30 of 300 clips are dead" in ended.log
    assert message["data"]["counts"]["dead_ratio"] == 0.1


@needs_python
def test_a_job_that_fails_fails_the_night_and_the_next_start_does_it_again(
    night: Night, execute: Callable[..., Execution]
) -> None:
    night.dataflow.work = nights.fails
    ended = execute(QUICK)
    assert ended.result is None
    assert night.pubsub.published[0][1]["attributes"]["state"] == "failed"
    assert "JOB_STATE_FAILED and has committed nothing" in ended.log
    night.dataflow.work = nights.commits
    again = execute(QUICK)
    assert again.result, again.log
    assert night.dataflow.launches == [request(DATE)] * 2, "the retry must reuse the run_id"


@needs_python
def test_a_refusal_of_an_earlier_attempt_is_not_that_of_a_job_that_failed(
    night: Night, execute: Callable[..., Execution]
) -> None:
    nights.is_refused(request(DATE))
    night.dataflow.work = nights.fails
    execute(QUICK)
    assert night.pubsub.published[0][1]["attributes"]["state"] == "failed"


@needs_python
def test_what_is_committed_counts_whatever_became_of_the_job(night: Night, execute: Callable[..., Execution]) -> None:
    night.dataflow.work = nights.cancelled_after_its_commit
    ended = execute(QUICK)
    assert ended.result, ended.log


@needs_python
def test_a_job_past_its_deadline_fails_the_night_and_is_left_to_go_on(
    night: Night, execute: Callable[..., Execution]
) -> None:
    night.dataflow.looks = 1000
    ended = execute(QUICK | {"deadline_s": 0.2})
    assert ended.result is None
    assert "is JOB_STATE_RUNNING and has committed nothing" in ended.log
    assert [job["currentState"] for job in night.dataflow.jobs.values()] == ["JOB_STATE_RUNNING"]


@needs_python
def test_a_moment_of_trouble_is_tried_again(night: Night, execute: Callable[..., Execution]) -> None:
    night.dataflow.failures = [("GET", 503), ("POST", 503)]
    ended = execute(QUICK)
    assert ended.result, ended.log
    assert len(night.dataflow.launches) == 1


@needs_python
def test_a_launch_that_is_not_allowed_is_told(night: Night, execute: Callable[..., Execution]) -> None:
    night.dataflow.failures = [("POST", 403)]
    ended = execute(QUICK)
    assert ended.result is None
    assert night.pubsub.published[0][1]["attributes"]["state"] == "failed"
    assert "403" in night.pubsub.published[0][1]["data"]["reason"]


@needs_python
def test_a_manifest_of_very_many_files_is_not_read_into_the_workflow(
    night: Night, execute: Callable[..., Execution]
) -> None:
    place = f"{nights.directory(request(DATE))}/{runs.SUCCESS_FILE}"
    night.cloud.gcs.store.write(place, b"{" + b" " * 300_000)
    ended = execute(QUICK)
    assert ended.result, ended.log
    assert ended.result["counts"] == {}


@needs_python
@pytest.mark.parametrize("date", ["2026-11-24", "today", "20261324x"])
def test_a_date_of_another_form_is_refused(date: str, night: Night, execute: Callable[..., Execution]) -> None:
    ended = execute({"date": date})
    assert "it must be YYYYMMDD" in ended.log
    assert not night.dataflow.launches


@needs_python
def test_the_workflow_fits_the_schema_and_its_expressions_the_service() -> None:
    check(yaml.safe_load(WORKFLOW.read_text()))


DAMAGE = {
    "an unknown key of a step": ("        retry: ${http.default_retry}\n", "        retries: 5\n"),
    "a step without a list": ("    - read_settings:\n        assign:\n", "    - read_settings:\n      assign:\n"),
    "a function of another language": ("${started_at + deadline_s}", "${sum([started_at, deadline_s])}"),
    "a jump to nowhere": ("next: look", "next: looks"),
    "a call of nothing": ("call: wait_for_job", "call: wait_for_the_job"),
    "an argument that is not taken": ("args: {name:", "args: {job_name:"),
}


@needs_python
@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_workflow_is_found(name: str) -> None:
    whole, damaged = DAMAGE[name]
    text = WORKFLOW.read_text()
    assert whole in text
    with pytest.raises((AssertionError, jsonschema.ValidationError, yaml.YAMLError)):
        check(yaml.safe_load(text.replace(whole, damaged, 1)))


def check(workflow: dict[str, Any]) -> None:
    """Checks the form by SchemaStore's schema (in the emulator's wheel); jumps, calls and expressions by the manual."""
    schema = environments.packages("workflows") / "workflows_emulator/workflow-schema.json"
    jsonschema.validate(workflow, json.loads(schema.read_text()))
    for name, part in workflow.items():
        steps = [step for found in _dicts(part) if (step := found.get("steps"))]
        names = {label for listed in steps for step in listed for label in step}
        for found in _dicts(part):
            assert found.get("next", "end") in {*names, "end", "continue", "break"}, (name, found["next"])
            callee = found.get("call", "sys.log")
            assert callee in workflow or callee in ("http.get", "http.post", "sys.log", "sys.sleep"), callee
            if callee in workflow:
                assert set(found["args"]) == set(workflow[callee]["params"]), callee
    for text in _texts(workflow):
        for expression in re.findall(r"\$\{(.*)\}", text):
            check_expression(expression)


def check_expression(expression: str) -> None:
    """Checks one expression: of the service's length, operators and functions."""
    assert len(expression) <= 400, f"the service takes 400 characters: {expression}"
    tree = ast.parse(expression, mode="eval")
    for node in ast.walk(tree):
        assert isinstance(node, NODES), f"{type(node).__name__} in {expression}"
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) in FUNCTIONS, expression


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _dicts(part)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(part)


def _today() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d")
