"""The batch that travels from a reader to a sink."""

import pytest

from agent.streams.batch import Batch

BATCH = Batch("a.json", "id", 10, 50, (b"1\n", b"2\n", b"3\n", b"4\n", b"5\n"))


def test_a_narrowed_batch_keeps_its_bounds() -> None:
    """Only the whole of a batch moves a cursor, so a part of it has the bounds of the whole."""
    part = BATCH.narrow((b"2\n",), "logs")

    assert Batch("a.json", "id", 10, 50, (b"2\n",), "logs") == part
    assert part.narrow(()).signal == "logs"


def test_halving_ends_with_single_records_in_order() -> None:
    """However often a batch is halved, each record is in exactly one piece, and the order stays."""
    pieces, done = [BATCH], []
    while pieces:
        piece = pieces.pop(0)
        if len(piece.records) == 1:
            done.append(piece.records[0])
        else:
            pieces[:0] = piece.halves()

    assert list(BATCH.records) == done


def test_one_record_cannot_be_halved() -> None:
    """A loop that halves without end is stopped by an error."""
    with pytest.raises(ValueError, match="one record"):
        BATCH.narrow((b"1\n",)).halves()
