"""The measures of a clip's audio."""

import numpy as np
import pytest
import sounds
import soxr
from hypothesis import given
from hypothesis import strategies as st

from transforms.health import AudioHealth, HealthMeter

WHOLE_FRAMES_S = 64 * 512 / 16_000


def health_of(*blocks: np.ndarray) -> AudioHealth:
    """Measures mono blocks at 16 kHz, which are what was decoded, too."""
    meter = HealthMeter()
    for block in blocks:
        assert meter.hear_decoded(block[:, None])
        meter.hear_waveform(block)
    return meter.result()


def telephone(duration_s: float) -> np.ndarray:
    """Noise that went through a line of 8 kHz."""
    return soxr.resample(sounds.noise(duration_s, 8000), 8000, 16_000, quality="HQ")


def test_digital_silence_has_no_level_and_no_bandwidth():
    assert health_of(sounds.silence()) == AudioHealth(
        peak=0, rms_db=None, clipped_fraction=0, silent_fraction=1, bandwidth_hz=None
    )


def test_nothing_heard_is_no_division_by_zero():
    assert HealthMeter().result() == AudioHealth(
        peak=0, rms_db=None, clipped_fraction=0, silent_fraction=0, bandwidth_hz=None
    )


def test_a_full_scale_square_wave_is_clipped_throughout():
    health = health_of(np.sign(sounds.tone(100) + 1e-9).astype(np.float32))
    assert (health.peak, health.clipped_fraction, health.silent_fraction) == (1, 1, 0)
    assert health.rms_db == pytest.approx(0, abs=1e-6)


def test_full_scale_of_sixteen_bits_counts_as_clipped():
    samples = np.array([32_767 / 32_768, -1, 0.99, -0.99], np.float32)
    assert health_of(samples).clipped_fraction == 0.5


def test_clipping_of_one_channel_is_seen_though_the_mean_is_not_clipped():
    meter = HealthMeter()
    meter.hear_decoded(np.array([[1.0, 0.0], [0.5, 0.0]], np.float32))
    assert meter.result().clipped_fraction == 0.25


@pytest.mark.parametrize(("peak", "rms_db"), [(1.0, -3.01), (0.1, -23.01), (0.001, -63.01)])
def test_the_level_of_a_sine_is_three_decibels_below_its_peak(peak, rms_db):
    health = health_of(sounds.tone(440, 2.0, peak=peak))
    assert health.rms_db == pytest.approx(rms_db, abs=0.01)
    assert health.peak == pytest.approx(peak, rel=1e-5)


@pytest.mark.parametrize("hertz", [250, 1000, 3000, 7000])
def test_a_sine_is_as_wide_as_its_frequency(hertz):
    assert health_of(sounds.tone(hertz, WHOLE_FRAMES_S)).bandwidth_hz == pytest.approx(hertz, abs=70)


def test_white_noise_fills_the_band():
    assert health_of(sounds.noise(2.0)).bandwidth_hz == 8000


def test_noise_from_a_telephone_line_is_four_kilohertz_wide():
    assert health_of(telephone(WHOLE_FRAMES_S)).bandwidth_hz == pytest.approx(4000, abs=100)


@pytest.mark.parametrize("duration_s", [1.0, 2.0, 10.0, 30.0])
def test_where_a_clip_ends_does_not_widen_it(duration_s):
    assert health_of(telephone(duration_s)).bandwidth_hz == pytest.approx(4000, abs=100)
    assert health_of(sounds.tone(1000, duration_s)).bandwidth_hz == pytest.approx(1000, abs=70)


def test_the_silent_fraction_is_that_of_the_time_below_sixty_decibels():
    quiet = sounds.noise(3.2, peak=1e-4)
    health = health_of(np.concatenate([sounds.noise(3.2), quiet]))
    assert health.silent_fraction == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_is_reported(value):
    block = np.zeros((100, 2), np.float32)
    block[50, 1] = value
    assert not HealthMeter().hear_decoded(block)


@given(st.integers(1, 6000), st.lists(st.integers(1, 5999), max_size=8))
def test_blocks_do_not_change_the_measures(num_samples, edges):
    samples = sounds.noise(1.0, num_samples, peak=1.2)
    blocks = np.split(samples, sorted({edge for edge in edges if edge < num_samples}))
    assert health_of(*blocks) == pytest.approx(health_of(samples), rel=1e-9)
