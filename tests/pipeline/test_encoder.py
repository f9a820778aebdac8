"""The in-process API: one code path with the pipeline, whatever form the audio comes in."""

import io
from pathlib import Path

import numpy as np
import pytest
import sounds
from results import Embed

from pipeline import Yamnet2Vec, YamnetEncoder
from transforms import errors

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def encoder(model_directory: str) -> YamnetEncoder:
    return YamnetEncoder(model_directory)


@pytest.fixture(scope="module")
def vec(model_directory: str) -> Yamnet2Vec:
    return Yamnet2Vec(model_directory)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "stereo.wav"
    samples = np.stack([sounds.noise(3.0, 44_100), sounds.tone(600, 3.0, 44_100)], axis=1)
    path.write_bytes(sounds.sound_file(samples, 44_100))
    return path


def test_it_gives_what_the_pipeline_gives(encoder: YamnetEncoder, file: Path, embed: Embed) -> None:
    result = embed([str(file)], rows="both")
    embedding = encoder.embed(file)
    np.testing.assert_allclose(embedding.pooled, result.vectors("embedding")[0], atol=1e-6)
    np.testing.assert_allclose(embedding.scores, result.vectors("scores", "patches"), atol=1e-6)
    top = [(found["name"], found["score"]) for found in result.table()["top_classes"][0].as_py()]
    assert [name for name, _ in embedding.top(5)] == [name for name, _ in top]


def test_paths_bytes_files_and_arrays_are_the_same_sound(encoder: YamnetEncoder, file: Path) -> None:
    import soundfile

    samples, rate = soundfile.read(file, dtype="int16")
    forms = [str(file), file, f"file://{file}", file.read_bytes(), io.BytesIO(file.read_bytes())]
    found = [*encoder.embed(forms), encoder.embed(samples, sample_rate_hz=rate)]
    for embedding in found:
        assert embedding is not None
        np.testing.assert_array_equal(embedding.embeddings, found[0].embeddings)  # type: ignore[union-attr]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_integers_are_scaled_to_full_scale(encoder: YamnetEncoder, dtype: str) -> None:
    tone = sounds.tone(800, 1.0)
    info = {"uint8": lambda x: x * 127 + 128, "int16": lambda x: x * 2**15, "int32": lambda x: x * 2.0**31}
    samples = np.round(info[dtype](tone.astype(np.float64))).astype(dtype) if dtype in info else tone.astype(dtype)
    assert encoder.embed(samples).top(1)[0][0] == encoder.embed(tone).top(1)[0][0]


def test_clips_of_a_list_share_batches_and_keep_their_order(encoder: YamnetEncoder) -> None:
    waveforms = [sounds.noise(0.2 + 0.7 * n, seed=n) for n in range(40)] + [sounds.noise(70.0, seed=99)]
    together = encoder.embed(waveforms)
    for waveform, embedding in zip(waveforms, together, strict=True):
        assert embedding is not None
        alone = encoder.embed(waveform)
        np.testing.assert_allclose(embedding.scores, alone.scores, atol=1e-6)
        np.testing.assert_allclose(embedding.embeddings, alone.embeddings, atol=2e-5)


@pytest.mark.parametrize(
    ("audio", "kind"),
    [
        (b"", errors.EmptyAudioError),
        (b"no sound", errors.UnknownFormatError),
        ("/nowhere.wav", errors.NotFoundError),
        (np.zeros(0, np.float32), errors.EmptyAudioError),
        (np.array([np.nan], np.float32), errors.NonFiniteAudioError),
        (np.zeros((2, 2, 2), np.float32), errors.UnknownFormatError),
    ],
)
def test_errors_are_typed_or_none_on_request(encoder: YamnetEncoder, audio: object, kind: type) -> None:
    with pytest.raises(kind):
        encoder.embed(audio)  # type: ignore[call-overload]
    tone = sounds.tone()
    assert [found is None for found in encoder.embed([tone, audio, tone], if_error="none")] == [False, True, False]  # type: ignore[list-item]


class TestYamnet2Vec:
    def test_read_gives_mono_float32_at_any_rate(self, vec: Yamnet2Vec, file: Path) -> None:
        assert vec.read(file).dtype == np.float32
        assert vec.read(file).shape == (48_000,)
        assert vec.read(io.BytesIO(file.read_bytes()), 8_000).shape == (24_000,)
        assert vec.read(file.read_bytes(), new_sampling_rate=44_100).shape == (132_300,)

    @pytest.mark.parametrize("layer", ["embeddings", "scores", "log_mel_spectrogram"])
    @pytest.mark.parametrize("operation", ["mean", "sum", "min", "max"])
    def test_every_layer_and_operation_is_a_plain_list(
        self, vec: Yamnet2Vec, encoder: YamnetEncoder, file: Path, layer: str, operation: str
    ) -> None:
        vector = vec.encode(vec.read(file), operation, layer)  # type: ignore[arg-type]
        assert isinstance(vector, list)
        assert len(vector) == {"embeddings": 1024, "scores": 521, "log_mel_spectrogram": 64}[layer]
        if layer != "log_mel_spectrogram":
            expected = getattr(getattr(encoder.embed(file), layer), operation)(0)
            np.testing.assert_allclose(vector, expected, rtol=1e-4, atol=1e-6)

    def test_bulk_encode_equals_encode(self, vec: Yamnet2Vec) -> None:
        waveforms = [sounds.noise(0.5 * n + 0.3, seed=n) for n in range(10)]
        alone = [vec.encode(waveform) for waveform in waveforms]
        np.testing.assert_allclose(vec.bulk_encode(waveforms), alone, atol=2e-5)  # type: ignore[arg-type]

    def test_what_cannot_be_encoded_raises_or_is_zeros_or_none(self, vec: Yamnet2Vec) -> None:
        with pytest.raises(errors.UnknownFormatError):
            vec.encode(b"no sound")
        assert vec.encode(b"no sound", if_error="none") is None
        assert vec.encode(b"no sound", "mean", "scores", if_error="zero_vector") == [0.0] * 521
        with pytest.raises(errors.UsageError, match="layers are embeddings, scores"):
            vec.encode(sounds.tone(), layer="logits")  # type: ignore[arg-type]
