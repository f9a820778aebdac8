"""The fixtures that many tests share."""

import datetime
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

from transforms import model_store
from transforms.audio import AudioFacts
from transforms.health import AudioHealth
from transforms.records import Row
from transforms.schemas import Field
from transforms.weights import TENSORS, Weights
from transforms.yamnet import Yamnet

# Shared machines pause for longer than hypothesis' deadline, and that proves nothing.
hypothesis.settings.register_profile("project", deadline=None, max_examples=50)
hypothesis.settings.load_profile("project")

# Assertions outside of tests tell their values, too.
pytest.register_assert_rewrite("tests.engines.agreement", "tests.engines.rehearsal")

SLOW_MODULE = "\npytestmark = pytest.mark.slow\n"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves modules of slow tests unread under `-m "not slow"`: importing Beam alone takes six seconds."""
    is_fast = config.option.markexpr == "not slow" and collection_path.suffix == ".py"
    return True if is_fast and SLOW_MODULE in collection_path.read_text() else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test marked needs(WHAT IS MISSING AND HOW TO GET IT); CI has all that tests need, so it fails there."""
    for mark in item.iter_markers("needs"):
        if missing := mark.args[0]:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)


MakeRows = Callable[[Sequence[Field], int], list[Row]]


@pytest.fixture(scope="session")
def model_directory() -> str:
    """The default model directory, fetched at the first use of all."""
    return model_store.resolve(None)


@pytest.fixture(scope="session")
def published_weights(model_directory: str) -> Weights:
    """The tensors that Google published."""
    return model_store.load_weights(model_directory)


@pytest.fixture(scope="session")
def random_weights() -> Weights:
    """Tensors of YAMNet's shapes that compute nothing in particular."""
    rng = np.random.default_rng(1)
    return {tensor.name: rng.standard_normal(tensor.shape, np.float32) for tensor in TENSORS}


@pytest.fixture(scope="session")
def model(model_directory: str) -> Yamnet:
    """YAMNet, loaded once for all tests."""
    return model_store.load(model_directory)


@pytest.fixture(scope="session")
def facts() -> AudioFacts:
    """What decoding may tell of a clip of two seconds."""
    health = AudioHealth(peak=0.5, rms_db=-9.0, clipped_fraction=0.0, silent_fraction=0.25, bandwidth_hz=4000.0)
    return AudioFacts(
        duration_s=2.0, sample_rate_hz=44_100, num_channels=2, num_samples=32_000, truncated=False, health=health
    )


@pytest.fixture(scope="session")
def make_rows() -> MakeRows:
    """Makes rows of any fields, each value another, the optional ones missing in every second row."""
    return lambda fields, count: [_row(fields, number) for number in range(count)]


def _row(fields: Sequence[Field], number: int) -> Row:
    return {
        field.name: None if field.optional and number % 2 else _value(field, number * len(fields) + index)
        for index, field in enumerate(fields)
    }


def _value(field: Field, seed: int) -> Any:
    values = {
        "string": f"{field.name} {seed}: ü ☃ \U0001f600",
        "int": 2**40 + seed,
        "float": seed + 1 / 3,
        "bool": seed % 2 == 0,
        "timestamp": datetime.datetime(2026, 11, 22, 20, 0, 0, seed, tzinfo=datetime.timezone.utc),
        "vector": np.random.RandomState(seed).standard_normal(field.size).astype(np.float32),
        "classes": [
            {"index": i, "mid": f"/m/{i}", "name": f"Class {i}", "score": 1 / (i + 2)} for i in range(seed % 4)
        ],
    }
    return values[field.kind]
