"""Plans: who is due and what may go, decided without touching anything."""

from __future__ import annotations

import pytest

from agent.config import Retention, Rotation
from agent.kit.units import Duration, Size
from agent.streams import plan
from agent.streams.plan import Growth, Room, Shelf, Shelved, Timing

NOW, WALL = 1000.0, 1_700_000_000.0


def rules(**keys: object) -> Rotation:
    """Rotation with nothing but these."""
    return Rotation(**{"max_size": None, "max_age": None, **keys})  # type: ignore[arg-type]  # a table of keys


@pytest.mark.parametrize(
    ("growth", "rotation", "expected"),
    [
        (Growth(0, 0, None, None), rules(max_size=Size(1)), Timing(None, None)),
        (Growth(100, 0, 999, None), rules(max_size=Size(100)), Timing("size", NOW)),
        (Growth(99, 0, 999, None), rules(max_size=Size(100)), Timing(None, None)),
        (Growth(90, 5, 999, None), rules(max_size=Size(100)), Timing(None, NOW + 2, "size")),
        (Growth(1, 0, 940, None), rules(max_age=Duration(60)), Timing("age", NOW)),
        (Growth(1, 0, 950, None), rules(max_age=Duration(60)), Timing(None, 1010.0, "age")),
        (Growth(1, 0, 940, None), rules(max_age=Duration(60), min_size=Size(2)), Timing(None, None)),
        (Growth(1, 0, 999, WALL), rules(schedule="@daily"), Timing("schedule", NOW)),
        (Growth(1, 0, 999, WALL + 30), rules(schedule="@daily"), Timing(None, NOW + 30, "schedule")),
        (Growth(1, 0, 999, WALL + 30), rules(schedule="@daily", max_age=Duration(10)), Timing(None, 1009.0, "age")),
        (Growth(1, 0, None, None), rules(max_age=Duration(60)), Timing(None, None)),
    ],
)
def test_due(growth: Growth, rotation: Rotation, expected: Timing) -> None:
    """Size before age before schedule; else the earliest time at which one of them may come."""
    assert expected == plan.due(growth, rotation, NOW, WALL)


# -- retention


def row(number: int, *, age: float = 0, size: int = 10, stream: str = "a", **flags: bool) -> Shelved:
    """A segment on its shelf."""
    given = {"marker": False, "newest": False, "released": True, **flags}
    return Shelved(stream, f"{stream}{number}", number, age, size, given["marker"], given["newest"], given["released"])


def shelf(*rows: Shelved, live: bool = True, **rules: object) -> Shelf:
    """A stream's shelf."""
    keys = {"keep": 0, "max_age": None, "max_total": None, **rules}
    return Shelf(Retention(**keys), rows, live)  # type: ignore[arg-type]  # a table of keys


def room(total: int = 0, free: int = 10**9, max_total: int | None = None, min_free: float | None = None) -> Room:
    """The directory's space."""
    return Room(total, free, 10**9, max_total, min_free)


def told(*shelves: Shelf, where: Room | None = None) -> list[tuple[str, str, bool]]:
    """A plan, briefly."""
    return [(item.segment.name, item.reason, item.mark) for item in plan.retire(shelves, where or room())]


def test_a_count_keeps_the_newest() -> None:
    """Case 22: lowering the count takes effect at once, oldest first."""
    rows = [row(n, newest=n == 4) for n in range(5)]

    assert [("a0", "keep", False), ("a1", "keep", False), ("a2", "keep", False)] == told(shelf(*rows, keep=2))
    assert [] == told(shelf(*rows, keep=5))


def test_age_retires_and_marks_the_newest() -> None:
    """C12: the newest one's place is taken by a marker."""
    rows = [row(0, age=100), row(1, age=60, newest=True)]

    assert [("a0", "max_age", False), ("a1", "max_age", True)] == told(shelf(*rows, max_age=Duration(60)))
    assert [("a0", "max_age", False)] == told(shelf(*rows, max_age=Duration(61)))


def test_what_is_not_released_stays() -> None:
    """C2: whatever the rules say, a segment whose bytes may still be live is not deleted."""
    rows = [row(0, age=100, released=False), row(1, age=100, released=False, newest=True)]

    assert [] == told(shelf(*rows, keep=1, max_age=Duration(1)), where=room(total=1000, max_total=1))


def test_markers_do_not_count_and_go_when_something_newer_is_there() -> None:
    """C12: a marker keeps a position, nothing else."""
    rows = [row(0, marker=True), row(1), row(2, newest=True)]

    assert [("a0", "forgotten", False)] == told(shelf(*rows, keep=2))


def test_a_marker_is_forgotten_a_month_after_its_file() -> None:
    """Only when the live file is gone."""
    old = row(0, age=plan.MARKER_AGE, marker=True, newest=True)

    assert [] == told(shelf(old, live=True))
    assert [("a0", "forgotten", False)] == told(shelf(old, live=False))
    assert [] == told(shelf(row(0, age=plan.MARKER_AGE - 1, marker=True, newest=True), live=False))


def test_a_total_is_met_oldest_first_over_all_streams() -> None:
    """Case 22: the byte budget is hit exactly, not overshot."""
    a = shelf(row(0, age=50), row(1, age=20, newest=True))
    b = shelf(row(0, age=40, stream="b"), row(1, age=10, stream="b", newest=True))

    assert [] == told(a, b, where=room(total=40, max_total=40))
    assert [("a0", "max_total", False)] == told(a, b, where=room(total=50, max_total=40))
    assert [("a0", "max_total", False), ("b0", "max_total", False)] == told(a, b, where=room(total=51, max_total=40))


def test_live_files_alone_over_the_budget_delete_nothing_more_than_there_is() -> None:
    """Case 22: everything sealed goes, the live file is never in a plan."""
    assert [("a0", "max_total", True)] == told(shelf(row(0, newest=True)), where=room(total=10**6, max_total=1))


def test_free_space_is_met() -> None:
    """`min_free` deletes until the file system has so much left."""
    rows = [row(0, age=2), row(1, age=1, newest=True)]

    assert [("a0", "min_free", False)] == told(shelf(*rows), where=room(free=95, min_free=100))
    assert [] == told(shelf(*rows), where=room(free=100, min_free=100))


def test_what_a_count_frees_is_not_freed_again() -> None:
    """Rules are not added up: the space of what goes anyway counts for the budget."""
    rows = [row(0, age=2), row(1, age=1, newest=True)]

    assert [("a0", "keep", False)] == told(shelf(*rows, keep=1), where=room(total=50, max_total=40))
