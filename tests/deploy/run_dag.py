"""Load folders of DAGs with Airflow, and run the DAG of the first, as a program; prints what it saw as JSON.

run_dag.py '{"folders": ["..."], "dates": ["20261124"]}'. While a folder is loaded, whatever reaches for a network, a
database or another program is noted. One process for all of it: Airflow takes seconds to start.
"""

import json
import sys
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.utils.session import create_session

REACHES = ("socket.connect", "socket.getaddrinfo", "sqlite3.connect", "subprocess.Popen")


def main(folders: list[str], dates: list[str]) -> dict[str, Any]:
    """What the folders hold, and how the DAG ran."""
    reached: list[str] = []
    sys.addaudithook(lambda event, _: reached.append(event) if event in REACHES else None)
    loads = {}
    for folder in folders:
        reached.clear()
        bag = DagBag(dag_folder=folder)
        tasks = [task for dag in bag.dags.values() for task in dag.tasks]
        loads[folder] = {
            "errors": bag.import_errors,
            "reached": list(reached),
            "tasks": {
                task.task_id: {"retries": task.retries, "after": sorted(task.upstream_task_ids)} for task in tasks
            },
            "deferrable": [task.task_id for task in tasks if getattr(task, "deferrable", False)],
        }
    (dag,) = DagBag(dag_folder=folders[0]).dags.values()
    return {"loads": loads, "runs": [run(dag, date) for date in dates]}


def run(dag: Any, date: str) -> dict[str, Any]:
    """Run every task once, in this process: there is no triggerer, so the operator itself waits."""
    for task in dag.tasks:
        task.retries = 0
        if hasattr(task, "deferrable"):
            task.deferrable, task.wait_until_finished, task.poll_sleep = False, None, 0.05
    ended = dag.test(run_conf={"date": date})
    with create_session() as session:
        tasks = ended.get_task_instances(session=session)
        return {
            "state": str(ended.state),
            "tasks": {task.task_id: str(task.state) for task in tasks},
            "counts": next(task for task in tasks if task.task_id == "check_run").xcom_pull(
                "check_run", session=session
            ),
        }


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))
