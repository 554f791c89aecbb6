"""The services that Apprise knows. Why one failed it tells in its log alone: taken from there, secrets cut out."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from agent.alerts.message import DeliveryError, Message, moment
from agent.kit.errors import ConfigError

_LISTED = 20
"""Alerts that one message names; the others are counted."""


class Service:
    """One Apprise URL."""

    def __init__(self, url: str, timeout: float) -> None:
        """Raise ConfigError, which tells only the URL's scheme, where Apprise is missing or does not understand it."""
        self._secrets = secrets_of(url)
        scheme = url.partition("://")[0] if "://" in url else "no scheme"
        try:
            import apprise
        except ImportError as error:
            raise ConfigError(
                f"messages cannot be sent: {error}", hint="install the extra: pip install 'telemetry-agent[apprise]'"
            ) from None
        logging.getLogger("apprise").propagate = False  # it would log URLs beside our own lines
        asset = apprise.AppriseAsset(app_id="telemetry-agent", app_desc="telemetry-agent", secure_logging=True)
        made = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if made is None:
            raise ConfigError(
                f"one of its urls is not understood by Apprise ({scheme})",
                hint="see https://github.com/caronc/apprise/wiki for the form of each service",
            )
        made.socket_connect_timeout = made.socket_read_timeout = timeout
        self._service: Any = made
        self._types = apprise.NotifyType

    def send(self, messages: Sequence[Message]) -> None:
        """Send one message for all. Raises DeliveryError."""
        heard = _Heard(threading.get_ident())
        logger = logging.getLogger("apprise")
        logger.addHandler(heard)
        try:
            sent = self._service.notify(body=_body(messages), title=_title(messages), notify_type=self._type(messages))
        except Exception as error:  # noqa: BLE001 - a hundred plug-ins; whatever they raise is a failure to deliver
            raise DeliveryError(self._scrubbed(f"{type(error).__name__}: {error}")) from None
        finally:
            logger.removeHandler(heard)
        if not sent:
            raise DeliveryError(self._scrubbed(heard.last or "the service did not take the message"))

    def _scrubbed(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text[:300]

    def _type(self, messages: Sequence[Message]) -> Any:
        if messages[0].word == "resolved":
            return self._types.SUCCESS
        worst = {one.severity for one in messages}
        if "critical" in worst:
            return self._types.FAILURE
        return self._types.WARNING if "warning" in worst else self._types.INFO


class _Heard(logging.Handler):
    """The last thing that Apprise said in a thread."""

    def __init__(self, thread: int) -> None:
        super().__init__(logging.WARNING)
        self._thread = thread
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Remember it."""
        if record.thread == self._thread:
            self.last = record.getMessage()


def secrets_of(url: str) -> list[str]:
    """Every part of a URL that may be secret, which is all but its scheme, the longest first."""
    rest = url.partition("://")[2]
    parts = {one for one in re.split(r"[/:@?&=+,;]", rest) if len(one) > 2}
    return sorted({rest, *parts, *map(unquote, parts)} - {""}, key=len, reverse=True)


def _title(messages: Sequence[Message]) -> str:
    first = messages[0]
    test = "TEST " if first.test else ""
    what = first.name if len(messages) == 1 else f"{len(messages)} alerts"
    return f"{test}{first.word.upper()}: {what}"


def _body(messages: Sequence[Message]) -> str:
    lines = []
    for one in messages[:_LISTED]:
        since = f"fired {moment(one.fired)}"
        until = f", resolved {moment(one.ends)}" if one.word == "resolved" else ""
        labels = ", ".join(f"{name}={value}" for name, value in sorted(one.labels.items()))
        lines.append(f"{one.name} ({one.severity}): {one.description}\n{since}{until}; {labels}")
    if len(messages) > _LISTED:
        lines.append(f"and {len(messages) - _LISTED} more; telemetry-agent alerts lists them")
    return "\n\n".join(lines)
