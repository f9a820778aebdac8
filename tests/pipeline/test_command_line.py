"""The command as a user meets it in a shell."""

import subprocess
import sys
from pathlib import Path

import pytest


def yamnet_beam(*words: str, check: bool = False) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "pipeline", *words], capture_output=True, text=True, check=check)


def test_help_loads_neither_beam_nor_tensorflow_nor_numpy() -> None:
    script = (
        "import sys; from pipeline.__main__ import main\n"
        "try: main(['embed', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'apache_beam', 'tensorflow', 'numpy', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--max_failure_ratio" in done.stdout


def test_importing_the_api_needs_no_network_and_no_tensorflow() -> None:
    script = "import sys; from pipeline import YamnetEncoder, Yamnet2Vec; YamnetEncoder(); Yamnet2Vec()\n"
    script += "sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["embed"], "give --input"),
        (["embed", "--input", "a.wav"], "give --output"),
        (["embed", "--input", ".", "--output", "o"], "is a folder"),
        (["embed", "--input", "@nolist.txt", "--output", "o"], "there is no list"),
        (["model", "info", "--forse"], "unknown flag --forse"),
        (["embed", "--rows", "all"], "invalid choice"),
    ],
)
def test_usage_errors_exit_2_and_name_the_cure(words: list[str], says: str) -> None:
    done = yamnet_beam(*words)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_no_model_exits_1_and_says_how_to_make_one(tmp_path: Path) -> None:
    done = yamnet_beam("embed", "--input", "a.wav", "--output", str(tmp_path), "--model", str(tmp_path))
    assert done.returncode == 1
    assert "model fetch" in done.stderr
