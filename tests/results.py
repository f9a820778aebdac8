"""What a run of the embed command left, as its user finds it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Result:
    """What a run of the command left."""

    code: int
    directory: Path

    @property
    def manifest(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.directory / "manifest.json").read_text())
        return content

    @property
    def is_committed(self) -> bool:
        return (self.directory / "_SUCCESS").exists()

    @property
    def letters(self) -> list[dict[str, Any]]:
        files = sorted(self.directory.glob("dead_letters-*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def table(self, kind: str = "clips") -> pa.Table:
        """The rows of one kind in the order of their clips."""
        names = sorted(output["path"] for output in self.manifest["outputs"] if output["format"] == "parquet")
        tables = [pq.read_table(self.directory / name) for name in names if name.startswith(f"{kind}-")]
        order = [("uri", "ascending")] if kind == "clips" else [("clip_id", "ascending"), ("patch_index", "ascending")]
        return pa.concat_tables(tables).sort_by(order)

    def vectors(self, column: str, kind: str = "clips") -> np.ndarray:
        """A vector column as float32 [num_rows, size]."""
        rows = self.table(kind)[column].combine_chunks()
        return rows.flatten().to_numpy().reshape(len(rows), -1)


Embed = Callable[..., Result]
