"""The counts of a run."""

from hypothesis import given
from hypothesis import strategies as st

from transforms import tally

words = st.sampled_from(["listed", "embedded", "dead", "unchanged", "audio_s"])
tallies = st.lists(st.dictionaries(words, st.integers(0, 1000)), max_size=8)


@given(tallies, tallies)
def test_sums_of_sums_are_the_sum(some, others):
    assert tally.add([tally.add(some), tally.add(others)]) == tally.add([*some, *others])


@given(tallies)
def test_every_word_is_added_up(some):
    total = tally.add(some)
    for word in {word for counts in some for word in counts}:
        assert total[word] == sum(counts.get(word, 0) for counts in some)


def test_fractions_add_up():
    assert tally.add([{"audio_s": 0.5}, {"audio_s": 0.25}]) == {"audio_s": 0.75}


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(-1, 1))
def test_conservation_means_listed_is_the_sum_of_the_three_ends(embedded, dead, unchanged, off):
    counts = {"embedded": embedded, "dead": dead, "unchanged": unchanged}
    assert tally.is_conserved({**counts, "listed": embedded + dead + unchanged + off}) == (off == 0)


def test_nothing_is_conserved():
    assert tally.is_conserved({})
    assert not tally.is_conserved({"listed": 1})


def test_letters_are_counted_by_code_the_most_frequent_first():
    counts = {"dead": 8, "dead:not_found": 1, "dead:too_long": 6, "dead:empty_audio": 1}
    assert list(tally.dead_by_code(counts).items()) == [("too_long", 6), ("empty_audio", 1), ("not_found", 1)]
