"""Nothing is lost: 200 clips of which 20 are broken in different ways, and what every reader sees of them."""

import json
from pathlib import Path

import broken
import duckdb
import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pytest
from results import Embed, Result

from pipeline import run
from transforms import engine, schemas
from transforms.schemas import CLIP_FIELDS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, mixed_files: Path, model_directory: str) -> Result:
    from pipeline.options import EmbedOptions

    output = tmp_path_factory.mktemp("dataset")
    options = EmbedOptions(
        input=(f"{mixed_files}/good/**", f"{mixed_files}/broken/*"),
        output=str(output),
        sink=("parquet", "tfrecord"),
        model=model_directory,
        max_duration_s=broken.MAX_DURATION_S,
        max_bytes=broken.MAX_BYTES,
    )
    code = run.embed(options)
    return Result(code, next(output.glob("run=*")))


def test_180_rows_and_20_letters_are_a_success(result: Result) -> None:
    assert result.code == run.DONE
    assert result.is_committed
    manifest = result.manifest
    assert [manifest[word] for word in ("listed", "embedded", "dead", "unchanged")] == [200, 180, 20, 0]
    assert result.table().num_rows == 180
    assert len(result.letters) == 20


def test_each_letter_says_stage_code_and_message(result: Result) -> None:
    found = {Path(letter["uri"]).name: (letter["stage"], letter["code"]) for letter in result.letters}
    assert found == {name: (stage, code) for name, (_, stage, code) in broken.FILES.items()}
    for letter in result.letters:
        assert set(letter) == {field.name for field in schemas.DEAD_LETTER_FIELDS}
        assert len(letter["message"]) > 10
        assert "Traceback" not in letter["message"]


def test_the_manifest_counts_what_the_files_hold(result: Result) -> None:
    manifest = result.manifest
    codes = [code for _, _, code in broken.FILES.values()]
    assert manifest["dead_by_code"] == {code: codes.count(code) for code in set(codes)}
    assert manifest["num_patches"] == sum(result.table()["num_patches"].to_pylist())
    assert manifest["audio_hours"] == pytest.approx(sum(result.table()["duration_s"].to_pylist()) / 3600)
    for output in manifest["outputs"]:
        assert (result.directory / output["path"]).stat().st_size == output["bytes"]
    listed = {output["path"] for output in manifest["outputs"]} | {"manifest.json", "_SUCCESS"}
    assert {path.name for path in result.directory.iterdir()} == listed
    assert json.loads((result.directory / "_SUCCESS").read_text()) == manifest


def test_pandas_duckdb_and_pyarrow_read_the_same_wide_vectors(result: Result) -> None:
    files = [str(path) for path in sorted(result.directory.glob("clips-*.parquet"))]
    arrow = ds.dataset(files).to_table()
    frame = pd.concat([pd.read_parquet(file) for file in files])
    duck = duckdb.sql(f"SELECT clip_id, embedding, scores FROM read_parquet({files})").fetchall()
    assert arrow.schema.field("embedding").type.list_size == 1024
    by_id = {row["clip_id"]: row for row in arrow.select(["clip_id", "embedding", "scores"]).to_pylist()}
    assert len(by_id) == 180
    assert {len(vector) for vector in frame["embedding"]} == {1024}
    assert {len(vector) for vector in frame["scores"]} == {521}
    for clip_id, embedding, scores in duck:
        assert list(embedding) == by_id[clip_id]["embedding"]
        assert list(scores) == by_id[clip_id]["scores"]
    assert json.loads(arrow.schema.metadata[b"class_names"])[0] == "Speech"


def test_tensorflow_and_tfxio_read_the_same_numbers_from_tfrecords(result: Result) -> None:
    tf = engine.tensorflow()
    files = [str(path) for path in sorted(result.directory.glob("clips-*.tfrecord.gz"))]
    records = tf.data.TFRecordDataset(files, compression_type="GZIP")
    parsed = [tf.io.parse_single_example(record, schemas.example_spec(CLIP_FIELDS)) for record in records]
    expected = {row["clip_id"]: row for row in result.table().to_pylist()}
    assert len(parsed) == 180
    for example in parsed:
        row = expected[example["clip_id"].numpy().decode()]
        np.testing.assert_array_equal(example["embedding"].numpy(), np.float32(row["embedding"]))
        np.testing.assert_array_equal(example["scores"].numpy(), np.float32(row["scores"]))
        assert example["uri"].numpy().decode() == row["uri"]
        names = [name.decode() for name in example["top_classes/name"].numpy()]
        assert names == [found["name"] for found in row["top_classes"]]


def test_tfxio_reads_the_records_as_arrow(result: Result) -> None:
    import apache_beam as beam
    from apache_beam.testing.util import assert_that, equal_to
    from tfx_bsl.public import tfxio

    pattern = str(result.directory / "clips-*.tfrecord.gz")
    expected = sorted((row["clip_id"], row["num_patches"]) for row in result.table().to_pylist())

    def pairs(batch: object) -> list[tuple[str, int]]:
        columns = batch.to_pydict()  # type: ignore[attr-defined]
        ids = [value[0].decode() for value in columns["clip_id"]]
        return list(zip(ids, [value[0] for value in columns["num_patches"]], strict=True))

    with beam.Pipeline(runner="FnApiRunner") as root:
        source = tfxio.TFExampleRecord(file_pattern=pattern, telemetry_descriptors=["test"])
        assert_that(root | source.BeamSource() | beam.FlatMap(pairs), equal_to(expected))


def test_the_same_command_again_has_nothing_to_do(
    result: Result, mixed_files: Path, model_directory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline.options import EmbedOptions

    options = EmbedOptions(
        input=(f"{mixed_files}/good/**", f"{mixed_files}/broken/*", f"{mixed_files}/broken/*"),
        output=str(result.directory.parent),
        sink=("parquet", "tfrecord"),
        model=model_directory,
        max_duration_s=broken.MAX_DURATION_S,
        max_bytes=broken.MAX_BYTES,
        run_id="again",
    )
    assert run.embed(options) == run.DONE
    again = Result(run.DONE, result.directory.parent / "run=again").manifest
    assert [again[word] for word in ("listed", "embedded", "dead", "unchanged")] == [200, 0, 0, 200]
    assert "Nothing new" in capsys.readouterr().out


def test_a_gate_of_five_percent_refuses_ten_percent_dead(mixed_files: Path, embed: Embed) -> None:
    result = embed([f"{mixed_files}/broken/t*"], max_failure_ratio=0.05, max_duration_s=30.0)
    assert result.code == run.REFUSED
    assert not result.is_committed
    assert "max_failure_ratio=0.05" in result.manifest["refused"]
