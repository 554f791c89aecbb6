"""Takes secrets out of a text that others will read: those of the configuration, and what looks like one.

A secret of the configuration is hidden wherever it stands, as a whole and by its words: `Bearer abc123` is known by
`abc123` too, a URL by its password and the longer parts of what is no host name, a text with references by what each
stands for. One of fewer than four characters cannot be told from other text and is left.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote

from agent.kit.errors import ConfigError
from agent.otlp.secrets import PATTERNS, Finder
from agent.sinks.secrets import REFERENCE, resolve

HIDDEN = "(secret)"
_LEAST, _LEAST_WORD, _LEAST_PART = 4, 6, 8
_NO_HOST = re.compile(r"[^:@]*:\d+$|[^:@]*\.[^:@]*$|[:@]")
"""What is between tokens in the place of a host: names with a port or a dot are hosts indeed."""
_LOOKS = Finder(PATTERNS[:-2])
"""All but mail addresses and card numbers: numbers are what a bundle is made of."""


class Hider:
    """Hides these values and everything that looks like a secret."""

    def __init__(self, values: Iterable[str], environ: Mapping[str, str]) -> None:
        known = {form for value in values for text in _texts(value, environ) for form in _forms(text)}
        ordered = sorted((re.escape(text) for text in known), key=len, reverse=True)
        self._known = re.compile("|".join(ordered)) if ordered else None

    def __call__(self, text: str) -> str:
        """The text without them."""
        if self._known:
            text = self._known.sub(HIDDEN, text)
        return "".join(_without(line) for line in text.splitlines(keepends=True))


def _texts(value: str, environ: Mapping[str, str]) -> Iterator[str]:
    """As configured, what it stands for now, and what each reference in it stands for."""
    yield value
    for text in (value, *(found[0] for found in REFERENCE.finditer(value))):
        try:
            yield resolve(text, environ)
        except ConfigError:
            continue  # it leads nowhere, so it is in no text


def _forms(text: str) -> Iterator[str]:
    words = (word for word in text.split() if len(word) >= _LEAST_WORD)
    for one in (text, *words, *_parts(text)):
        if len(one) >= _LEAST:
            yield from (one, json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1], quote(one, safe=""))


def _parts(url: str) -> Iterator[str]:
    """What may be secret in a URL: its password, tokens where others have a host, the longer words behind that."""
    place, _, rest = url.partition("://")[2].partition("/")
    yield place.rpartition("@")[0].partition(":")[2]
    tokens = (part for part in _NO_HOST.split(place) if re.search("[A-Z0-9]", part))
    yield from (part for part in (*tokens, *re.split(r"[/?&=#]", rest)) if len(part) >= _LEAST_PART)


def _without(line: str) -> str:
    for start, end in reversed(_LOOKS.places(line)):
        line = line[:start] + HIDDEN + line[end:]
    return line
