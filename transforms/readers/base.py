"""What every reader of audio offers."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

BLOCK_VALUES = 1 << 21  # samples times channels decoded at a time: 8 MB, 23 s of CD stereo

Samples = npt.NDArray[np.float32]


class Reader(Protocol):
    """One opened source; `truncated` is known once `blocks` is exhausted."""

    sample_rate_hz: int
    num_channels: int
    truncated: bool

    def blocks(self) -> Iterator[Samples]:
        """Yields decoded samples, float32 [n, num_channels], n > 0."""
