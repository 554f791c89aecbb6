"""Which keys a reload changes."""

from __future__ import annotations

from agent.config import RESTART_KEYS, Config, Retention, Rotation, StreamRule, Web, changed
from agent.config.keys import kinds
from agent.kit.units import Size


def test_nothing_changed() -> None:
    """Two equal configurations differ in no key, with entries or without."""
    config = Config(stream=(StreamRule(match="a", rotation=Rotation()),))

    assert not changed(config, Config(stream=(StreamRule(match="a", rotation=Rotation()),)))


def test_changed_keys_are_listed_in_the_order_of_the_schema() -> None:
    """Sections and entries, key by key."""
    old = Config(stream=(StreamRule(match="a", rotation=Rotation()),))
    new = Config(
        rotation=Rotation(max_size=None, pre=("/bin/true",)),
        retention=Retention(keep=3),
        stream=(StreamRule(match="b", rotation=Rotation(max_size=Size("1MB"))),),
        web=Web(listen=""),
    )

    expected = [
        "rotation.max_size",
        "rotation.pre",
        "retention.keep",
        "stream[0].match",
        "stream[0].rotation.max_size",
        "web.listen",
    ]
    assert expected == changed(old, new)


def test_entry_that_came_or_went_is_one_key() -> None:
    """Nobody reads the twenty keys of a new entry; so is an entry that got a section of its own."""
    one = Config(stream=(StreamRule(match="a"),))
    two = Config(stream=(StreamRule(match="a"), StreamRule(match="b")))
    own = Config(stream=(StreamRule(match="a", rotation=Rotation()),))

    expected = [["stream[1]"], ["stream[1]"], ["stream[0]"], ["stream[0]"]]
    assert expected == [changed(one, two), changed(two, one), changed(Config(), one), changed(one, own)]


def test_keys_that_need_a_restart_exist() -> None:
    """A renamed key would otherwise be reloaded without effect."""
    assert set(kinds()) >= RESTART_KEYS
