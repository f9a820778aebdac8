"""Names for the several collections that some transforms take or give.

Beam reads annotations of `expand`, understands single collections there, and warns of anything else but Any.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import apache_beam as beam

    from transforms.records import Clip, ClipEmbedding, DeadLetter, Row
    from transforms.tally import Tally

    Plan = tuple[beam.PCollection[Clip], beam.PCollection[Row], beam.PCollection[Tally]]
    Pooled = Sequence[beam.PCollection[ClipEmbedding]]
    Rows = Sequence[beam.PCollection[Row]]
    Letters = Sequence[beam.PCollection[DeadLetter]]
    RowsAndLetters = tuple[Rows, Letters]
    Tallies = Sequence[beam.PCollection[Tally]]
    Nothing = Sequence[beam.PCollection[None]]
else:
    Plan = Pooled = Rows = Letters = RowsAndLetters = Tallies = Nothing = Any
