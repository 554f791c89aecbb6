"""The proxy: there, away, and there again at the same port; and the receiver behind it."""

from __future__ import annotations

import gzip
import http.client
import socket

import pytest

from agent.otlp.generate import Generator
from agent.rehearsal.proxy import Proxy
from agent.rehearsal.receiver import Receiver


def post(connection: http.client.HTTPConnection, body: bytes, **headers: str) -> int:
    """The status of one request."""
    connection.request("POST", "/v1/traces", body, headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def test_what_is_taken_away_refuses_and_resets_and_comes_back() -> None:
    """A connection in use breaks, a new one is refused, and later works at the same port."""
    line = Generator().trace_line()
    with Receiver() as receiver, Proxy(receiver.port) as proxy:
        kept = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
        assert 200 == post(kept, line)
        proxy.take_away()
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            post(kept, line)
        kept.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", proxy.port), timeout=20)
        proxy.take_away()
        proxy.bring_back()
        again = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
        assert 200 == post(again, line)
        again.close()
        assert {0: 2} == receiver.snapshot()


def test_the_receiver_counts_every_id_of_joined_and_compressed_requests() -> None:
    """Each record once in `distinct`; one that came again is seen twice."""
    maker = Generator()
    lines = [maker.trace_line() for _ in range(10)]
    with Receiver() as receiver:
        connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=20)
        headers = {"Content-Encoding": "gzip"}
        assert 200 == post(connection, gzip.compress(b"".join(lines)), **headers)
        assert 200 == post(connection, lines[3])
        connection.close()
        assert 10 == receiver.distinct
        assert {3: 2} == {one: times for one, times in receiver.snapshot().items() if times > 1}


def test_a_request_that_breaks_off_does_not_count() -> None:
    """Nobody was told that it arrived."""
    line = Generator().trace_line()
    with Receiver() as receiver:
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=20) as half:
            half.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(line))
            half.sendall(line[:-5])
            half.shutdown(socket.SHUT_WR)
            assert b"" == half.recv(100)
        assert 0 == receiver.distinct


def test_nobody_behind_it_is_a_connection_that_ends() -> None:
    """As with any proxy; it goes on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with (
            Proxy(unused.getsockname()[1]) as proxy,
            socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as client,
        ):
            assert b"" == client.recv(1)
