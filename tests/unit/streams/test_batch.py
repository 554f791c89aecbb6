"""The batch that travels from a reader to a sink."""

from agent.streams.batch import Batch

BATCH = Batch("a.json", "id", 10, 50, (b"1\n", b"2\n", b"3\n", b"4\n", b"5\n"))


def test_a_narrowed_batch_keeps_its_bounds() -> None:
    """Only the whole of a batch moves a cursor, so a part of it has the bounds of the whole."""
    part = BATCH.narrow((b"2\n",), "logs")

    assert Batch("a.json", "id", 10, 50, (b"2\n",), "logs") == part
    assert part.narrow(()).signal == "logs"
