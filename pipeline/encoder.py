"""The in-process API: the pipeline's own code path without a pipeline, batched across clips."""

import contextlib
import io
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, overload

import numpy as np
import numpy.typing as npt

from transforms import audio as decoding
from transforms import errors, inference, model_store, segments, storage
from transforms.precision import Wanted, chosen_precision
from transforms.segments import PATCH_HOP_S, SAMPLE_RATE_HZ, Cut, Waveform
from transforms.stores.https_access import HttpsAccess
from transforms.yamnet import Classes, Outputs

Array = npt.NDArray[np.float32]
Audio = npt.NDArray[Any] | str | Path | bytes | BinaryIO
BATCH_SEGMENTS = 16
MAX_WEB_BYTES = 2 << 30


@dataclass(frozen=True, eq=False)
class Embedding:
    """What YAMNet hears in one clip.

    Attributes:
      embeddings: float32 [num_patches, 1024].
      scores: float32 [num_patches, 521], independent sigmoids.
      duration_s: of the clip.
      classes: what the scores mean.
    """

    embeddings: Array = field(repr=False)
    scores: Array = field(repr=False)
    duration_s: float
    classes: Classes = field(repr=False)

    @property
    def pooled(self) -> Array:
        """Mean embedding, float32 [1024]."""
        return self.embeddings.mean(0, dtype=np.float64).astype(np.float32)

    @property
    def pooled_scores(self) -> Array:
        """Mean scores, float32 [521]."""
        return self.scores.mean(0, dtype=np.float64).astype(np.float32)

    @property
    def start_s(self) -> npt.NDArray[np.float64]:
        """Where each patch starts in the clip, float64 [num_patches]."""
        return np.arange(len(self.embeddings), dtype=np.float64) * PATCH_HOP_S

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """Names and mean scores of the highest classes, best first."""
        scores = self.pooled_scores
        return [(self.classes.names[i], float(scores[i])) for i in np.argsort(-scores, kind="stable")[:count]]


class YamnetEncoder:
    """YAMNet in this process.

        encoder = YamnetEncoder()
        bark = encoder.embed("dog.wav")
        bark.pooled, bark.top(3)
        many = encoder.embed(["a.flac", "b.mp3", waveform])

    The model is loaded, and if need be fetched, at the first call; importing needs no network and no TensorFlow.
    """

    def __init__(self, model: str | None = None, *, precision: Wanted = "float32") -> None:
        """Takes a model directory; None for the published weights. bfloat16 is refused where it is not faster."""
        self._model_directory = model
        self._precision: Wanted = precision
        self._loaded: Any = None

    @overload
    def embed(self, audio: Audio, *, sample_rate_hz: int = ..., if_error: Literal["raise"] = ...) -> Embedding: ...
    @overload
    def embed(self, audio: Audio, *, sample_rate_hz: int = ..., if_error: Literal["none"]) -> Embedding | None: ...
    @overload
    def embed(
        self, audio: list[Any] | tuple[Any, ...], *, sample_rate_hz: int = ..., if_error: Literal["raise", "none"] = ...
    ) -> list[Embedding | None]: ...

    def embed(
        self,
        audio: Audio | list[Any] | tuple[Any, ...],
        *,
        sample_rate_hz: int = SAMPLE_RATE_HZ,
        if_error: Literal["raise", "none"] = "raise",
    ) -> Embedding | list[Embedding | None] | None:
        """Embeds one clip, or a list of clips in shared batches.

        Args:
          audio: path, URI, bytes of a file, open file, or samples [n] or [n, num_channels], float in [-1, 1] or
            integers of full scale; or a list or tuple of these.
          sample_rate_hz: of samples given as arrays; files know their own.
          if_error: `none` gives None for a clip that cannot be embedded.

        Raises:
          ClipError: with if_error="raise", the first trouble, by its kind.
        """
        if not isinstance(audio, (list, tuple)):
            return next(self._embed_all([audio], sample_rate_hz, if_error))
        return list(self._embed_all(audio, sample_rate_hz, if_error))

    def _embed_all(self, audios: Sequence[Any], sample_rate_hz: int, if_error: str) -> Iterator[Embedding | None]:
        """Results in order, while the segments of many clips share batches."""
        outputs: list[list[Outputs]] = [[] for _ in audios]
        lengths = [0] * len(audios)
        problems: dict[int, errors.ClipError] = {}
        batch: list[tuple[int, Cut]] = []
        for number, audio in enumerate(audios):
            try:
                for cut in segments.cut(blocks_of(audio, sample_rate_hz)):
                    lengths[number] = cut.first_patch * segments.PATCH_HOP_SAMPLES + len(cut.waveform)
                    batch.append((number, cut))
                    if len(batch) == BATCH_SEGMENTS:
                        self._embed_batch(batch, outputs, problems)
                        batch = []
            except errors.ClipError as problem:
                problems[number] = problem
            if number in problems and if_error == "raise":
                raise problems[number]
        self._embed_batch(batch, outputs, problems)
        for number, parts in enumerate(outputs):
            if number in problems:
                if if_error == "raise":
                    raise problems[number]
                yield None
            else:
                embeddings = np.concatenate([part.embeddings for part in parts])
                scores = np.concatenate([part.scores for part in parts])
                yield Embedding(embeddings, scores, lengths[number] / SAMPLE_RATE_HZ, self._model.classes)

    def _embed_batch(
        self, batch: list[tuple[int, Cut]], outputs: list[list[Outputs]], problems: dict[int, errors.ClipError]
    ) -> None:
        results = inference.embed_waveforms(self._model, [cut.waveform for _, cut in batch]) if batch else []
        for (number, _), result in zip(batch, results, strict=True):
            if isinstance(result, errors.ClipError):
                problems[number] = result
            else:
                outputs[number].append(result)

    @property
    def _model(self) -> Any:
        if self._loaded is None:
            self._loaded = model_store.load(
                model_store.resolve(self._model_directory), precision=chosen_precision(self._precision)
            )
        return self._loaded


def blocks_of(
    audio: Audio, sample_rate_hz: int = SAMPLE_RATE_HZ, target_rate_hz: int = SAMPLE_RATE_HZ
) -> Iterator[Waveform]:
    """The mono waveform of anything `embed` takes, as a stream of float32 blocks [n] at `target_rate_hz`.

    Raises:
      ClipError: it cannot be read, or is not audio.
    """
    if isinstance(audio, np.ndarray):
        yield from decoding.resample(iter([_mono(audio)]), sample_rate_hz, target_rate_hz)
        return
    with contextlib.ExitStack() as stack:
        if isinstance(audio, bytes):
            source: BinaryIO = io.BytesIO(audio)
        elif isinstance(audio, (str, Path)):
            uri = storage.normalise(str(audio))
            source = stack.enter_context(storage.open_binary(uri, _access(uri)))
        else:
            source = audio
        yield from decoding.Decoder(source, target_rate_hz=target_rate_hz)


def _access(uri: str) -> HttpsAccess:
    """Leave to ask the one web host that the caller names; redirects elsewhere are refused."""
    if not uri.startswith("https://"):
        return storage.HTTPS_OFF
    host = urllib.parse.urlsplit(uri)
    name = host.hostname or ""
    return HttpsAccess(hosts=(f"{name}:{host.port}" if host.port else name,), max_bytes=MAX_WEB_BYTES)


def _mono(samples: npt.NDArray[Any]) -> Waveform:
    """Samples [n] or [n, num_channels] of any numeric type as float32 [n], integers scaled to [-1, 1]."""
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "iuf":
        raise errors.UnknownFormatError(
            f"an array of {samples.dtype} with shape {samples.shape} is not audio: give [n] or [n, num_channels]"
        )
    if not samples.size:
        raise errors.EmptyAudioError("the array holds no samples")
    if samples.dtype.kind in "iu":
        half = 2.0 ** (8 * samples.dtype.itemsize - 1)
        samples = (samples.astype(np.float64) - (half if samples.dtype.kind == "u" else 0)) / half
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if not np.isfinite(samples).all():
        raise errors.NonFiniteAudioError("the array has NaN or infinite samples")
    return decoding.downmix(samples.reshape(len(samples), -1))
