"""A dataset in BigQuery as its users find it, and a way to make BigQuery fail."""

from dataclasses import dataclass
from typing import Any

from tests.servers.faults import Fault, Faults

DATASET = "test-project.audio"


@dataclass(frozen=True)
class Tables:
    """The tables of `DATASET`.

    Attributes:
      client: BigQuery's own.
      faults: of its answers.
    """

    client: Any
    faults: Faults

    def ask(self, sql: str) -> list[dict[str, Any]]:
        """The rows that a statement gives."""
        return [dict(row.items()) for row in self.client.query_and_wait(sql)]

    def names(self) -> set[str]:
        """The tables and views that there are."""
        return {table.table_id for table in self.client.list_tables(DATASET)}

    def inject(self, path: str, **settings: Any) -> Fault:
        """Lets requests fail; see `Fault`, and `bigquery_faults` for what a path looks like."""
        return self.faults.add(Fault(path=path, **settings))
