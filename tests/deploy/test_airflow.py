"""The DAG of the nightly refresh, loaded and run by Airflow against Dataflow and storage on loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deploy import environments, nights
from tests.deploy.nights import Night
from tests.deploy.refresh_definition import DEPLOY, REGION, VALUES, request, undated

pytestmark = pytest.mark.slow
needs_python = pytest.mark.needs(None if sys.version_info >= (3, 11) else "the pinned Airflow needs Python 3.11")

DAG = DEPLOY / "airflow/yamnet_refresh.py"
PROGRAM = Path(__file__).with_name("run_dag.py")
PYTHON = os.path.realpath(sys.executable)  # without the project's packages, which do not go with Airflow's

GOOD, REFUSED, FAILED = "20261124", "20261125", "20261126"  # nights, by what becomes of them

DAMAGE = {
    "an argument that the operator has not": ("append_job_name=False", "append_name=False"),
    "an import that is not there": ("DataflowStartFlexTemplateOperator\n", "DataflowStartTemplate\n"),
    "a request made while it loads": (
        'VARIABLE = "yamnet_refresh"\n',
        'import urllib.request\n\nVARIABLE = urllib.request.urlopen("http://127.0.0.1:9").read()\n',
    ),
}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder with a DAG for each damage."""
    folders = {}
    for name, (whole, broken) in DAMAGE.items():
        folders[name] = tmp_path_factory.mktemp("dags")
        text = DAG.read_text()
        assert whole in text
        (folders[name] / "yamnet_refresh.py").write_text(text.replace(whole, broken, 1))
    return folders


@pytest.fixture(scope="module")
def seen(damaged: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow saw in the folders, and how the nights went: a good one twice, one refused, one redone."""
    variable = {"project": VALUES["project"], "region": REGION, "request": json.loads(undated())}
    airflow = {
        "PYTHONPATH": str(environments.packages("airflow")),
        "PYTHONNOUSERSITE": "1",
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAG.parent),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW_VAR_YAMNET_REFRESH": json.dumps(variable),
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": "google-cloud-platform://",
    }
    asked = {
        "folders": [str(folder) for folder in [DAG.parent, *damaged.values()]],
        "dates": [GOOD, GOOD, REFUSED, FAILED, FAILED],
    }
    with nights.night() as night:
        night.dataflow.work = lambda launched: _becomes(launched, night)
        env = night.cloud.environ | airflow
        subprocess.run([PYTHON, "-m", "airflow", "db", "migrate"], env=env, check=True, capture_output=True)
        ended = subprocess.run(
            [PYTHON, "-W", "ignore", PROGRAM, json.dumps(asked)], env=env, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        assert not night.cloud.refused, "the DAG asked a host that it should not need"
        said: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        return said | {"launches": night.dataflow.launches, "log": ended.stdout + ended.stderr}


def _becomes(launched: dict[str, Any], night: Night) -> str:
    """The work of a night."""
    is_first = night.dataflow.launches.count(launched) == 1
    if launched == request(REFUSED):
        return nights.is_refused(launched)
    return nights.fails(launched) if launched == request(FAILED) and is_first else nights.commits(launched)


@needs_python
def test_the_dag_loads_without_reaching_for_anything(seen: dict[str, Any]) -> None:
    loaded = seen["loads"][str(DAG.parent)]
    assert loaded["errors"] == {}
    assert loaded["reached"] == []
    assert loaded["deferrable"] == ["launch"]
    assert loaded["tasks"]["launch"] == {"retries": 3, "after": ["make_request"]}
    assert loaded["tasks"]["check_run"] == {"retries": 0, "after": ["launch", "make_request"]}


@needs_python
def test_a_night_sends_the_request_of_the_definition_and_passes_the_gate(seen: dict[str, Any]) -> None:
    assert seen["launches"][0] == request(GOOD)
    assert seen["runs"][0] == {
        "state": "success",
        "tasks": {"make_request": "success", "launch": "success", "check_run": "success"},
        "counts": {"listed": 300, "embedded": 0, "dead": 6, "unchanged": 294},
    }


@needs_python
def test_a_second_run_for_the_date_launches_nothing(seen: dict[str, Any]) -> None:
    assert seen["runs"][1]["state"] == "success"
    assert seen["runs"][1]["tasks"]["launch"] == "skipped"
    assert seen["launches"].count(request(GOOD)) == 1


@needs_python
def test_a_run_that_the_gate_refuses_fails_the_dag(seen: dict[str, Any]) -> None:
    assert seen["runs"][2]["state"] == "failed"
    assert seen["runs"][2]["tasks"] == {"make_request": "success", "launch": "success", "check_run": "failed"}
    assert "30 of 300 clips are dead" in seen["log"]


@needs_python
def test_a_job_that_fails_fails_the_dag_and_the_next_try_reuses_the_run_id(seen: dict[str, Any]) -> None:
    assert seen["runs"][3]["tasks"]["launch"] == "failed"
    assert [run["state"] for run in seen["runs"][3:]] == ["failed", "success"]
    assert seen["launches"].count(request(FAILED)) == 2


@needs_python
@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_dag_is_found(name: str, seen: dict[str, Any], damaged: dict[str, Path]) -> None:
    loaded = seen["loads"][str(damaged[name])]
    assert loaded["errors"]
    assert bool(loaded["reached"]) == name.endswith("while it loads")
