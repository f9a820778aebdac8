"""The tree of errors."""

import inspect

from transforms import errors

CLASSES = {name: item for name, item in vars(errors).items() if inspect.isclass(item)}
CLIP_ERRORS = [item for item in CLASSES.values() if issubclass(item, errors.ClipError)]


def test_every_error_belongs_to_the_tree_and_is_drawn_in_it():
    for name, item in CLASSES.items():
        assert issubclass(item, errors.YamnetBeamError)
        assert name in (errors.__doc__ or "")


def test_every_code_is_a_snake_case_word_of_its_own():
    codes = [error.code for error in CLIP_ERRORS]
    assert len(set(codes)) == len(codes)
    assert all(code.isidentifier() and code.islower() for code in codes)


def test_no_error_is_both_a_clips_and_the_runs():
    assert not [item for item in CLIP_ERRORS if issubclass(item, errors.RunError)]


def test_only_trouble_with_the_source_is_worth_another_try():
    retryable = [error for error in CLIP_ERRORS if error.retryable]
    assert errors.NotFoundError in retryable
    assert all(issubclass(error, errors.SourceError) for error in retryable)
