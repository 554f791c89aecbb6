"""What is wrong with a configuration whose values are of the right types: impossible values and combinations.

Pure: nothing is opened, no user is looked up; what depends on the machine is found when it is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from agent.config.schema import Config, Files, Retention, Rotation
from agent.kit.schedule import next_run

_SHORTEST = 0.1


class Problem(NamedTuple):
    """A key whose value cannot be meant, a sentence that goes on after the key, and a remedy."""

    key: str
    what: str
    hint: str = ""


def problems(config: Config) -> Iterator[Problem]:
    """Every problem, in the order of the file."""
    yield from _files(config.files)
    yield from _rotation(config.rotation, "rotation")
    yield from _retention(config.retention, "retention")
    for number, rule in enumerate(config.stream):
        yield from _patterns((rule.match,), f"stream[{number}].match")
        if rule.rotation:
            yield from _rotation(rule.rotation, f"stream[{number}].rotation")
        if rule.retention:
            yield from _retention(rule.retention, f"stream[{number}].retention")
    try:
        _ = config.web.address
    except ValueError as error:
        yield Problem("web.listen", str(error))
    yield from _at_least(_SHORTEST, "system.interval", config.system.interval)
    yield from _at_least(_SHORTEST, "health.interval", config.health.interval)
    yield from _at_least(_SHORTEST, "health.timeout", config.health.timeout)


def _files(files: Files) -> Iterator[Problem]:
    if not files.include:
        yield Problem("files.include", "is empty, so no file would be a stream", 'write patterns such as ["*.json"]')
    yield from _patterns(files.include, "files.include")
    yield from _patterns(files.exclude, "files.exclude")
    yield from _at_least(_SHORTEST, "files.scan_interval", files.scan_interval)


def _patterns(patterns: tuple[str, ...], key: str) -> Iterator[Problem]:
    for pattern in patterns:
        if not pattern:
            yield Problem(key, "has an empty pattern, which matches nothing")
        elif pattern.startswith(("/", "./")):
            yield Problem(key, f"has {pattern!r}, which matches nothing", "patterns begin below the watched directory")


def _rotation(rules: Rotation, section: str) -> Iterator[Problem]:
    if rules.max_size == 0:
        yield Problem(f"{section}.max_size", "is 0", 'write "" to rotate without regard to size')
    yield from _at_least(_SHORTEST, f"{section}.max_age", rules.max_age)
    if rules.max_size is not None and rules.min_size > rules.max_size:
        yield Problem(f"{section}.min_size", f"is {rules.min_size}, more than max_size, {rules.max_size}")
    if rules.schedule:
        try:
            next_run(rules.schedule, 0.0)
        except ValueError as error:
            yield Problem(f"{section}.schedule", str(error))
    yield from _at_least(_SHORTEST, f"{section}.capture", rules.capture)
    yield from _at_least(_SHORTEST, f"{section}.hook_timeout", rules.hook_timeout)
    if rules.mode and not re.fullmatch(r"(0o?)?[0-7]{3,4}", rules.mode):
        yield Problem(f"{section}.mode", f"is {rules.mode!r}", 'write octal permissions such as "0644"')
    if rules.owner and not re.fullmatch(r"[^\s:]+(:[^\s:]+)?|:[^\s:]+", rules.owner):
        yield Problem(f"{section}.owner", f"is {rules.owner!r}", 'write "user" or "user:group"')
    for name, command in (("pre", rules.pre), ("post", rules.post)):
        if command and not command[0]:
            yield Problem(f"{section}.{name}", "names no program")


def _retention(rules: Retention, section: str) -> Iterator[Problem]:
    for name, limit in (("max_age", rules.max_age), ("max_total", rules.max_total)):
        if limit == 0:
            yield Problem(f"{section}.{name}", "is 0, which would keep nothing", 'write "" for no such limit')


def _at_least(least: float, key: str, value: float | None) -> Iterator[Problem]:
    if value is not None and value < least:
        yield Problem(key, f"is {value}, shorter than {round(least * 1000)}ms")
