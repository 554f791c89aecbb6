"""Families made of columns and rows."""

from agent.system.family import Column, Family, table


def test_a_column_without_values_gives_no_family() -> None:
    """What nobody knows is absent, not 0."""
    columns: list[Column[dict[str, float]]] = [
        Column("a_bytes", "A.", lambda row: row.get("a")),
        Column("b_total", "B.", lambda row: row.get("b")),
    ]

    found = table(columns, [(("x",), {"b": 1.0}), (("y",), {})], ("device",))

    assert (Family("b_total", "counter", "B.", ("device",), ((("x",), 1.0),)),) == found
