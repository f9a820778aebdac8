"""Owns the sounds of the tests: waveforms made by formula, and the files that hold them."""

import io
import tempfile
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

import av
import numpy as np
import numpy.typing as npt
import soundfile

Samples = npt.NDArray[np.float32]

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
NO_OPTIONS: Mapping[str, str] = MappingProxyType({})


def tone(hertz: float = 440.0, duration_s: float = 1.0, rate_hz: int = 16_000, peak: float = 0.5) -> Samples:
    """A sine, float32 [n]."""
    seconds = np.arange(round(duration_s * rate_hz)) / rate_hz
    return (peak * np.sin(2 * np.pi * hertz * seconds)).astype(np.float32)


def noise(duration_s: float = 1.0, rate_hz: int = 16_000, peak: float = 0.5, seed: int = 0) -> Samples:
    """White noise, the same for the same seed, float32 [n]."""
    return np.random.RandomState(seed).uniform(-peak, peak, round(duration_s * rate_hz)).astype(np.float32)


def silence(duration_s: float = 1.0, rate_hz: int = 16_000) -> Samples:
    """Zeros, float32 [n]."""
    return np.zeros(round(duration_s * rate_hz), np.float32)


def tones(num_channels: int, duration_s: float = 1.0, rate_hz: int = 16_000) -> Samples:
    """A different sine in every channel, float32 [n, num_channels]."""
    return np.stack([tone(440 + 110 * c, duration_s, rate_hz) for c in range(num_channels)], axis=1)


def sound_file(samples: Samples, rate_hz: int = 16_000, file_format: str = "WAV", subtype: str = "PCM_16") -> bytes:
    """The bytes of a file by libsndfile, of samples [n] or [n, num_channels]."""
    buffer = io.BytesIO()
    num_channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(buffer, "w", rate_hz, num_channels, subtype, format=file_format) as file:
        file.write(samples)
    return buffer.getvalue()


def ffmpeg_file(
    samples: Samples,
    rate_hz: int,
    container: str,
    codec: str,
    *,
    container_options: Mapping[str, str] = NO_OPTIONS,
    codec_options: Mapping[str, str] = NO_OPTIONS,
) -> bytes:
    """The bytes of a file by FFmpeg, of samples [n] or [n, num_channels]."""
    samples = samples.reshape(len(samples), -1)
    layout = LAYOUTS[samples.shape[1]]
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=layout)
    # With timestamps the container can say where the sound starts, and decoders drop the encoder's delay.
    frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip"  # a real file: +faststart reads back what was written
        with av.open(str(path), "w", format=container, options=dict(container_options)) as output:
            stream = output.add_stream(codec, rate=rate_hz, layout=layout, options=dict(codec_options))
            stream.bit_rate = 128_000
            stream.codec_context.open()
            for part in _frames_for(stream, frame):
                output.mux(stream.encode(part))
            output.mux(stream.encode(None))
        return path.read_bytes()


def video_file(samples: Samples | None, rate_hz: int = 48_000) -> bytes:
    """The bytes of a Matroska file with five black pictures, before them the sound of samples [n], if any."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as output:
        pictures = output.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p")
        if samples is not None:
            sound = output.add_stream("libopus", rate=rate_hz, layout="mono")
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
            sound.codec_context.open()
            for part in _frames_for(sound, frame):
                output.mux(sound.encode(part))
            output.mux(sound.encode(None))
        for _ in range(5):
            output.mux(pictures.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        output.mux(pictures.encode(None))
    return buffer.getvalue()


def _frames_for(stream: "av.AudioStream", frame: av.AudioFrame) -> Iterator[av.AudioFrame]:
    context = stream.codec_context
    resampler = av.AudioResampler(context.format, context.layout, context.rate, frame_size=context.frame_size or None)
    yield from resampler.resample(frame)
    yield from resampler.resample(None)
