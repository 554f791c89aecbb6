"""Which texts of a configuration are secret: for whoever writes something that others will read."""

from __future__ import annotations

from collections.abc import Iterator

from agent.config.keys import kind_of
from agent.config.reload import flat
from agent.config.schema import Config
from agent.config.values import credentials


def secret_texts(config: Config) -> set[str]:
    """Every text in a key that is never shown, as it was configured: references to variables are not resolved.

    Of a URL that is shown without its credentials it is those.
    """
    values = dict(flat(config))
    kinds = {key: kind_of(key, values) for key in values}
    found = {text for key, value in values.items() if kinds[key].secret for text in _texts(value)}
    urls = {text for key, value in values.items() if kinds[key].url for text in _texts(value)}
    return found.union(*map(credentials, urls))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _texts(one)
