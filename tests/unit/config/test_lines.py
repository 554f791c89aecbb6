"""Finding the line of a key in a TOML document."""

from __future__ import annotations

from agent.config.lines import key_lines

DOCUMENT = '''# comment
web = { listen = "x" }
agent.user = "u"

[files]  # [not.this]
include = [
    "*.json",  # rotation.max_size = 1
    "[x]",
]
directory = """
[rotation]
max_size = 1
"""
[rotation]
"max_size" = "1MB"
   [[stream]]
match = "a"
[stream.rotation]
max_size = "2MB"
[[stream]]
match = "b"
[health]
check = [{ name = "a" }, { name = "b" }]
[[health.probe]]
[[health.probe.step]]
x = 1
[[health.probe.step]]
x = 1
'''


def test_every_key_has_the_line_of_its_statement() -> None:
    """Strings, arrays and comments that look like keys or headers are none; entries of arrays have their numbers."""
    expected = {
        "web": 2,
        "web.listen": 2,
        "agent": 3,
        "agent.user": 3,
        "files": 5,
        "files.include": 6,
        "files.include[0]": 6,
        "files.include[1]": 6,
        "files.directory": 10,
        "rotation": 14,
        "rotation.max_size": 15,
        "stream[0]": 16,
        "stream[0].match": 17,
        "stream[0].rotation": 18,
        "stream[0].rotation.max_size": 19,
        "stream[1]": 20,
        "stream[1].match": 21,
        "health": 22,
        "health.check": 23,
        "health.check[0]": 23,
        "health.check[0].name": 23,
        "health.check[1]": 23,
        "health.check[1].name": 23,
        "health.probe[0]": 24,
        "health.probe[0].step[0]": 25,
        "health.probe[0].step[0].x": 26,
        "health.probe[0].step[1]": 27,
        "health.probe[0].step[1].x": 28,
    }

    assert expected == key_lines(DOCUMENT)


def test_windows_line_ends_count_once() -> None:
    """Lines are numbered as an editor numbers them."""
    assert key_lines(DOCUMENT) == key_lines(DOCUMENT.replace("\n", "\r\n"))
