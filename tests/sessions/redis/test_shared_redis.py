"""A Redis that is shared with others: a user who may touch nothing but what starts with the prefix."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import redis
from structlog.testing import capture_logs

from switchboard.cli.login import obtain_token
from tests.sessions.conftest import serving
from tools.fleet.children import free_port
from tools.fleet.redis_server import RedisServer
from tools.messages import ACCEPT, INITIALIZE, call, request

CONFINED = ("on", ">secret", "~app:*", "&app:*", "+@all", "-@dangerous", "-@admin", "+info")


async def test_everything_works_for_a_user_confined_to_the_prefix(
    start_private_redis: Callable[..., RedisServer],
) -> None:
    server, port = start_private_redis(), free_port()
    with redis.Redis.from_url(server.url, decode_responses=True) as admin:
        admin.execute_command("ACL", "SETUSER", "app", *CONFINED)
        admin.set("somebody-elses", "1")
        url = server.url.replace("redis://", "redis://app:secret@")
        given: dict[str, Any] = {
            "auth_mode": "integrated",
            "base_uri": f"http://localhost:{port}",
            "redis_prefix": "app:",
        }
        with capture_logs() as logged:
            async with serving(url, port, **given) as worker, httpx2.AsyncClient(timeout=60) as http:
                token = await asyncio.to_thread(obtain_token, worker.url, user="alice", scope=None)
                bearer = {**ACCEPT, "authorization": f"Bearer {token}"}
                begun = await http.post(worker.url, json=INITIALIZE, headers=bearer)
                session = {**bearer, "mcp-session-id": begun.headers["mcp-session-id"]}
                streamed = call("longRunningOperation", {"duration": 0.2, "steps": 2}, progressToken=1)
                assert '"result"' in (await http.post(worker.url, json=streamed, headers=session)).text
                subscribe = request("resources/subscribe", params={"uri": "test://static/resource/1"})
                assert (await http.post(worker.url, json=subscribe, headers=session)).status_code == 200
                async with http.stream("GET", worker.url, headers=session) as stream:
                    assert stream.status_code == 200
                assert (await http.delete(worker.url, headers=session)).status_code == 204
        others = [key for key in admin.scan_iter() if not key.startswith("app:")]
    assert others == ["somebody-elses"]
    assert not [event for event in logged if event["log_level"] in ("error", "critical")]
