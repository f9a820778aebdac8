"""A long recording needs no more memory than a short clip plus a constant, and gives the rows of the whole."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sounds
from results import Result

from pipeline.encoder import YamnetEncoder

pytestmark = pytest.mark.slow

MORE_BYTES = 256 << 20
SCRIPT = """
import resource, sys
from pipeline.__main__ import main
code = main(["embed", "--input", sys.argv[1], "--output", sys.argv[2], "--model", sys.argv[3]])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
sys.exit(code)
"""


def peak_bytes(clip: Path, output: Path, model_directory: str) -> int:
    command = [sys.executable, "-c", SCRIPT, str(clip), str(output), model_directory]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.rsplit("peak ", 1)[1])


def test_half_an_hour_equals_the_whole_in_bounded_memory(tmp_path: Path, model_directory: str) -> None:
    loudness = np.abs(np.sin(np.arange(1800 * 16_000) / 500_000)).astype(np.float32)
    waveform = sounds.noise(1800.0, seed=3) * loudness
    short, long = tmp_path / "short.flac", tmp_path / "long.flac"
    short.write_bytes(sounds.sound_file(waveform[:160_000], file_format="FLAC"))
    long.write_bytes(sounds.sound_file(waveform, file_format="FLAC"))
    base = peak_bytes(short, tmp_path / "a", model_directory)
    assert peak_bytes(long, tmp_path / "b", model_directory) - base <= MORE_BYTES
    result = Result(0, next((tmp_path / "b").glob("run=*")))
    whole = YamnetEncoder(model_directory).embed(long)
    assert result.table()["num_patches"].to_pylist() == [len(whole.embeddings)] == [3749]
    np.testing.assert_allclose(result.vectors("scores")[0], whole.pooled_scores, atol=1e-6)
    np.testing.assert_allclose(result.vectors("embedding")[0], whole.pooled, atol=1e-6)
