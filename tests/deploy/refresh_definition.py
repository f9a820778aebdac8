"""The refresh as `deploy/refresh.json` defines it, its places filled in as Terraform does."""

import json
import string
from pathlib import Path
from typing import Any

DEPLOY = Path(__file__).parents[2] / "deploy"
DEFINITION = DEPLOY / "refresh.json"

VALUES = {
    "project": "test-project",
    "template": "gs://test-project-yamnet-templates/templates/yamnet-beam.json",
    "input": "gs://clips/**",
    "dataset_bucket": "test-project-yamnet-dataset",
    "temp_bucket": "test-project-yamnet-temp",
    "bigquery_dataset": "audio",
    "worker": "yamnet-worker@test-project.iam.gserviceaccount.com",
    "subnetwork": "regions/europe-west1/subnetworks/default",
}
REGION = "europe-west1"


def undated(values: dict[str, str] | None = None) -> str:
    """The request as text, its date still open, as every caller gets it.

    Raises:
        KeyError: The definition has a place that `values` does not fill.
    """
    return string.Template(DEFINITION.read_text()).substitute(values or VALUES)


def request(date: str) -> dict[str, Any]:
    """The launch request of a date, YYYYMMDD."""
    made: dict[str, Any] = json.loads(undated().replace("YYYYMMDD", date))
    return made
