from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agent.cli.setup import gitignore, place, units
from agent.kit.errors import AgentError, ConfigError
from tests.unit.cli.conftest import Stage

PLACE = place.Place("/var/lib/otel", ("/var/lib/otel",), 1234, 4321, "", configured=False)


def drop_in(found: place.Place) -> list[str]:
    """The lines of the drop-in for a place that say something."""
    return [line for line in units.directory_drop_in(found).splitlines() if "=" in line]


@pytest.fixture(autouse=True)
def _system_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program outside of every home, wherever these tests run."""
    monkeypatch.setattr(sys, "prefix", "/opt/telemetry-agent")
    monkeypatch.setattr(sys, "base_prefix", "/usr")


def test_the_unit_runs_as_the_owner_and_writes_only_there() -> None:
    """The drop-in names the owner, by number where there is no name, and the one writable directory."""
    expected = [
        "RequiresMountsFor=/var/lib/otel", "DynamicUser=no", "User=1234", "Group=4321", "ReadWritePaths=/var/lib/otel",
    ]  # fmt: skip

    assert expected == drop_in(PLACE)


def test_files_of_several_groups_keep_them() -> None:
    """A user namespace of the unit's own would know none but the unit's."""
    assert "PrivateUsers=no" in drop_in(replace(PLACE, groups=True))


def test_root_keeps_the_user_to_the_shipped_drop_in() -> None:
    """Where only root can do it, the shipped drop-in says how, and the operator is told why."""
    plan = units.installation(replace(PLACE, uid=0, why="the telemetry files belong to 2 users"))

    names = [os.path.basename(file.path) for file in plan.files]
    assert ["telemetry-agent.service", "10-directory.conf", "20-root.conf", "agent.toml"] == names
    assert ["RequiresMountsFor=/var/lib/otel", "ReadWritePaths=/var/lib/otel"] == drop_in(replace(PLACE, uid=0))
    assert ("it runs as root, with four capabilities: the telemetry files belong to 2 users",) == plan.notes


def test_root_is_told_whom_it_trusts() -> None:
    """Where others may write, the new configuration says that root works there all the same, and so does setup."""
    why = "/var/lib/otel may be written by everybody"
    plan = units.installation(replace(PLACE, uid=0, why="of 2 users", intruder=why))

    assert plan.files[-1].content.endswith(f'[agent]\nuser = "root"  # trusted: {why}\n')
    assert f'{why}: the configuration trusts them by [agent] user = "root"' == plan.notes[-1]


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        ("/home/ann/out", ["ProtectHome=tmpfs", "BindPaths=/home/ann/out"]),
        ("/var/tmp/a:b", ["BindPaths=/var/tmp/a\\:b"]),  # noqa: S108 - a name
        ("/homestead/out", ["ReadWritePaths=/homestead/out"]),
    ],
)
def test_directories_that_the_sandbox_hides_are_bound_back(directory: str, expected: list[str]) -> None:
    """Below the homes and the temporary directories the watched one is brought back, and only that."""
    lines = drop_in(replace(PLACE, writable=(directory,)))

    assert expected == lines[4:]


def test_a_program_below_a_home_is_bound_back_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in somebody's home, as pipx makes it, is visible to the unit."""
    monkeypatch.setattr(sys, "prefix", "/root/.local/pipx/telemetry-agent")

    bound = "BindReadOnlyPaths=/root/.local/pipx/telemetry-agent"
    assert ["ProtectHome=tmpfs", "ReadWritePaths=/var/lib/otel", bound] == drop_in(PLACE)[4:]


def test_paths_are_written_as_one_word() -> None:
    """A blank does not end a path and a percent sign is no specifier."""
    lines = drop_in(replace(PLACE, writable=("/srv/100% my logs",)))

    assert 'ReadWritePaths="/srv/100%% my logs"' == lines[-1]


@pytest.mark.parametrize("path", ["/srv/x\nUser=root", '/srv/"x', "/srv/x\\y", "/srv/\udcff"])
def test_a_path_that_no_unit_can_hold_is_refused(path: str) -> None:
    """A line break in a path would be a directive of its own; quotes are understood in two ways."""
    with pytest.raises(AgentError, match="cannot hold this path"):
        units.installation(replace(PLACE, writable=(path,)))


def test_an_unknown_drop_in_is_refused_with_the_known_ones() -> None:
    """A wrong name of a drop-in is answered by the right ones."""
    with pytest.raises(AgentError, match="group, processes, remote-scraping, root"):
        units.installation(PLACE, extra=("scraping",))


def test_the_timer_is_installed_instead_of_the_service() -> None:
    """With a timer nothing runs all the time, and the drop-in belongs to the job."""
    plan = units.installation(PLACE, timer=True)

    home = "/etc/systemd/system"
    expected = [
        f"{home}/telemetry-agent-cleanup.service", f"{home}/telemetry-agent-cleanup.timer",
        f"{home}/telemetry-agent-cleanup.service.d/10-directory.conf", "/etc/telemetry-agent/agent.toml",
    ]  # fmt: skip
    assert expected == [file.path for file in plan.files]
    assert ("systemctl", "restart", "telemetry-agent-cleanup.timer") == plan.commands[-1]


def test_an_image_is_enabled_and_not_started() -> None:
    """In an image, everything is below its root and nothing is started."""
    plan = units.installation(PLACE, root="/image")

    assert all(file.path.startswith("/image/etc/") for file in plan.files)
    assert (("systemctl", "--root=/image", "enable", "telemetry-agent.service"),) == plan.commands


def test_the_unit_names_this_program() -> None:
    """The unit starts the program that set it up, wherever it is installed."""
    unit = units.installation(PLACE).files[0].content

    assert units.EXECUTABLE not in unit
    assert unit.count("/opt/telemetry-agent/bin/telemetry-agent ") == 3


def test_survey_finds_the_owner_of_the_streams(tmp_path: Path) -> None:
    """The owner is that of the live files; what is no stream does not count."""
    (tmp_path / "a.json").write_text("{}\n")
    (tmp_path / ".hidden.json").write_text("{}\n")
    if os.getuid() == 0:
        os.chown(tmp_path, 1234, 4321)
        os.chown(tmp_path / "a.json", 1234, 4321)

    found = place.survey(str(tmp_path), str(tmp_path / "none.toml"))

    assert (os.stat(tmp_path).st_uid, os.stat(tmp_path).st_gid, "") == (found.uid, found.gid, found.why)
    assert (False, (str(tmp_path),)) == (found.configured, found.writable)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to others")
@pytest.mark.parametrize(
    ("owners", "directory", "why"),
    [
        ((1234, 1235), 1234, "belong to 2 users"),
        ((0, 0), 1234, "belong to root"),
        ((1234, 1234), 0, "may not write in their directory"),
    ],
)
def test_survey_falls_back_to_root(tmp_path: Path, owners: tuple[int, int], directory: int, why: str) -> None:
    """Several owners, root's files, and a directory closed to the owner are work for root, and it says why."""
    for number, uid in enumerate(owners):
        (tmp_path / f"{number}.json").touch()
        os.chown(tmp_path / f"{number}.json", uid, 4321)
    os.chown(tmp_path, directory, 0)
    tmp_path.chmod(0o755)

    found = place.survey(str(tmp_path), str(tmp_path / "none.toml"))

    assert found.uid == 0
    assert why in found.why


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(("group", "several"), [(4321, False), (4322, True)])
def test_survey_sees_files_of_another_group(tmp_path: Path, group: int, several: bool) -> None:
    """One of the directory's own is enough to be of several."""
    (tmp_path / "a.json").touch()
    os.chown(tmp_path / "a.json", 1234, group)
    os.chown(tmp_path, 1234, 4321)

    assert several == place.survey(str(tmp_path), str(tmp_path / "none.toml")).groups


def test_survey_knows_every_writable_path(tmp_path: Path) -> None:
    """Archives and state outside of the watched directory are writable too; those inside are anyway."""
    settings = tmp_path / "agent.toml"
    watched = tmp_path / "watched"
    watched.mkdir()
    settings.write_text(
        f'[files]\ndirectory = "{watched}"\n[rotation]\narchive_directory = "../archive"\n'
        '[[stream]]\nmatch = "a*"\nrotation.archive_directory = "old"\n'
    )

    found = place.survey(str(watched), str(settings))

    assert (True, (str(watched), str(tmp_path / "archive"))) == (found.configured, found.writable)


def test_survey_refuses_a_configuration_of_another_directory(tmp_path: Path) -> None:
    """A configuration that is there is kept, never silently overruled."""
    (tmp_path / "agent.toml").write_text('[files]\ndirectory = "/elsewhere"\n')

    with pytest.raises(ConfigError, match="is for /elsewhere"):
        place.survey(str(tmp_path), str(tmp_path / "agent.toml"))


def test_systemd_needs_the_directory(stage: Stage) -> None:
    """A directory that is not there yet is an error: the unit could not make it."""
    code, _, err = stage.run("setup", "systemd", "--directory", "/nowhere/at/all", at=False)

    assert code == 1
    assert "no such directory" in err


def test_systemd_dry_run_writes_nothing(stage: Stage) -> None:
    """The dry run prints files and commands and leaves the image as it was."""
    image = stage.directory / "image"
    image.mkdir()

    code, out, _ = stage.run(
        "setup", "systemd", "-d", str(stage.directory), "--root", str(image), "--dry-run", at=False
    )

    assert code == 0
    assert f"--- {image}/etc/systemd/system/telemetry-agent.service\n" in out
    assert f"$ systemctl --root={image} enable telemetry-agent.service" in out
    assert [] == list(image.iterdir())


def test_cron_speaks_only_of_errors(stage: Stage) -> None:
    """The line calls this program every five minutes, escapes what cron would take for its own, and keeps --set."""
    code, out, _ = stage.run("setup", "cron", "--directory", "/srv/50% off", "--set", "retention.keep=3", at=False)

    expected = (
        "*/5 * * * * /opt/telemetry-agent/bin/telemetry-agent cleanup --directory '/srv/50\\% off'"
        " --set retention.keep=3 >/dev/null\n"
    )
    assert (0, expected) == (code, out)


def test_cron_finds_the_configuration_from_anywhere(stage: Stage) -> None:
    """Cron starts the command in the user's home; a file that was found here is named whole."""
    there = stage.directory.parent / "agent.toml"
    there.write_text('[files]\ndirectory = "here"\n')
    _, out, _ = stage.run("setup", "cron", at=False)

    assert f" --directory {there.parent / 'here'} --config {there} >" in out


def test_gitignore_adds_what_is_missing_once(stage: Stage, tmp_path: Path) -> None:
    """Patterns are appended to what is there; the second time there is nothing to do."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("*.pyc\n/telemetry/")

    first, _, _ = stage.run("setup", "gitignore", "--directory", str(tmp_path / "out[1]"), at=False)
    content = (tmp_path / ".gitignore").read_text()
    second, out, _ = stage.run("setup", "gitignore", "--directory", str(tmp_path / "out[1]"), at=False)

    expected = [
        "*.pyc", "/telemetry/", "", "# Telemetry, its segments and the telemetry-agent's state",
        "*.telemetry.json", "telemetry.json*", "otel-*.json", ".telemetry-agent/", "/out\\[1]/",
    ]  # fmt: skip
    assert (0, 0) == (first, second)
    assert expected == content.splitlines()
    assert "has them all" in out
    assert content == (tmp_path / ".gitignore").read_text()


def test_gitignore_needs_a_repository(tmp_path: Path) -> None:
    """Outside of a repository there is nothing to ignore for."""
    with pytest.raises(AgentError, match="no git repository"):
        gitignore.patterns(str(tmp_path / "a"), "")
