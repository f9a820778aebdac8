"""The benchmark itself: it runs, and its figures hang together."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
pytest.importorskip("librosa", reason="the peer of the benchmark needs librosa: make bench installs it")

STAGES = {"fetch", "read", "decode", "downmix", "health", "resample", "log_mel", "network", "pool", "encode", "beam"}


def test_the_smallest_benchmark_measures_and_reports(tmp_path: Path) -> None:
    script = Path(__file__).parent / "run.py"
    done = subprocess.run(
        [sys.executable, script, "--tiny", "--output", tmp_path], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads((tmp_path / "results.json").read_text())
    contest = results["contests"]["1 s FLAC"]
    ours, naive = contest["float32"], contest["naive"]
    assert set(ours["stages_ms"]) >= STAGES
    explained_ms = sum(stage["median"] for stage in ours["stages_ms"].values())
    assert ours["explained"] == pytest.approx(explained_ms / ours["wall_ms"]["median"])
    assert ours["over_naive"]["median"] == pytest.approx(naive["wall_ms"]["median"] / ours["wall_ms"]["median"])
    assert results["gflops"]["tensorflow_float32"] > 1
    assert 0 < results["start_up"]["first_row_s"] < results["start_up"]["end_s"]
    slow, fast = (results["overlap"][f"{word}_ms"]["median"] for word in ("slow", "fast"))
    assert results["overlap"]["throughput_ratio"]["median"] == pytest.approx(fast / slow)
    (night,) = results["planning"]
    assert night["clips"] == 1000
    assert 0 < night["cpu_seconds"] < night["seconds"]
    assert all(set(bar) == {"figure", "value", "sense", "bound", "met"} for bar in results["bars"])
    report = (tmp_path / "results.md").read_text()
    assert report.strip() == done.stdout.strip()
    assert all(f"| {stage} " in report for stage in STAGES)
    assert results["machine"]["processor"] in report
