"""How the transforms become jobs and commands; and the in-process API."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.encoder import YamnetEncoder
    from pipeline.vec import Yamnet2Vec

__all__ = ["Yamnet2Vec", "YamnetEncoder"]


def __getattr__(name: str) -> Any:
    """Imports the API at its first use, so that `python -m pipeline --help` answers at once."""
    if name == "YamnetEncoder":
        from pipeline.encoder import YamnetEncoder

        return YamnetEncoder
    if name == "Yamnet2Vec":
        from pipeline.vec import Yamnet2Vec

        return Yamnet2Vec
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
