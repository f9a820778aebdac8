"""Our two import names are generic: nobody else in the environment may own them."""

import importlib.metadata

import pytest


@pytest.mark.parametrize("name", ["pipeline", "transforms"])
def test_only_our_distribution_owns_the_name(name: str) -> None:
    assert set(importlib.metadata.packages_distributions()[name]) == {"yamnet-beam"}
