"""The metrics in the form a scraper asks for: text 0.0.4, text 1.0.0 or OpenMetrics 1.0, gzip or not.

Invariant: what a scraper gets was collected after it asked. Scrapers that ask at once share one collection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from isal import isal_zlib
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

_GZIP = 31  # zlib's word for a gzip frame of a 32 KiB window; its header has no time and no name

Encoder = Callable[[CollectorRegistry], bytes]


class Exposition:
    """Renders one registry, on the event loop it is first used on."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._asked: dict[str, asyncio.Future[bytes]] = {}

    async def render(self, accept: str) -> tuple[bytes, str]:
        """The exposition for an Accept header, and its content type."""
        encode, content_type = encoder(accept)
        if content_type not in self._asked:
            loop = asyncio.get_running_loop()
            self._asked[content_type] = loop.create_future()
            # Not now: those who are in the queue already will join, and rendering is most of what a scrape costs.
            loop.call_soon(self._answer, content_type, encode)
        return await asyncio.shield(self._asked[content_type]), content_type

    def _answer(self, content_type: str, encode: Encoder) -> None:
        asked = self._asked.pop(content_type)
        try:
            asked.set_result(encode(self._registry))
        except Exception as error:  # noqa: BLE001  # those who wait are told
            asked.set_exception(error)


def encoder(accept: str) -> tuple[Encoder, str]:
    """The encoder for an Accept header, and its content type; plain text for a header that makes no sense."""
    try:
        chosen, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number
        return generate_latest, CONTENT_TYPE_PLAIN_0_0_4
    if content_type.startswith("application/openmetrics-text"):
        # The library promises back whichever version was asked for, 2.0 or 9.9: we promise what we write.
        return openmetrics.generate_latest, openmetrics.CONTENT_TYPE_LATEST
    return chosen, content_type


def accepts_gzip(accept_encoding: str) -> bool:
    """True when an Accept-Encoding header (RFC 9110, 12.5.3) allows gzip, by name or by `*`."""
    weights: dict[str, bool] = {}
    for item in accept_encoding.lower().split(","):
        name, _, rest = item.partition(";")
        key, _, weight = rest.partition("=")
        weights[name.strip()] = key.strip() != "q" or weight.strip().strip("0.") != ""
    return weights.get("gzip", weights.get("*", False))


def gzip(content: bytes) -> bytes:
    """`content` as one gzip member."""
    compressed: Any = isal_zlib.compress(content, 1, _GZIP)
    return bytes(compressed)
