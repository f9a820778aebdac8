"""The sizes in the handbook follow from what was measured, by arithmetic that anybody can check."""

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy/sizing.py"


def _loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sizing", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["sizing"] = module  # where dataclasses look
    spec.loader.exec_module(module)
    return module


sizing = _loaded()


def test_the_tables_in_the_handbook_are_fresh() -> None:
    text = sizing.README.read_text()
    assert text == sizing.rendered(text), "run: python deploy/sizing.py --write"
    stale = text.replace("| hours of sound | 2.78 |", "| hours of sound | 2.79 |")
    assert stale != text
    assert sizing.rendered(stale) == text


def test_what_stands_around_the_tables_is_kept() -> None:
    text = "a\n<!-- sizing -->\nold\n<!-- /sizing -->\nb\n<!-- bill -->\n<!-- /bill -->\nc\n"
    made = sizing.rendered(text)
    assert made.startswith("a\n<!-- sizing -->\n| clips of 10 s |")
    assert "old" not in made
    assert made.endswith("<!-- /bill -->\nc\n")


@pytest.mark.parametrize("clips", [1_000, 1_000_000, 10_000_000, 100_000_000])
@pytest.mark.parametrize("kind", list(sizing.CORE_MS))
def test_core_hours_are_clips_times_milliseconds_and_machines_keep_the_deadline(
    clips: int, kind: tuple[str, str]
) -> None:
    fleet = sizing.Fleet(deadline_h=3.0, vcpus=4, vcpu_speed=0.5)
    made = sizing.plan(clips, fleet, *kind)
    assert made.core_hours * 3_600_000 == pytest.approx(clips * sizing.CORE_MS[kind])
    assert made.vcpu_hours == pytest.approx(2 * made.core_hours)
    assert made.machines * made.hours * fleet.vcpus == pytest.approx(made.vcpu_hours)
    assert made.hours <= fleet.deadline_h
    assert made.machines == 1 or made.vcpu_hours / ((made.machines - 1) * fleet.vcpus) > fleet.deadline_h
    assert made.reads_per_s * made.hours * 3600 == pytest.approx(clips)
    assert made.list_pages * sizing.PAGE_OBJECTS >= clips
    assert made.files * sizing.FILE_ROWS >= clips


def test_a_bucket_grows_to_twice_its_reads_in_20_minutes() -> None:
    made = sizing.Plan(clips=1, core_ms=20.0, clip_bytes=1, fleet=sizing.Fleet())
    assert made.clips_per_s(100) == 5_000
    assert [made.ramp_minutes(vcpus) for vcpus in (1, 100, 200, 800)] == [0, 0, 20, 60]


def test_a_bill_multiplies_what_it_needs_by_the_prices_that_are_given_and_by_no_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = sizing.plan(10_000_000, sizing.Fleet())
    assert made.needs().keys() == sizing.PRICES.keys()
    assert made.needs()["class_b_10k"] == 1_000
    told = sizing.bill(made, {"class_b_10k": 7.0, "egress_gb": 0.0})
    assert "| 7 | 7,000.00 |" in told
    assert told.count("| not given |  |") == len(sizing.PRICES) - 2
    assert told.endswith("| 7,000.00 |")
    assert not any(character in sizing.bill(made, {}) for character in "$€")
    sizing.main(["--clips=10000000", "--price=class_b_10k=7", "--price=egress_gb=0"])
    assert capsys.readouterr().out == told + "\n"
    with pytest.raises(SystemExit):
        sizing.main(["--price=class_c=1"])


def test_the_script_says_what_your_own_clips_need(capsys: pytest.CaptureFixture[str]) -> None:
    sizing.main(["--clips=3600000", "--core_ms=10", "--clip_bytes=1000", "--price=vcpu_hour=1", "--price=egress_gb=1"])
    told = capsys.readouterr().out
    assert "| 10 | clips times milliseconds of a core | 1 | 10.00 |" in told
    assert "3.6" in told


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0"), (0.00012, "0.0001"), (0.0667, "0.0667"), (66.67, "66.7"), (41_667, "41,700")]
)
def test_figures_have_three_digits(number: float, told: str) -> None:
    assert sizing.figure(number) == told
    assert math.isclose(float(told.replace(",", "")), number, rel_tol=0.2)
