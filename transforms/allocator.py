"""Owns what a worker's allocators are told; where the C library is not GNU's, little.

Its other settings are left alone: fixing one ends the adaptation that keeps buffers of megabytes from being fetched
from the system, page by page, for every clip.
"""

import contextlib
import ctypes

import pyarrow as pa

_M_ARENA_MAX = -8  # malloc.h


def share_arena() -> None:
    """Lets all threads share one arena; otherwise each of the threads that fetch keeps the largest clips it met.

    Arrow shares it, too: its own pool keeps 20 MB.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    pa.set_memory_pool(pa.system_memory_pool())


def return_unused() -> None:
    """Gives memory that is free back to the system: loading a network takes much that nothing needs afterwards."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
