"""What is wrong with a configuration whose values are of the right types: impossible values and combinations.

Nothing is opened, no user is looked up; what depends on the machine is found when it is used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from agent.config import processing
from agent.config.alerts import Notification
from agent.config.checks import Check, Command, Http, Levels, Process, Stream
from agent.config.forward import NAME, Forward, SignalRule
from agent.config.rules import Retention, Rotation
from agent.config.schema import Config, Files, Health
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
    yield from _at_least(_SHORTEST, "system.timeout", config.system.timeout)
    yield from _health(config.health)
    for number, forward in enumerate(config.forward):
        yield from _forward(forward, f"forward[{number}]")
        if forward.name in {one.name for one in config.forward[:number]}:
            yield Problem(f"forward[{number}].name", f"is {forward.name!r}, as that of an entry before it")
        yield from feedback(config, forward, f"forward[{number}]")
        yield from _shared(forward, config.forward[:number], f"forward[{number}].directory")
    yield from _alerts(config)


def _alerts(config: Config) -> Iterator[Problem]:
    yield from _at_least(1.0, "alerts.interval", config.alerts.interval)
    yield from _at_least(1.0, "alerts.resend", config.alerts.resend)
    for label in config.alerts.labels:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", label):
            yield Problem("alerts.labels", f"has {label!r}", "write letters, digits and _, no digit first")
    known = [one.name for one in config.notifier]
    for number, alert in enumerate(config.alert):
        section = f"alert[{number}]"
        if not alert.name.strip():
            yield Problem(f"{section}.name", "is empty")
        if alert.name in {one.name for one in config.alert[:number]}:
            yield Problem(f"{section}.name", f"is {alert.name!r}, as that of an entry before it")
        if alert.repeat is not None and alert.repeat < max(1.0, alert.cooldown):
            yield Problem(f"{section}.repeat", f"is {alert.repeat}, less than cooldown or a second")
        for name in alert.notify:
            if name not in known:
                hint = f"known are {', '.join(known)}" if known else "write [[notifier]] with this name and its urls"
                yield Problem(f"{section}.notify", f"has {name!r}, which no [[notifier]] is called", hint)
    for number, notifier in enumerate(config.notifier):
        yield from _notifier(notifier, f"notifier[{number}]")
        if notifier.name in known[:number]:
            yield Problem(f"notifier[{number}].name", f"is {notifier.name!r}, as that of an entry before it")


def _notifier(notifier: Notification, section: str) -> Iterator[Problem]:
    if not NAME.fullmatch(notifier.name):
        yield Problem(f"{section}.name", f"is {notifier.name!r}", "use 1 to 64 letters, digits, '_' and '-'")
    if not notifier.urls:
        yield Problem(f"{section}.urls", "is empty", "write at least one URL")
    yield from _at_least(_SHORTEST, f"{section}.timeout", notifier.timeout)


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


def _forward(forward: Forward, section: str) -> Iterator[Problem]:
    if not NAME.fullmatch(forward.name):
        yield Problem(f"{section}.name", f"is {forward.name!r}", "use 1 to 64 letters, digits, '_' and '-'")
    if not forward.match:
        yield Problem(f"{section}.match", "is empty: nothing would be delivered", 'write patterns such as ["*.json"]')
    yield from _patterns(forward.match, f"{section}.match")
    if forward.kind == "otlp" and not forward.endpoints:
        yield Problem(f"{section}.endpoints", "is empty", 'write a base URL such as "http://127.0.0.1:4318"')
    if forward.kind == "file" and not forward.directory:
        yield Problem(f"{section}.directory", "is empty", "name the directory that the files go to")
    for key, value in (("max_bytes", forward.batch.max_bytes), ("max_record", forward.max_record)):
        if value < 1:
            yield Problem(f"{section}.{'batch.' if key == 'max_bytes' else ''}{key}", "is 0")
    yield from _at_least(0.001, f"{section}.retry.initial", forward.retry.initial)
    yield from _at_least(0.001, f"{section}.timeout", forward.timeout)
    yield from _at_least(0.001, f"{section}.breaker.recovery", forward.breaker.recovery)
    if forward.retry.maximum < forward.retry.initial:
        yield Problem(f"{section}.retry.maximum", f"is {forward.retry.maximum}, less than initial")
    try:
        _ = forward.retry.spread
    except ValueError as error:
        yield Problem(f"{section}.retry.jitter", str(error), 'or "full"')
    yield from _urls(forward, section)
    yield from _grpc(forward, section)
    for problem in processing.problems(section, forward.filter, forward.redact, forward.add):
        yield Problem(*problem)
    if forward.rotation:
        yield from _rotation(forward.rotation, f"{section}.rotation")
    if forward.retention:
        yield from _retention(forward.retention, f"{section}.retention")


def _urls(forward: Forward, section: str) -> Iterator[Problem]:
    """What is no URL. It is not repeated: it may hold a password."""
    given = [("endpoints", one) for one in forward.endpoints]
    given += [(f"{name}.endpoint", getattr(forward, name).endpoint) for name in ("traces", "logs", "metrics")]
    for key, url in (*given, ("proxy", forward.proxy)):
        if url and "${" not in url and not _is_url(url):
            example = "http://proxy:3128" if key == "proxy" else "http://127.0.0.1:4318"
            yield Problem(f"{section}.{key}", "is no URL of http or https", f"write it as {example}")
    if forward.tls.key_file and not forward.tls.cert_file:
        yield Problem(f"{section}.tls.key_file", "is a key without a certificate", "name that in tls.cert_file")


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


def _grpc(forward: Forward, section: str) -> Iterator[Problem]:
    places = [(one, "endpoints") for one in forward.endpoints if forward.encoding == "grpc"]
    for name in ("traces", "logs", "metrics"):
        rule: SignalRule = getattr(forward, name)
        if (rule.encoding or forward.encoding) == "grpc":
            places.append((rule.endpoint, f"{name}.endpoint"))
    for endpoint, key in places:
        if re.match(r"\w+://[^/]*/.", endpoint):
            yield Problem(f"{section}.{key}", "has a path, gRPC has none", "write a URL such as http://127.0.0.1:4317")
    if places and not forward.tls.verify:
        what = "is false, which is not possible with gRPC"
        yield Problem(f"{section}.tls.verify", what, "name the server's certificate in tls.ca_file")


def feedback(config: Config, forward: Forward, section: str) -> Iterator[Problem]:
    """A destination that leads back into what is watched: each record would come again, for ever."""
    if forward.kind == "file" and _overlap(forward.directory, config.files.directory):
        what = f"is {forward.directory}, which lies in the watched directory or around it: a feedback loop"
        yield Problem(f"{section}.directory", what, "name a directory beside it")
    if forward.kind == "otlp" and config.web.listen:
        own = [*forward.endpoints, forward.traces.endpoint, forward.logs.endpoint, forward.metrics.endpoint]
        for endpoint in own:
            if _is_own(endpoint, config):
                yield Problem(f"{section}.endpoints", "has the agent's own web.listen: a feedback loop")


def _shared(forward: Forward, before: Iterable[Forward], key: str) -> Iterator[Problem]:
    """A directory with another one's files: each is looked after by an engine of its own."""
    for other in before:
        if forward.kind == other.kind == "file" and _overlap(forward.directory, other.directory):
            what = f"is {forward.directory}, which is the directory of forward {other.name}, lies in it or around it"
            yield Problem(key, what, "name a directory of its own for each forward")


def _overlap(one: str, other: str) -> bool:
    """True when one directory is the other or lies in it; links are followed, as the same one may have two names."""
    places = os.path.realpath(one), os.path.realpath(other)
    return bool(one and other) and os.path.commonpath(places) in places


def _is_own(endpoint: str, config: Config) -> bool:
    """True when the URL leads to our own web server, as far as names tell."""
    try:
        address, url = config.web.address, urlsplit(endpoint)
        port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    except ValueError:
        return False
    if address is None or port != address[1]:
        return False
    host = url.hostname or ""
    local = host in ("localhost", "::1", "0.0.0.0") or host.startswith("127.")
    ours = address[0] in ("", "0.0.0.0", "::", "localhost", "::1") or address[0].startswith("127.")
    return host == address[0] or (local and ours)


def _at_least(least: float, key: str, value: float | None) -> Iterator[Problem]:
    if value is not None and value < least:
        yield Problem(key, f"is {value}, shorter than {round(least * 1000)}ms")


def _health(health: Health) -> Iterator[Problem]:
    yield from _at_least(_SHORTEST, "health.interval", health.interval)
    yield from _at_least(_SHORTEST, "health.timeout", health.timeout)
    names: set[str] = set()
    for number, check in enumerate(health.check):
        section = f"health.check[{number}]"
        if check.name in names:
            yield Problem(f"{section}.name", f"is {check.name!r}, as that of an entry before it")
        names.add(check.name)
        yield from _check(check, section)


def _check(check: Check, section: str) -> Iterator[Problem]:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", check.name):
        yield Problem(f"{section}.name", f"is {check.name!r}", "write letters, digits, _ and -, at most 64")
    try:
        _ = check.streak
    except ValueError as error:
        yield Problem(f"{section}.for", str(error))
    for name in ("interval", "timeout", "action_timeout"):
        yield from _at_least(_SHORTEST, f"{section}.{name}", getattr(check, name))
    yield from _limits(check, section)
    if isinstance(check, Http):
        yield from _http(check, section)
    if isinstance(check, Command | Process):
        yield from _expression(check, section)
    if isinstance(check, Stream):
        for signal in set(check.signals) - {"traces", "logs", "metrics"}:
            yield Problem(f"{section}.signals", f"has {signal!r}", "there are traces, logs and metrics")


def _limits(check: Check, section: str) -> Iterator[Problem]:
    warn, critical = getattr(check, "warn", None), getattr(check, "critical", None)
    if warn is not None and critical is not None and warn > critical:
        yield Problem(f"{section}.warn", f"is {warn}, above critical, {critical}")
    if isinstance(check, Levels) and warn is None and critical is None:
        yield Problem(f"{section}.warn", "is off and so is critical, so nothing would be judged")


def _http(check: Http, section: str) -> Iterator[Problem]:
    if not re.fullmatch(r"https?://[^\s/]+\S*", check.url):
        yield Problem(f"{section}.url", "is no http:// or https:// address")
    for one in check.status:
        if not re.fullmatch(r"[1-5](xx|[0-9]{2})", one):
            yield Problem(f"{section}.status", f"has {one!r}", 'write codes such as "204" or "2xx"')
    if not all(": " in header for header in check.headers):
        yield Problem(f"{section}.headers", "has one without a value", 'write "Name: value"')
    yield from _pattern(check.body, f"{section}.body")


def _expression(check: Command | Process, section: str) -> Iterator[Problem]:
    if isinstance(check, Process):
        yield from _pattern(check.command_line, f"{section}.command_line")
    else:
        yield from _pattern(check.output, f"{section}.output")
        if not check.command or not check.command[0]:
            yield Problem(f"{section}.command", "names no program")


def _pattern(pattern: str, key: str) -> Iterator[Problem]:
    try:
        re.compile(pattern)
    except re.error as error:
        yield Problem(key, f"is no regular expression: {error}")
