"""The workflow of the nightly refresh, run by an emulator as Google's Workflows would run it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy import environments
from tests.deploy.refresh_definition import DEPLOY, REGION, VALUES, undated
from tests.servers.cloud import Cloud

WORKFLOW = DEPLOY / "workflows/refresh.yaml"
PROGRAM = Path(__file__).with_name("run_workflow.py")


@dataclass(frozen=True)
class Execution:
    """How an execution ended."""

    result: dict[str, Any] | None
    log: str


def unavailable() -> str | None:
    """Return why the emulator cannot run on this machine, for a test to skip with, or None."""
    return None if sys.version_info >= (3, 11) else "the emulator of Workflows needs Python 3.11"


def execute(cloud: Cloud, argument: dict[str, Any], file: Path = WORKFLOW) -> Execution:
    """Run the workflow, or another file, with an argument, and the variables that Terraform sets."""
    variables = {"PROJECT": VALUES["project"], "REGION": REGION, "TOPIC": "yamnet-refresh", "REQUEST": undated()}
    emulator = str(environments.packages("workflows"))
    path = os.pathsep.join([emulator, *filter(None, [os.environ.get("PYTHONPATH")])])
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", PROGRAM, file, json.dumps(argument)],
        env=cloud.environ | variables | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return Execution(json.loads(ended.stdout) if ended.returncode == 0 else None, ended.stderr)
