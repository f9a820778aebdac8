"""Writes the schemas of BigQuery's tables from the product's columns: `python deploy/terraform/schemas.py`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from transforms import schemas  # the project need not be installed

TABLES = {"clips": schemas.CLIP_FIELDS, "patches": schemas.PATCH_FIELDS}


def files() -> Iterator[tuple[Path, str]]:
    """Each file and what has to be in it."""
    for name, fields in TABLES.items():
        columns = json.dumps(schemas.bigquery_schema(fields), indent=2) + "\n"
        yield Path(__file__).parent / f"schemas/{name}.json", columns


if __name__ == "__main__":
    for path, content in files():
        path.write_text(content)
