"""The errors of jobs on Flink, word for word as they were met, and what people are told."""

import pytest

from pipeline import portable
from transforms import errors

pytestmark = pytest.mark.slow

JOB = "Pipeline BeamApp-root-1124230219-2a84c282_f3cbfae0-8cd1-43ae-b861-29d79adc1b1c failed in state FAILED: "
BUFFERS = (
    "java.io.IOException: Insufficient number of network buffers: required 512, but only 110 available. The total "
    "number of network buffers is currently set to 8192 of 32768 bytes each."
)
STACK = """java.util.concurrent.ExecutionException: Error received from SDK harness: Traceback (most recent call last):
  File "transforms/embed.py", line 95, in run_inference
    results = iter(inference.embed_waveforms(model.network(), waveforms))
"""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            BUFFERS,
            "the job failed: java.io.IOException.* only 110 .*\nset taskmanager.network.sort-shuffle.min-buffers: 64",
        ),
        ("java.lang.IllegalStateException: Process died with exit code 1", "its Python must have this package"),
        ("java.lang.IllegalStateException: SDK harness closed connection", "several TaskManagers share one pool"),
        (f"{STACK}KeyError: 'uri' [while running 'ListClips/Expand']", "the job failed: KeyError: 'uri'"),
        ("", "the job failed: no reason given"),
    ],
)
def test_a_failed_job_says_why_and_what_to_do(error: str, words: str) -> None:
    known = portable.failure(RuntimeError(JOB + error), "night")
    assert isinstance(known, errors.RunError)
    with pytest.raises(errors.RunError, match=words):
        raise known
    assert str(known).endswith("Nothing of run night counts; run the command again")


def test_other_problems_are_left_alone() -> None:
    assert portable.failure(RuntimeError("a bug of ours"), "night") is None
