"""WriteBigQuery: rows in; out what of them BigQuery holds, in a table of this execution that the commit merges."""

from typing import Any

import apache_beam as beam

from transforms import schemas, staging, warehouse
from transforms.metrics import count
from transforms.records import Row
from transforms.warehouse import WarehouseTable
from transforms.wiring import Rows
from transforms.writers import WrittenFile


class WriteBigQuery(beam.PTransform):
    """From one or more collections of rows to one WrittenFile, also where there is no row, when all are loaded."""

    def __init__(self, table: WarehouseTable, *, temp_location: str | None) -> None:
        """Loads `table` by Avro files below `temp_location`, on gs://; None means Beam's own --temp_location."""
        super().__init__()
        self._table = table
        self._temp_location = temp_location

    def expand(self, sources: Rows) -> beam.PCollection[WrittenFile]:
        """Wires the transform."""
        table = sources[0].pipeline | "Table" >> beam.Create([self._table], reshuffle=False)
        # Made before the first row is asked for: trouble with permissions must not wait until all clips are embedded.
        ready = beam.pvalue.AsSingleton(table | "Prepare" >> beam.Map(_prepare))
        result = (
            tuple(sources)
            | "Merge" >> beam.Flatten()
            | "Check" >> beam.Map(_checked, self._table, ready)
            | "Load"
            >> beam.io.WriteToBigQuery(
                self._table.reference,
                schema={"fields": schemas.bigquery_schema(self._table.fields)},
                method=beam.io.WriteToBigQuery.Method.FILE_LOADS,
                temp_file_format="AVRO",
                custom_gcs_temp_location=self._temp_location,
                create_disposition=beam.io.BigQueryDisposition.CREATE_IF_NEEDED,
                write_disposition=beam.io.BigQueryDisposition.WRITE_EMPTY,
            )
        )
        # Job ids are given out before their jobs are done: only as side inputs do they wait for the end of the bundle.
        # Few files make one load job; more than 10 000, several, whose tables are then copied.
        jobs = result.destination_load_jobid_pairs, result.destination_copy_jobid_pairs
        return table | "Count" >> beam.Map(_count, ready, *(beam.pvalue.AsList(pairs) for pairs in jobs))


def _prepare(table: WarehouseTable) -> str:
    staging.prepare(table)
    return table.staging


def _checked(row: Row, table: WarehouseTable, _ready: str) -> Row:
    count("write_bigquery_in")
    return warehouse.checked(row, table.fields)


def _count(table: WarehouseTable, _ready: str, *_jobs: Any) -> WrittenFile:
    num_rows = staging.count(table)
    count("write_bigquery_out", num_rows)
    return WrittenFile(table.kind, warehouse.FORMAT, f"{warehouse.FORMAT}:{table.name}", num_rows, 0)
