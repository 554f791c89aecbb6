"""The keys of `[forward.filter]` and its siblings: what is done to records on their way to one destination."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agent.kit.units import Duration, Share

Bound = Annotated[int, Meta(ge=0, le=2**31 - 1, extra={"off": 0})]


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which resources (projects, services) are delivered at all.

    An entry is `key=pattern`: an attribute of the resource, and an fnmatch pattern with case for its value.
    """

    include: tuple[str, ...] = ()
    """Only resources that match, as `["project=alpha", "service.name=shop-*"]`: of entries with the same key one must
    match, and so each key. A resource without that attribute does not match."""
    exclude: tuple[str, ...] = ()
    """Resources that match one of these are left out, also where `include` names them."""

    @property
    def active(self) -> bool:
        """True when something is left out."""
        return bool(self.include or self.exclude)


class Sample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Deliver only a share of the traces, the same ones wherever their spans are.

    The rule is that of W3C Trace Context, level 2, and OpenTelemetry's consistent probability sampling: a trace is kept
    when the last 56 bits of its id (or `rv` in its `tracestate`) are at least (1 - ratio) * 2**56.
    """

    ratio: Share = Share("100%")
    """Share of the traces. Two agents keep the same traces, and a smaller ratio keeps a part of a larger one's."""
    errors: bool = True
    """Also keep traces of which the same record has a span with the status error (or a log record of that severity).
    Spans of the same trace in other records are not known when a record is sent."""
    slow: Duration | None = None
    """Also keep traces of which the same record has a span at least this long."""
    logs: bool = False
    """Also sample log records that belong to a trace. Others, and metrics, are never sampled."""

    @property
    def active(self) -> bool:
        """True when something is left out."""
        return self.ratio < 1


class Redact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keep secrets from leaving: in resources, scopes, spans, events, links, logs, metrics and exemplars.

    Texts of every kind are looked through: names, messages, bodies, schema URLs, attribute keys, values at any depth,
    integers, bytes. Fields that OTLP does not know are left out, since nobody can say what they mean.
    """

    defaults: bool = False
    """Find authorization headers, cookies, passwords, tokens, keys and credentials in URLs, e-mail addresses and card
    numbers, by the attribute's key and by the look of a value."""
    keys: tuple[str, ...] = ()
    """Further attributes whose value is secret: fnmatch patterns for keys, in any case, as `["user.*", "*iban*"]`."""
    values: tuple[str, ...] = ()
    """Further secrets in texts: regular expressions (Python's). A group named `secret` is the secret, without one the
    whole match. Nested repetitions such as `(a+)+` may take for ever: avoid them."""
    keep: tuple[str, ...] = ()
    """Attributes that are left as they are: patterns as in `keys`."""
    action: Literal["mask", "hash", "drop"] = "mask"
    """`mask` puts `[redacted]` in place of a secret, `hash` its SHA-256 in hex. `drop` removes the attribute, and
    cuts a secret out of other texts."""
    hash_key: Annotated[str, Meta(extra={"secret": True})] = ""
    """Key for `hash`: HMAC-SHA256, as `${file:/run/secrets/key}`. Without one the hash is plain: whoever guesses an
    e-mail address or a card number can verify the guess."""

    @property
    def active(self) -> bool:
        """True when something is looked for."""
        return self.defaults or bool(self.keys or self.values)


class Limit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bound what spans and log records carry; the first ones stay, and OTLP's dropped counts tell of the rest."""

    attributes: Bound = 0
    """Attributes of a span, event, link or log record. Resources and metrics have no limit, as in the SDKs."""
    events: Bound = 0
    """Events of a span."""
    links: Bound = 0
    """Links of a span."""
    value_length: Bound = 0
    """Characters of an attribute's text at any depth, and bytes of its bytes; what is longer is cut."""

    @property
    def active(self) -> bool:
        """True when something is bounded."""
        return bool(self.attributes or self.events or self.links or self.value_length)


class Add(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Say where the telemetry comes from."""

    attributes: dict[str, str] = {}
    """Attributes of every resource, as `{ "host.name" = "${file:/proc/sys/kernel/hostname}", "k8s.pod.name" =
    "${env:POD_NAME}" }`; references as in `headers`."""
    overwrite: bool = False
    """Replace an attribute of the same key that is there already."""

    @property
    def active(self) -> bool:
        """True when something is added."""
        return bool(self.attributes)


def pair(entry: str) -> tuple[str, str]:
    """Key and pattern of an entry of a filter. Raises ValueError for what is none."""
    key, equals, pattern = entry.partition("=")
    if not key.strip() or not equals:
        raise ValueError(f"{entry!r} is no key=pattern; write one such as service.name=shop-*")
    return key.strip(), pattern.strip()


def problems(section: str, choose: Filter, redact: Redact, add: Add) -> Iterator[tuple[str, str, str]]:
    """What cannot be meant: key, sentence, remedy."""
    for name, entries in (("include", choose.include), ("exclude", choose.exclude)):
        for one in entries:
            try:
                pair(one)
            except ValueError as error:
                what, _, hint = str(error).partition("; ")
                yield f"{section}.filter.{name}", what, hint
    for name, patterns in (("keys", redact.keys), ("keep", redact.keep)):
        if "" in patterns:
            yield f"{section}.redact.{name}", "has an empty pattern, which matches nothing", ""
    for pattern in redact.values:
        yield from _expression(f"{section}.redact.values", pattern)
    if redact != Redact() and not redact.active:
        # Somebody believes that secrets are kept, and nothing is looked for.
        yield f"{section}.redact", "names nothing to redact", "write defaults = true, or keys, or values"
    if redact.hash_key and redact.action != "hash":
        yield f"{section}.redact.hash_key", f"is of no use with action {redact.action!r}", 'write action = "hash"'
    if "" in add.attributes:
        yield f"{section}.add.attributes", "has an empty key", ""


def _expression(key: str, pattern: str) -> Iterator[tuple[str, str, str]]:
    try:
        found = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        yield key, f"has {pattern!r}, which is no regular expression: {error}", ""
        return
    if found.search("") is not None:
        yield key, f"has {pattern!r}, which finds a secret in no text at all", "write + instead of *"
