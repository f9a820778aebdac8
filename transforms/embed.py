"""EmbedSegments: segments in, embeddings and scores out, through Beam's RunInference with our ModelHandler."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import ModelHandler, RunInference

from transforms import engine, errors, inference, logs, model_store
from transforms.metrics import count, measure, observe
from transforms.precision import Wanted, chosen_precision
from transforms.records import DeadLetter, EmbeddedSegment, Segment
from transforms.yamnet import Outputs, Yamnet

STAGE = "EmbedSegments"
BATCH_SEGMENTS = 16  # at most 1024 patches: 32 MB of samples


class LazyYamnet:
    """The network, loaded at its first use: a run without new clips does not wait for TensorFlow."""

    def __init__(self, load: Callable[[], Yamnet]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._network: Yamnet | None = None

    def network(self) -> Yamnet:
        """The network; the first call loads and checks it."""
        with self._lock:
            if self._network is None:
                with measure("load_model"):
                    self._network = self._load()
        return self._network


class YamnetModelHandler(ModelHandler[Segment, EmbeddedSegment, LazyYamnet]):
    """Runs YAMNet on batches of segments; one copy of the network per process.

    Every segment gets a result: one on which the network raises carries a letter instead of embeddings.
    """

    def __init__(
        self,
        model_directory: str,
        fingerprint: str,
        *,
        precision: Wanted = "float32",
        batch_segments: int = BATCH_SEGMENTS,
        num_threads: int | None = None,
        run_id: str = "",
    ) -> None:
        """Describes the network to load.

        Args:
          model_directory: as `model_store.fetch` made it, readable by the workers; one whose image carries the same
            weights ($YAMNET_BEAM_MODEL) takes those.
          fingerprint: of the weights.
          precision: of the convolutions; bfloat16 is refused where it is not faster.
          batch_segments: segments a call.
          num_threads: of TensorFlow in each process; None for one a core.
          run_id: for the line that says that it is loaded.
        """
        # A free range makes Beam hunt for the best size, with batches of 1 on the way.
        super().__init__(min_batch_size=batch_segments, max_batch_size=batch_segments)
        self._model_directory = model_directory
        self._fingerprint = fingerprint
        self._precision: Wanted = precision
        self._num_threads = num_threads
        self._run_id = run_id

    def load_model(self) -> LazyYamnet:
        """The network, still to be loaded."""
        return LazyYamnet(self._load)

    def _load(self) -> Yamnet:
        """Loads and checks the network.

        Raises:
          ModelError: it is damaged or computes something else; the job fails.
        """
        started = time.monotonic()
        engine.configure(self._num_threads)
        directory = model_store.for_worker(self._model_directory, self._fingerprint)
        network = model_store.load(directory, precision=chosen_precision(self._precision))
        if network.version != self._fingerprint:
            raise errors.ModelError(
                f"{self._model_directory} held the weights {self._fingerprint[:12]} when the job began, and now holds "
                f"{network.version[:12]}: leave a model directory as it is, and make another for other weights"
            )
        logs.event(
            STAGE, "model loaded", run_id=self._run_id, seconds=time.monotonic() - started,
            model_version=network.version[:12], precision=network.precision, directory=directory,
        )  # fmt: skip
        return network

    def run_inference(
        self,
        batch: Sequence[Segment],
        model: LazyYamnet,
        inference_args: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> list[EmbeddedSegment]:
        """One result a segment, in order."""
        live = [segment for segment in batch if segment.letter is None]
        results = inference.embed_waveforms(model.network(), [segment.waveform for segment in live])
        _count(results)
        left = iter(results)
        return [_embedded(segment, next(left) if segment.letter is None else None) for segment in batch]

    def get_num_bytes(self, batch: Sequence[Segment]) -> int:
        """Bytes of samples (the default pickles the whole batch to count them)."""
        return sum(segment.waveform.nbytes for segment in batch)

    def get_metrics_namespace(self) -> str:
        """Where RunInference's own metrics are found."""
        return STAGE


class EmbedSegments(beam.PTransform):
    """From Segment to EmbeddedSegment."""

    def __init__(self, handler: YamnetModelHandler) -> None:
        """Embeds with the network that `handler` loads."""
        super().__init__()
        self._handler = handler

    def expand(self, segments: beam.PCollection[Segment]) -> beam.PCollection[EmbeddedSegment]:
        """Wires the transform."""
        return segments | "RunInference" >> RunInference(self._handler)


def _count(results: Sequence[Outputs | errors.EmbeddingError]) -> None:
    """Counts what came of one batch."""
    num_patches = [len(result.embeddings) for result in results if isinstance(result, Outputs)]
    count("embed_segments_in", len(results))
    count("embed_segments_out", len(num_patches))
    count("embed_segments_failed", len(results) - len(num_patches))
    count("embed_segments_patches", sum(num_patches))
    observe("batch_patches", sum(num_patches))


def _embedded(segment: Segment, result: Outputs | errors.EmbeddingError | None) -> EmbeddedSegment:
    letter = segment.letter
    if isinstance(result, errors.EmbeddingError):
        letter = DeadLetter.of(segment.clip, STAGE, result)
    if isinstance(result, Outputs):
        embeddings, scores = result
    else:
        embeddings = scores = np.empty((0, 0), np.float32)
    return EmbeddedSegment(
        segment.clip,
        segment.position,
        segment.first_patch,
        segment.content_sha256,
        segment.facts,
        embeddings,
        scores,
        letter,
    )
