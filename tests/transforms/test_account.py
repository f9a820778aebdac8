"""The index and the counts of a run."""

import pytest

from transforms import account, errors, schemas, tally
from transforms.records import Clip, DeadLetter
from transforms.schemas import CLIP_FIELDS, DEAD_LETTER_FIELDS, INDEX_FIELDS, Field

pytestmark = pytest.mark.slow

CLIP = Clip("id", "/a.wav", "v1", attempt=3, listed_by="/*.wav")
LETTER = DeadLetter.of(CLIP, "ReadClips", errors.UnreadableError("cannot read /a.wav"))


def assert_fits(row: dict, fields: tuple[Field, ...]) -> None:
    assert set(row) >= {field.name for field in fields}
    schemas.record_batch([row], fields, schemas.arrow_schema(fields)).validate(full=True)


def test_an_embedded_clip_has_a_line_in_the_index(make_rows):
    (row,) = make_rows(CLIP_FIELDS, 1)
    row["listed_by"] = "/*.wav"
    line = account.of_row(row)
    assert_fits(line, INDEX_FIELDS)
    assert (line["clip_id"], line["source_version"]) == (row["clip_id"], row["source_version"])
    assert (line["status"], line["code"], line["num_patches"]) == ("embedded", None, row["num_patches"])
    assert line["listed_by"] == "/*.wav"


def test_a_dead_clip_has_a_line_in_the_index_with_its_attempt():
    line = account.of_letter(LETTER, "p1")
    assert_fits(line, INDEX_FIELDS)
    assert (line["status"], line["code"], line["retryable"], line["attempt"]) == ("dead", "unreadable", True, 3)
    assert (line["pipeline_version"], line["num_patches"], line["listed_by"]) == ("p1", 0, "/*.wav")


def test_a_letter_is_written_with_its_run():
    line = account.letter_row(LETTER, "r1")
    assert_fits(line, DEAD_LETTER_FIELDS)
    assert (line["stage"], line["code"], line["run_id"]) == ("ReadClips", "unreadable", "r1")


def test_rows_and_letters_add_up_to_what_was_listed(make_rows):
    rows = make_rows(CLIP_FIELDS, 4)
    counts = [account.tally_of_row(row) for row in rows] + [account.tally_of_letter(LETTER)] * 2
    total = tally.add([{"listed": 6}, *counts])
    assert tally.is_conserved(total)
    assert tally.dead_by_code(total) == {"unreadable": 2}
    assert total["num_patches"] == sum(row["num_patches"] for row in rows)
    assert total["audio_s"] == pytest.approx(sum(row["duration_s"] for row in rows))
    assert total["truncated"] == sum(row["truncated"] for row in rows)
