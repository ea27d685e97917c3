from __future__ import annotations

import errno
import socket

import pytest

from switchboard.cli.processes.sockets import bind, explained
from switchboard.errors import ConfigurationError


def test_a_free_port_is_bound_and_not_yet_open() -> None:
    (bound,) = bind("127.0.0.1", 0)
    with bound, socket.socket() as client:
        assert client.connect_ex(bound.getsockname()) == errno.ECONNREFUSED


def test_every_address_of_a_name_is_bound() -> None:
    addresses = {info[4][0] for info in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
    bound = bind("localhost", 0)
    try:
        assert {each.getsockname()[0] for each in bound} == addresses
    finally:
        for each in bound:
            each.close()


def test_a_taken_port_names_itself_and_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"^PORT={port} is taken on 127.0.0.1: .*--port"):
            bind("127.0.0.1", port)


def test_an_address_of_another_machine_names_itself() -> None:
    with pytest.raises(ConfigurationError, match=r"^HOST=203\.0\.113\.7 is not an address of this machine"):
        bind("203.0.113.7", 0)


def test_a_name_that_means_nothing_is_said() -> None:
    with pytest.raises(ConfigurationError, match=r"^HOST=nowhere\.invalid is not an address or a known name"):
        bind("nowhere.invalid", 0)


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.EACCES, "PORT=80 needs more rights"), (errno.ENOBUFS, "cannot listen on HOST=h PORT=80")],
)
def test_other_failures_are_explained_too(number: int, says: str) -> None:
    assert str(explained(OSError(number, "because"), "h", 80)).startswith(says)
