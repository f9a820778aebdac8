"""Owns the patch arithmetic and the cutting of a waveform into segments of whole patches.

Patch k reads samples [7680 k, 7680 k + 15 600) and nothing else, so a cut that keeps those
samples together is exact: a long recording gives the same patches as a short one.
Everything is integer arithmetic; upstream's float32 ceil goes wrong from about 16.8 million samples.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SAMPLE_RATE_HZ = 16_000  # YAMNet's rate (research/audioset/yamnet/params.py)
PATCH_SAMPLES = 15_600  # 96 STFT frames: 95 hops of 160 samples and one window of 400
PATCH_HOP_SAMPLES = 7_680  # 48 frames of 160 samples
PATCH_HOP_S = PATCH_HOP_SAMPLES / SAMPLE_RATE_HZ
MAX_PATCHES = 64  # of a segment: 2 MB of samples, and one block of the network

Waveform = npt.NDArray[np.float32]


class Cut(NamedTuple):
    """Consecutive whole patches of a waveform.

    Attributes:
      first_patch: index of the first patch in its clip.
      waveform: float32 [num_samples] at 16 kHz; the last cut of a clip may end inside a patch.
      is_last: whether the clip ends here.
    """

    first_patch: int
    waveform: Waveform
    is_last: bool


def num_patches(num_samples: int) -> int:
    """Patches YAMNet makes of `num_samples` > 0 samples at 16 kHz: at least one, the last zero-padded."""
    return 1 + max(0, -(-(num_samples - PATCH_SAMPLES) // PATCH_HOP_SAMPLES))


def padded_length(num_samples: int) -> int:
    """Samples after zeros are appended so that whole patches remain."""
    return PATCH_SAMPLES + PATCH_HOP_SAMPLES * (num_patches(num_samples) - 1)


def valid_fraction(patch: int, num_samples: int) -> float:
    """How much of a patch is sound rather than appended zeros, given its clip's length in samples."""
    return min(1.0, (num_samples - patch * PATCH_HOP_SAMPLES) / PATCH_SAMPLES)


def cut(blocks: Iterable[Waveform], max_patches: int = MAX_PATCHES) -> Iterator[Cut]:
    """Cuts a stream of 16 kHz blocks [n] of any sizes into segments of at most `max_patches`.

    Holds no more than one segment and one block. Yields nothing for a stream without samples.
    """
    segment_hop = max_patches * PATCH_HOP_SAMPLES
    segment_samples = segment_hop - PATCH_HOP_SAMPLES + PATCH_SAMPLES
    held: list[Waveform] = []
    num_held = 0
    first_patch = 0
    for block in blocks:
        held.append(block)
        num_held += len(block)
        # A cut is known not to be the last only once a sample beyond it has been seen.
        while num_held > segment_samples:
            waveform = np.concatenate(held) if len(held) > 1 else held[0]
            yield Cut(first_patch, waveform[:segment_samples], is_last=False)
            held = [waveform[segment_hop:]]
            num_held = len(held[0])
            first_patch += max_patches
    if num_held:
        yield Cut(first_patch, np.concatenate(held) if len(held) > 1 else held[0], is_last=True)
