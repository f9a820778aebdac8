"""The choice of the precision: by measuring, never by the processor's name."""

import pytest

from transforms import errors, precision

pytestmark = pytest.mark.slow


@pytest.fixture
def speedup(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "bfloat16_speedup", lambda: request.param)


@pytest.mark.parametrize("speedup", [0.53, 1.0, 1.05], indirect=True)
@pytest.mark.usefixtures("speedup")
def test_where_bfloat16_is_not_faster_auto_leaves_it_and_asking_for_it_is_refused_with_the_reason() -> None:
    assert precision.chosen_precision("auto") == precision.chosen_precision("float32") == "float32"
    with pytest.raises(
        errors.ModelError, match=r"is (0\.53|1\.00|1\.05) times as fast.*Take float32, or machines with AMX"
    ):
        precision.chosen_precision("bfloat16")


@pytest.mark.parametrize("speedup", [1.2, 3.0], indirect=True)
@pytest.mark.usefixtures("speedup")
def test_where_bfloat16_is_faster_auto_takes_it() -> None:
    assert precision.chosen_precision("auto") == precision.chosen_precision("bfloat16") == "bfloat16"
    assert precision.chosen_precision("float32") == "float32"


def test_the_speedup_is_measured_once_and_is_a_plausible_number(monkeypatch: pytest.MonkeyPatch) -> None:
    found = precision.bfloat16_speedup()
    assert 0.02 < found < 20
    monkeypatch.setattr(precision, "_seconds", None)  # measuring again would fail
    assert precision.bfloat16_speedup() == found
