import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.kit import user
from agent.kit.errors import ConfigError


def test_an_unknown_user_is_an_error_with_a_remedy() -> None:
    """A name that no account has is a configuration error."""
    with pytest.raises(ConfigError, match="does not exist"):
        user.parse("no-such-user-here")


def test_numbers_need_no_account() -> None:
    """Containers run numeric users."""
    assert (12345, 54321) == user.parse("12345:54321")
    assert (12345, None) == user.parse("12345")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_is_given_up_for_good_and_directories_belong_to_the_user(tmp_path: Path) -> None:
    """After the drop nothing brings root back, and what was missing was made with its mode for that user.

    What is missing below a directory that the user may write is left to the user: it could lead root elsewhere.
    """
    tmp_path.chmod(0o755)
    code = (
        "import os,sys; from agent.kit import user\n"
        "user.drop('12345:12346', {sys.argv[1]: 0o755, sys.argv[2]: 0o700, sys.argv[3]: 0o700})\n"
        "print(os.getresuid(), os.getresgid(), os.getgroups())\n"
        "try: os.setuid(0)\nexcept PermissionError: print('gone')"
    )
    place, state = tmp_path / "d", tmp_path / "elsewhere" / "state"
    below = place / "state"
    done = subprocess.run(
        [sys.executable, "-c", code, str(place), str(state), str(below)], capture_output=True, text=True, check=True
    )

    assert "(12345, 12345, 12345) (12346, 12346, 12346) [12346]\ngone\n" == done.stdout
    assert (12345, 0o700) == (state.stat().st_uid, state.stat().st_mode & 0o777)
    assert (12345, 0o755) == (place.stat().st_uid, place.stat().st_mode & 0o777)
    assert 0 == state.parent.stat().st_uid
    assert not below.exists()
