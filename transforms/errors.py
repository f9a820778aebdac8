"""Owns every error this product raises on purpose; only the ClipError branch becomes a dead letter.

    YamnetBeamError
    ├── ClipError                  one clip has no row, the run goes on: a dead letter
    │   ├── SourceError            its bytes could not be had
    │   │   ├── NotFoundError      SourceChangedError    TooLargeError
    │   │   └── UnreadableError    SlowSourceError    ChecksumError    UnsupportedSchemeError
    │   ├── AudioError             its bytes are not usable audio
    │   │   ├── UnknownFormatError   CorruptAudioError   EmptyAudioError
    │   │   └── ImplausibleHeaderError   NonFiniteAudioError   TooLongError
    │   └── EmbeddingError         the network failed on this clip alone
    └── RunError                   the job cannot or must not go on
        ├── UsageError             flags or settings that cannot work
        ├── AccessError            permission or environment trouble: every clip would die of it
        ├── ModelError             no model, a damaged one, or one that computes something else
        └── CommitError            the run's files do not add up, or the run_id is taken

Anything outside this tree is a bug, and fails the job.
"""


class YamnetBeamError(Exception):
    """Root of the tree."""


class ClipError(YamnetBeamError):
    """One clip cannot become a row.

    Attributes:
      code: stable snake_case word for counts, filters and dead letters.
      retryable: whether a later run may succeed on the same bytes or the same URI.
    """

    code = "clip_error"
    retryable = False


class SourceError(ClipError):
    """The clip's bytes could not be had."""

    code = "source_error"
    retryable = True


class NotFoundError(SourceError):
    """No object at the URI."""

    code = "not_found"


class SourceChangedError(SourceError):
    """The object is not the one that was listed: it was replaced in between."""

    code = "source_changed"


class TooLargeError(SourceError):
    """More bytes than --max_bytes allows."""

    code = "too_large"
    retryable = False


class UnreadableError(SourceError):
    """The object is there and cannot be read."""

    code = "unreadable"


class SlowSourceError(SourceError):
    """The object did not arrive in time, retries included."""

    code = "timeout"


class ChecksumError(SourceError):
    """The bytes that arrived are not those that are stored, retries included."""

    code = "checksum"


class UnsupportedSchemeError(SourceError):
    """No way to read this kind of URI is installed or allowed."""

    code = "unsupported_scheme"
    retryable = False


class AudioError(ClipError):
    """The bytes are not usable audio."""

    code = "audio_error"


class UnknownFormatError(AudioError):
    """Neither libsndfile nor FFmpeg knows these bytes."""

    code = "unknown_format"


class CorruptAudioError(AudioError):
    """A known format, and nothing of it can be decoded."""

    code = "corrupt_audio"


class EmptyAudioError(AudioError):
    """A sound file without a single sample, or a file without a single byte."""

    code = "empty_audio"


class ImplausibleHeaderError(AudioError):
    """A header that claims a sample rate or a number of channels no recording has."""

    code = "implausible_header"


class NonFiniteAudioError(AudioError):
    """NaN or infinite samples."""

    code = "non_finite_audio"


class TooLongError(AudioError):
    """More seconds than --max_duration_s allows."""

    code = "too_long"


class EmbeddingError(ClipError):
    """The network raised, or returned NaN, on this clip and not on silence."""

    code = "embedding_failed"


class RunError(YamnetBeamError):
    """The job cannot, or must not, go on."""


class UsageError(RunError):
    """Flags or settings that cannot work."""


class AccessError(RunError):
    """Permission or environment trouble: every clip would die of it, so the job stops."""


class ModelError(RunError):
    """There is no model, it is damaged, or it computes something else."""


class CommitError(RunError):
    """The run's files do not add up, or another run has taken the run_id."""
