"""What tests of several rooms are given."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.hostile import Hostile, serving


@pytest.fixture
def server() -> Iterator[Hostile]:
    """A server that takes everything until it is told otherwise."""
    with serving() as hostile:
        yield hostile
