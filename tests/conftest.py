"""Options and defaults for all tests."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import pytest

from tests.support import skips

_allowed_skips = pytest.StashKey[Sequence[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--rotator` and `--strict-skips`."""
    parser.addoption(
        "--rotator",
        choices=("agent", "reference"),
        default="agent",
        help="what the torture tests run beside the writers: the agent, or the harness's own small rotator",
    )
    parser.addoption(
        "--strict-skips", action="store_true", help=f"fail where a test skips that {skips.LIST.name} does not list"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Read which skips are allowed."""
    if config.getoption("strict_skips"):
        config.stash[_allowed_skips] = skips.patterns(skips.LIST)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long forms out unless -m names them."""
    if "long" in config.getoption("markexpr"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With `--strict-skips`, fail a test that skips without leave."""
    report = yield
    if _allowed_skips in item.config.stash:
        skips.judge(report, item.config.stash[_allowed_skips])
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """With `--strict-skips`, fail a module that skips as a whole without leave."""
    report = yield
    if _allowed_skips in collector.config.stash:
        skips.judge(report, collector.config.stash[_allowed_skips])
    return report
