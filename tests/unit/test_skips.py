"""`--strict-skips`: what a continuous integration must not pass over."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support import skips

pytest_plugins = "pytester"

HERE = Path(__file__).parents[1]
TESTS = '''
import pytest

def test_runs():
    """Runs."""

@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_on(kind):
    """Skips in its body."""
    pytest.skip("this kernel has none")

@pytest.mark.skipif(True, reason="needs root")
def test_as_root():
    """Skips before it runs."""

@pytest.mark.xfail(strict=True)
def test_known():
    """Fails as expected, which is no skip."""
    assert False
'''


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A small project with this one's conftest and a skip list of its own."""
    support = pytester.mkpydir("tests") / "support"
    support.mkdir()
    (support / "__init__.py").touch()
    shutil.copy(HERE / "conftest.py", support.parent)
    shutil.copy(HERE / "support/skips.py", support)
    (support.parent / "skips.txt").write_text("# none\n")
    (support.parent / "test_some.py").write_text(TESTS)
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\ntestpaths = ['tests']\n")
    return pytester


def test_a_skip_is_harmless_without_the_option(project: pytest.Pytester) -> None:
    """A user without loop devices can run the tests."""
    result = project.runpytest_subprocess()

    result.assert_outcomes(passed=1, skipped=3, xfailed=1)
    assert result.ret == pytest.ExitCode.OK


def test_a_skip_that_is_not_listed_fails(project: pytest.Pytester) -> None:
    """Its test id and its own reason are told."""
    (project.path / "tests/skips.txt").write_text("*::test_on[btrfs] | no module\n")

    result = project.runpytest_subprocess("--strict-skips")

    result.assert_outcomes(passed=1, skipped=1, failed=1, errors=1, xfailed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([
        "*test_some.py::test_as_root skips, and skips.txt does not allow it: Skipped: needs root",
        "*test_some.py::test_on?xfs? skips, and skips.txt does not allow it: Skipped: this kernel has none",
    ])  # fmt: skip


def test_listed_skips_pass(project: pytest.Pytester) -> None:
    """A pattern covers all parameters of a test."""
    (project.path / "tests/skips.txt").write_text("*::test_on[*] | no module\n*::test_as_root | no root\n")

    result = project.runpytest_subprocess("--strict-skips")

    assert result.ret == pytest.ExitCode.OK


def test_a_module_that_skips_as_a_whole_fails(project: pytest.Pytester) -> None:
    """One importorskip hides every test of a module at once."""
    (project.path / "tests/test_some.py").write_text("import pytest\n\npytest.importorskip('no_such_module')\n")

    result = project.runpytest_subprocess("--strict-skips")

    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_no_test_at_all_is_a_failure(project: pytest.Pytester) -> None:
    """A run that found nothing has shown nothing."""
    (project.path / "tests/test_some.py").write_text("")

    assert project.runpytest_subprocess("--strict-skips").ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize("line", ["tests/a.py::test_b", "tests/a.py::test_b |", "| because"])
def test_an_entry_without_pattern_or_reason_is_refused(line: str, tmp_path: Path) -> None:
    """The list excuses nothing without saying why."""
    path = tmp_path / "skips.txt"
    path.write_text(f"# a comment\n\n{line}\n")

    with pytest.raises(pytest.UsageError, match=r"skips\.txt, line 3"):
        skips.patterns(path)


def test_the_committed_list_is_well_formed() -> None:
    """Every entry has its reason."""
    skips.patterns(skips.LIST)
