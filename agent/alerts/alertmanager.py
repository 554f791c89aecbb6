"""Alertmanager: `POST /api/v2/alerts` (its api/v2/openapi.yaml), to each server of a cluster, as Prometheus does it."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec

from agent import __version__
from agent.alerts.message import DeliveryError, Message
from agent.alerts.rule import number
from agent.kit.errors import ConfigError


class Alertmanager:
    """One cluster: what one server took is delivered, for they tell each other."""

    def __init__(self, urls: Sequence[str], timeout: float, ca_file: str = "") -> None:
        """Raise ConfigError for a URL or a file that cannot be used; neither tells the URL, it may hold a password."""
        self._urls = [_endpoint(url) for url in urls]
        self._timeout = timeout
        self._context: ssl.SSLContext | bool = False
        if any(url.scheme == "https" for url in self._urls):
            try:
                self._context = ssl.create_default_context(cafile=ca_file or None)
            except OSError as error:
                raise ConfigError(f"the authorities cannot be read: {error.strerror or error}", path=ca_file) from None

    def send(self, messages: Sequence[Message]) -> None:
        """Tell every server; one that takes it is enough. Raises DeliveryError with what each said."""
        body = msgspec.json.encode([_alert(one) for one in messages])
        failures: list[DeliveryError] = []
        for url in self._urls:
            try:
                self._post(url, body)
            except DeliveryError as error:
                failures.append(error)
        if len(failures) == len(self._urls):
            raise DeliveryError("; ".join(map(str, failures)))

    def _post(self, url: httpx.URL, body: bytes) -> None:
        headers = {"Content-Type": "application/json", "User-Agent": f"telemetry-agent/{__version__}"}
        place = f"{url.scheme}://{url.host}:{url.port or ''}".rstrip(":")
        try:
            with (
                httpx.Client(verify=self._context, trust_env=False, timeout=self._timeout) as client,
                client.stream("POST", url, content=body, headers=headers) as answer,
            ):
                said = next(answer.iter_bytes(2048), b"")
        except (httpx.HTTPError, OSError) as error:
            raise DeliveryError(f"{place}: {str(error) or type(error).__name__}") from None
        if answer.status_code // 100 != 2:
            text = said.decode("utf-8", "replace").strip()[:200]
            raise DeliveryError(f"{place}: status {answer.status_code}: {text}")


def _endpoint(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
        host = url.host
    except (httpx.InvalidURL, UnicodeError):  # UnicodeError: an international name that is none
        url, host = httpx.URL(""), ""
    if url.scheme not in ("http", "https") or not host:
        raise ConfigError("one of its urls is no http:// or https:// address", hint='write "http://127.0.0.1:9093"')
    return url.copy_with(path=url.path.rstrip("/") + "/api/v2/alerts")


def _alert(message: Message) -> dict[str, Any]:
    annotations = {"description": message.description}
    if message.value is not None:
        annotations["value"] = number(message.value)
    if message.test:
        annotations["test"] = "true"
    return {
        "labels": {name: value for name, value in message.labels.items() if value},
        "annotations": annotations,
        "startsAt": _time(message.fired),
        "endsAt": _time(message.ends),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
