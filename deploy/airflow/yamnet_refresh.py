"""The nightly refresh as an Airflow DAG: launches the Flex Template for a date, passes or fails on what the run left.

It does what deploy/workflows/refresh.yaml does: use one of them. Its one setting is the Airflow variable
yamnet_refresh, which Terraform prints (`terraform output -raw airflow_variable`): project, region and the request of
deploy/refresh.json, its date still open as YYYYMMDD. Nothing is read when this file is.
"""

import datetime
import json
from typing import Any

from airflow.providers.google.cloud.hooks.gcs import GCSHook
from airflow.providers.google.cloud.operators.dataflow import DataflowStartFlexTemplateOperator
from airflow.sdk import CronTriggerTimetable, Param, Variable, dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

VARIABLE = "yamnet_refresh"


class RefreshOperator(DataflowStartFlexTemplateOperator):
    """Launches the template unless the run is committed.

    Its launcher would find nothing to do then, and send no job, which Dataflow takes for a failure.
    """

    def execute(self, context: Any) -> Any:
        """Launches, and waits in the triggerer."""
        if _read(self.body, "_SUCCESS") is not None:
            raise AirflowSkipException("the run is committed")
        return super().execute(context)


@task
def make_request(dag_run: Any = None, params: Any = None) -> dict[str, Any]:
    """The launch request of the date: that of `params`, or the day of the run (UTC). A retry has the same run_id."""
    date = params["date"] or (dag_run.logical_date or dag_run.run_after).strftime("%Y%m%d")
    settings = json.loads(Variable.get(VARIABLE).replace("YYYYMMDD", date))
    return dict(settings["request"])


@task(trigger_rule="all_done", retries=0)
def check_run(request: dict[str, Any]) -> dict[str, int]:
    """The gate: returns the counts of a committed run, whatever became of the job; fails with the reason otherwise."""
    manifest = _read(request, "_SUCCESS")
    if manifest is None:
        refused = (_read(request, "manifest.json") or {}).get("refused")
        raise AirflowFailException(f"the run is not committed: {refused or 'it left no manifest; see the job'}")
    return {name: manifest[name] for name in ("listed", "embedded", "dead", "unchanged")}


def _read(request: dict[str, Any], name: str) -> dict[str, Any] | None:
    """What a file of the run says; None if it is not there."""
    parameters = request["launchParameter"]["parameters"]
    bucket, _, folder = parameters["output"].removeprefix("gs://").partition("/")
    place = f"{folder}/run={parameters['run_id']}/{name}"
    hook = GCSHook()
    if not hook.exists(bucket, place):
        return None
    content: dict[str, Any] = json.loads(hook.download(bucket, place))
    return content


@dag(
    schedule=CronTriggerTimetable("0 2 * * *", timezone="UTC"),
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
    catchup=False,  # a refresh brings all days before it
    max_active_runs=1,
    params={"date": Param("", type="string", pattern="^(20[0-9]{6})?$", description="YYYYMMDD; empty: today")},
    default_args={
        "retries": 3,
        "retry_delay": datetime.timedelta(minutes=10),
        "retry_exponential_backoff": True,
    },
    tags=["yamnet-beam"],
    doc_md=__doc__,
)
def yamnet_refresh() -> None:
    """Request, job, gate."""
    request = make_request()
    launched = RefreshOperator(
        task_id="launch",
        body=request,
        project_id="{{ var.json.yamnet_refresh.project }}",
        location="{{ var.json.yamnet_refresh.region }}",
        append_job_name=False,  # Dataflow refuses a second active job of the name
        deferrable=True,
        poll_sleep=60,
        execution_timeout=datetime.timedelta(hours=20),
    )
    launched >> check_run(request)


yamnet_refresh()
