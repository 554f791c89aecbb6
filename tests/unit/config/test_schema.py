"""What the sections answer about themselves."""

from __future__ import annotations

import pytest

from agent.config import AgentSection, Config, Files, Retention, Rotation, StreamRule, Web
from agent.kit.units import Size


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("localhost:0", ("localhost", 0)),
        (":9464", ("", 9464)),
        ("[::1]:65535", ("::1", 65535)),
        ("", None),
    ],
)
def test_listen_is_an_address_or_off(listen: str, address: tuple[str, int] | None) -> None:
    """Names, IPv4, bracketed IPv6, all interfaces, any port, nothing."""
    assert address == Web(listen=listen).address


@pytest.mark.parametrize(
    "listen", ["9464", "::1:9464", "[::1]", "host:", "host:65536", "host:-1", "http://host:80", "[x]:1", "a b:1", "h:٣"]
)
def test_wrong_listen_is_refused(listen: str) -> None:
    """What is no address is a ValueError that shows one."""
    with pytest.raises(ValueError, match=r"write one such as 127\.0\.0\.1:9464"):
        _ = Web(listen=listen).address


def test_first_matching_entry_gives_the_rules() -> None:
    """A section that the entry does not have comes from the configuration itself."""
    small = Rotation(max_size=Size("1MB"))
    config = Config(
        retention=Retention(keep=7),
        stream=(
            StreamRule(match="traces*.json", rotation=small),
            StreamRule(match="*.json", retention=Retention(keep=9)),
        ),
    )

    assert (small, Retention(keep=7)) == config.rules_for("traces.json")
    assert (Rotation(), Retention(keep=9)) == config.rules_for("logs.json")
    assert (Rotation(), Retention(keep=7)) == config.rules_for("app.log")


@pytest.mark.parametrize(
    ("state", "expected"), [("", "/data/.telemetry-agent"), ("state", "/data/state"), ("/var/lib/a", "/var/lib/a")]
)
def test_state_lies_in_the_watched_directory_unless_it_is_put_elsewhere(state: str, expected: str) -> None:
    """A relative path is below the watched directory."""
    config = Config(files=Files(directory="/data"), agent=AgentSection(state_directory=state))

    assert expected == config.state_path
