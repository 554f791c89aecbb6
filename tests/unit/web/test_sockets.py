import os
import socket
import stat
from collections.abc import Iterator

import pytest

from agent.kit.disk import Directory
from agent.kit.errors import AgentError, ConfigError
from agent.web import sockets
from agent.web.messages import SOCKET


@pytest.fixture
def no_umask() -> Iterator[None]:
    """A process that masks nothing, so that modes are what the code asks for."""
    old = os.umask(0)
    yield
    os.umask(old)


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("localhost:0", ("localhost", 0)),
        (":9464", ("", 9464)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_an_address_is_host_and_port(listen: str, expected: tuple[str, int]) -> None:
    """Names, IPv4, IPv6 in brackets and the bare port are understood."""
    assert expected == sockets.parse(listen)


@pytest.mark.parametrize("listen", ["9464", "127.0.0.1", "127.0.0.1:", "host:http", "host:65536", "::1:80", "host:-1"])
def test_what_is_no_address_is_named_with_a_remedy(listen: str) -> None:
    """The error repeats what was written and shows how it should look."""
    with pytest.raises(ConfigError) as caught:
        sockets.parse(listen)

    assert listen in caught.value.what
    assert "127.0.0.1:9464" in caught.value.hint


def test_a_port_in_use_is_found_when_binding() -> None:
    """The error names the address and how to find who has it."""
    with sockets.listen_tcp("127.0.0.1:0") as first:
        taken = sockets.address_of(first)
        with pytest.raises(AgentError) as caught:
            sockets.listen_tcp(taken)

    assert taken in caught.value.what
    assert "ss -ltnp" in caught.value.hint


def test_an_address_of_another_machine_is_refused() -> None:
    """TEST-NET-3 (RFC 5737) is nobody's."""
    with pytest.raises(AgentError) as caught:
        sockets.listen_tcp("203.0.113.1:0")

    assert "no interface" in caught.value.hint


def test_a_tcp_address_is_printed_as_it_is_written() -> None:
    """With the port that the kernel chose, so it parses back."""
    with sockets.listen_tcp("127.0.0.1:0") as opened:
        host, port = sockets.parse(sockets.address_of(opened))

    assert host == "127.0.0.1"
    assert port > 0


@pytest.mark.usefixtures("no_umask")
def test_the_local_socket_is_the_owners_alone(state: Directory) -> None:
    """Mode 0600 even where the umask would allow more."""
    with sockets.listen_local(state):
        info = state.stat(SOCKET)

    assert stat.S_ISSOCK(info.st_mode)
    assert stat.S_IMODE(info.st_mode) == 0o600


def test_a_dead_agents_socket_is_replaced(state: Directory) -> None:
    """A killed agent leaves its socket file; the next one listens all the same."""
    sockets.listen_local(state).close()
    assert state.exists(SOCKET)

    with sockets.listen_local(state), socket.socket(socket.AF_UNIX) as client:
        client.connect(f"/proc/self/fd/{state.fd}/{SOCKET}")


def test_a_directory_in_the_sockets_place_is_an_error_with_its_path(state: Directory) -> None:
    """It is not ours to remove."""
    state.make_child(SOCKET).close()

    with pytest.raises(AgentError) as caught:
        sockets.listen_local(state)

    assert caught.value.path == os.path.join(state.path, SOCKET)
    assert caught.value.hint
