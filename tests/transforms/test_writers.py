"""The file formats, read back by others."""

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms import writers
from transforms.records import Row
from transforms.schemas import CLIP_FIELDS, DEAD_LETTER_FIELDS, PATCH_FIELDS
from transforms.writers import FileWriter, WrittenFile

CLASS_NAMES = [f"Class {number}" for number in range(521)]


def writer_in(folder: Path, file_format: str, fields=CLIP_FIELDS, kind: str = "clips") -> FileWriter:
    return FileWriter(
        str(folder), f"{kind}-0123", kind=kind, file_format=file_format, fields=fields, class_names=CLASS_NAMES
    )


def write(rows: list[Row], folder: Path, file_format: str, fields=CLIP_FIELDS, kind: str = "clips") -> WrittenFile:
    writer = writer_in(folder, file_format, fields, kind)
    for row in rows:
        writer.write(row)
    return writer.close()


@pytest.fixture(scope="module")
def rows(make_rows) -> list[Row]:
    """Clips in their order by peak, with vectors of their own."""
    return [{**row, "peak": float(number)} for number, row in enumerate(make_rows(CLIP_FIELDS, 250))]


@pytest.fixture(scope="module")
def parquet(rows, tmp_path_factory) -> Iterator[WrittenFile]:
    """The rows in three groups."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writers, "GROUP_ROWS", 100)
        yield write(rows, tmp_path_factory.mktemp("parquet"), "parquet")


def test_a_written_file_says_what_it_is(rows, parquet):
    path = Path(parquet.uri)
    assert path.name == "clips-0123.parquet"
    assert parquet == WrittenFile("clips", "parquet", str(path), len(rows), path.stat().st_size)
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_pyarrow_reads_the_same_numbers(rows, parquet):
    table = pq.read_table(parquet.uri)
    assert table.num_rows == len(rows)
    assert table.column("clip_id").to_pylist() == [row["clip_id"] for row in rows]
    assert table.column("source_version").to_pylist() == [row["source_version"] for row in rows]
    assert table.column("processed_at").to_pylist() == [row["processed_at"] for row in rows]
    for name, size in (("embedding", 1024), ("scores", 521), ("scores_max", 521)):
        assert table.schema.field(name).type == pa.list_(pa.float32(), size)
        found = table.column(name).combine_chunks().flatten().to_numpy().reshape(-1, size)
        np.testing.assert_array_equal(found, np.stack([row[name] for row in rows]))


def test_pandas_reads_the_same_numbers(rows, parquet):
    frame = pd.read_parquet(parquet.uri)
    assert list(frame.columns) == [field.name for field in CLIP_FIELDS]
    np.testing.assert_array_equal(np.stack(frame["embedding"]), np.stack([row["embedding"] for row in rows]))
    assert frame["peak"].tolist() == [row["peak"] for row in rows]


def test_duckdb_reads_the_same_numbers(rows, parquet):
    query = "SELECT clip_id, embedding, len(scores), top_classes[1].name FROM read_parquet(?) ORDER BY peak"
    with duckdb.connect() as database:
        found = database.execute(query, [parquet.uri]).fetchall()
    assert [row[0] for row in found] == [row["clip_id"] for row in rows]
    np.testing.assert_array_equal(
        np.array([row[1] for row in found], np.float32), np.stack([r["embedding"] for r in rows])
    )
    assert {row[2] for row in found} == {521}
    assert [row[3] for row in found] == [r["top_classes"][0]["name"] if r["top_classes"] else None for r in rows]


def test_parquet_is_zstd_with_class_names_and_groups_of_bounded_size(parquet):
    metadata = pq.read_metadata(parquet.uri)
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [100, 100, 50]
    columns = [metadata.row_group(0).column(n) for n in range(metadata.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    assert "embedding.list.element" in {column.path_in_schema for column in columns}
    assert json.loads(pq.read_schema(parquet.uri).metadata[b"class_names"]) == CLASS_NAMES


def test_json_lines_hold_every_column_of_a_letter(make_rows, tmp_path):
    letters = make_rows(DEAD_LETTER_FIELDS, 3)
    file = write(letters, tmp_path, "jsonl", DEAD_LETTER_FIELDS, "dead_letters")
    lines = Path(file.uri).read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    assert [json.loads(line) for line in lines] == letters


def test_a_name_that_is_no_utf8_does_not_break_a_letter(make_rows, tmp_path):
    letter = {**make_rows(DEAD_LETTER_FIELDS, 1)[0], "uri": b"/a/\xff.wav".decode("utf-8", "surrogateescape")}
    file = write([letter], tmp_path, "jsonl", DEAD_LETTER_FIELDS, "dead_letters")
    assert json.loads(Path(file.uri).read_text(encoding="utf-8"))["uri"] == letter["uri"]


@pytest.mark.parametrize("file_format", ["parquet", "jsonl", pytest.param("tfrecord", marks=pytest.mark.slow)])
def test_a_writer_that_is_abandoned_leaves_nothing(make_rows, tmp_path, monkeypatch, file_format):
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    fields = DEAD_LETTER_FIELDS if file_format == "jsonl" else PATCH_FIELDS
    writer = writer_in(out, file_format, fields)
    for row in make_rows(fields, 3):
        writer.write(row)
    assert not out.exists()
    writer.abandon()
    assert not out.exists()
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("file_format", ["parquet", "jsonl"])
def test_a_writer_without_rows_leaves_a_readable_file(tmp_path, file_format):
    file = write([], tmp_path, file_format, DEAD_LETTER_FIELDS)
    assert file.num_rows == 0
    if file_format == "parquet":
        assert pq.read_table(file.uri).num_rows == 0
    else:
        assert Path(file.uri).read_bytes() == b""


@pytest.fixture(scope="module")
def tfrecord(rows, tmp_path_factory) -> WrittenFile:
    return write(rows, tmp_path_factory.mktemp("tfrecord"), "tfrecord")


@pytest.mark.slow
def test_tensorflow_parses_the_same_numbers(rows, tfrecord):
    import tensorflow as tf

    assert tfrecord.uri.endswith("clips-0123.tfrecord.gz")
    features = {
        "clip_id": tf.io.FixedLenFeature([], tf.string),
        "source_version": tf.io.VarLenFeature(tf.string),
        "embedding": tf.io.FixedLenFeature([1024], tf.float32),
        "scores": tf.io.FixedLenFeature([521], tf.float32),
        "truncated": tf.io.FixedLenFeature([], tf.int64),
        "processed_at": tf.io.FixedLenFeature([], tf.int64),
        "top_classes/name": tf.io.RaggedFeature(tf.string),
    }
    records = list(tf.data.TFRecordDataset(tfrecord.uri, compression_type="GZIP").as_numpy_iterator())
    parsed = tf.io.parse_example(records, features)
    assert parsed["clip_id"].numpy().tolist() == [row["clip_id"].encode() for row in rows]
    np.testing.assert_array_equal(parsed["embedding"].numpy(), np.stack([row["embedding"] for row in rows]))
    np.testing.assert_array_equal(parsed["scores"].numpy(), np.stack([row["scores"] for row in rows]))
    assert parsed["truncated"].numpy().tolist() == [int(row["truncated"]) for row in rows]
    assert parsed["processed_at"].numpy()[7] == round(rows[7]["processed_at"].timestamp() * 1e6)
    names = [[item["name"].encode() for item in row["top_classes"]] for row in rows]
    assert parsed["top_classes/name"].to_list() == names
    assert int(tf.size(parsed["source_version"].values)) == 125


@pytest.mark.slow
def test_tfx_reads_the_same_numbers(rows, tfrecord):
    import tensorflow as tf
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    records = list(tf.data.TFRecordDataset(tfrecord.uri, compression_type="GZIP").as_numpy_iterator())
    batch = ExamplesToRecordBatchDecoder().DecodeBatch(records)
    embeddings = batch.column(batch.schema.get_field_index("embedding")).flatten().to_numpy()
    np.testing.assert_array_equal(embeddings.reshape(-1, 1024), np.stack([row["embedding"] for row in rows]))
    clip_ids = batch.column(batch.schema.get_field_index("clip_id")).to_pylist()
    assert clip_ids == [[row["clip_id"].encode()] for row in rows]
