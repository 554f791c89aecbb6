"""Space and inodes in use."""

import os

import pytest

from agent.config.checks import Disk
from agent.health.disk import DiskCheck
from agent.kit.units import Share

RULE = Disk(kind="disk", name="d", path="/", warn=Share("50%"), critical=Share("80%"))


def info(used: int, available: int, inodes_used: int = 0, inodes: int = 0) -> os.statvfs_result:
    """A file system of blocks, ten of which only root may use."""
    blocks = used + available + 10
    return os.statvfs_result(
        (4096, 4096, blocks, blocks - used, available, inodes, inodes - inodes_used, inodes - inodes_used, 0, 255)
    )


@pytest.mark.parametrize(
    ("found", "state", "message"),
    [
        (info(49, 51), "healthy", "49.0% of the space in use"),
        (info(50, 50), "warning", "50.0% of the space in use"),
        (info(90, 10), "unhealthy", "90.0% of the space in use"),
        (info(1, 99, 81, 100), "unhealthy", "81.0% of the inodes in use"),
        (info(0, 0), "healthy", "0.0% of the space in use"),
    ],
)
def test_space_and_inodes_are_judged_as_df_counts_them(found: os.statvfs_result, state: str, message: str) -> None:
    """The worse of both is told; blocks for root alone are not free; no inodes are no finding."""
    finding = DiskCheck(RULE, lambda _: found).run()

    assert (state, message) == (finding.level.word, finding.message)


def test_inodes_may_be_left_out() -> None:
    """Some file systems make them up."""
    rule = Disk(kind="disk", name="d", path="/", inodes=False)

    assert "healthy" == DiskCheck(rule, lambda _: info(1, 99, 99, 100)).run().level.word


def test_a_path_that_is_not_there_is_unhealthy(tmp_path: object) -> None:
    """A mount that is gone is what the check is for."""
    finding = DiskCheck(Disk(kind="disk", name="d", path=f"{tmp_path}/no")).run()

    assert "unhealthy" == finding.level.word
    assert "No such file" in finding.message
