"""Health checks in the configuration: each kind has keys of its own."""

from __future__ import annotations

import pytest

from agent.config import changed
from agent.config.checks import Disk, Http, Levels, Plugin, Streak
from agent.config.render import effective
from agent.config.values import SECRET
from agent.kit.errors import ConfigError
from agent.kit.units import Duration, Share
from tests.unit.config.conftest import Load

HTTP = '[[health.check]]\nkind = "http"\nname = "api"\nurl = "http://127.0.0.1:1/"\n'


def test_an_entry_becomes_the_struct_of_its_kind(load_text: Load) -> None:
    """The same key may be a percentage in one kind and a duration in another; `for` is no attribute's name."""
    loaded = load_text(
        '[[health.check]]\nkind = "disk"\nname = "d"\npath = "/"\nwarn = "70%"\nfor = "3 of 5"\n'
        + HTTP
        + 'warn = "1s"\n'
    )
    disk, http = loaded.config.health.check

    assert isinstance(disk, Disk)
    assert isinstance(http, Http)
    assert (Share("70%"), Streak(3, 5)) == (disk.warn, disk.streak)
    assert (Duration("1s"), Streak(3, 3)) == (http.warn, http.streak)


def test_a_plugins_kind_has_options_of_its_own(load_text: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not judged here: the plug-in does that."""
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: ["there"])
    loaded = load_text('[[health.check]]\nkind = "queue"\nname = "q"\noptions = {depth = 3, list = [1]}\n')

    (check,) = loaded.config.health.check
    assert isinstance(check, Plugin)
    assert {"depth": 3, "list": [1]} == check.options


def test_one_limit_may_be_warning_and_critical_at_once(load_text: Load) -> None:
    """Equal limits mean that there is nothing between healthy and unhealthy."""
    loaded = load_text('[[health.check]]\nkind = "cpu"\nname = "x"\nwarn = "90%"\ncritical = "90%"\n')

    (check,) = loaded.config.health.check
    assert isinstance(check, Levels)
    assert check.warn == check.critical


def test_what_may_hold_a_password_is_not_shown(load_text: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an address nor headers nor options."""
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: ["there"])
    loaded = load_text(
        HTTP + 'headers = ["Authorization: canary"]\n[[health.check]]\nkind = "x"\nname = "x"\noptions.key = "canary"\n'
    )
    rows = {key: value for key, value, _ in effective(loaded)}

    assert "canary" not in str(rows)
    assert SECRET == rows["health.check[0].headers"] == rows["health.check[1].options"] == rows["health.check[0].url"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"\n', "agent.toml:1: health.check[0] has no kind; known are disk"),
        (
            'kind = "htpp"\nname = "x"\n',
            "agent.toml:2: health.check[0].kind is 'htpp', which no package here provides; did",
        ),
        ('kind = "disk"\nname = "x"\n', "agent.toml:1: health.check[0] has no path"),
        ('kind = "disk"\npath = "/"\n', "agent.toml:1: health.check[0] has no name"),
        ('kind = "clock"\nname = "x"\nurl = "y"\n', "agent.toml:4: health.check[0].url is no known key"),
        ('kind = "clock"\nname = "x y"\n', "agent.toml:3: health.check[0].name is 'x y'"),
        ('kind = "clock"\nname = "x"\nfor = "5 of 3"\n', "agent.toml:4: health.check[0].for is '5 of 3'"),
        ('kind = "clock"\nname = "x"\nfor = 0\n', "agent.toml:4: health.check[0].for is 0"),
        ('kind = "clock"\nname = "x"\ninterval = "1ms"\n', "agent.toml:4: health.check[0].interval is 1ms, shorter"),
        ('kind = "cpu"\nname = "x"\nwarn = ""\n', "agent.toml:4: health.check[0].warn is off and so is critical"),
        ('kind = "memory"\nname = "x"\nwarn = "99%"\n', "agent.toml:4: health.check[0].warn is 99%, above critical"),
        (
            'kind = "load"\nname = "x"\nwarn = "high"\n',
            'agent.toml:4: health.check[0].warn: "high" is of the wrong type',
        ),
        ('kind = "http"\nname = "x"\nurl = "ftp://x"\n', "agent.toml:4: health.check[0].url is no http:// or https://"),
        (
            'kind = "http"\nname = "x"\nurl = "http://x"\nstatus = ["fine"]\n',
            "agent.toml:5: health.check[0].status has 'fine'",
        ),
        (
            'kind = "http"\nname = "x"\nurl = "http://x"\nheaders = ["fine"]\n',
            "agent.toml:5: health.check[0].headers has one without a value",
        ),
        (
            'kind = "command"\nname = "x"\ncommand = ["a"]\noutput = "("\n',
            "agent.toml:5: health.check[0].output is no regular expression",
        ),
        ('kind = "command"\nname = "x"\ncommand = []\n', "agent.toml:4: health.check[0].command names no program"),
        (
            'kind = "process"\nname = "x"\ncommand_line = "["\n',
            "agent.toml:4: health.check[0].command_line is no regular",
        ),
        ('kind = "stream"\nname = "x"\nsignals = ["log"]\n', "agent.toml:4: health.check[0].signals has 'log'"),
    ],
)
def test_a_wrong_check_is_refused_with_its_place(load_text: Load, text: str, message: str) -> None:
    """File, line, key, and what would be right."""
    with pytest.raises(ConfigError) as caught:
        load_text("[[health.check]]\n" + text)

    assert str(caught.value).startswith(message)


def test_two_checks_need_two_names(load_text: Load) -> None:
    """The name is what everything about a check is found by."""
    with pytest.raises(ConfigError, match=r"health\.check\[1\]\.name is 'api', as that of an entry before it"):
        load_text(HTTP + HTTP)


def test_a_reload_sees_which_check_changed(load_text: Load) -> None:
    """Key by key, and as a whole where it came."""
    none, one, other = load_text(""), load_text(HTTP), load_text(HTTP + "for = 1\n")

    assert ["health.check[0]"] == changed(none.config, one.config)
    assert ["health.check[0].for"] == changed(one.config, other.config)
