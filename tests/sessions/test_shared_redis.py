"""A Redis that is shared with others: a user who may touch nothing but what starts with the prefix."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import redis
from structlog.testing import capture_logs

from switchboard.cli.login import obtain_token
from tools.fleet.children import free_port
from tools.fleet.redis_server import RedisServer

BOTH = {"accept": "application/json, text/event-stream"}
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
CONFINED = ("on", ">secret", "~app:*", "&app:*", "+@all", "-@dangerous", "-@admin", "+info")


def message(method: str, params: Any = None, id: int = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}


async def test_everything_works_for_a_user_confined_to_the_prefix(
    start_private_redis: Callable[..., RedisServer], serving_worker: Any
) -> None:
    server, port = start_private_redis(), free_port()
    with redis.Redis.from_url(server.url, decode_responses=True) as admin:
        admin.execute_command("ACL", "SETUSER", "app", *CONFINED)
        admin.set("somebody-elses", "1")
        url = server.url.replace("redis://", "redis://app:secret@")
        given = {"auth_mode": "integrated", "base_uri": f"http://localhost:{port}", "redis_prefix": "app:"}
        with capture_logs() as logged:
            async with serving_worker(url, port, **given) as worker, httpx2.AsyncClient(timeout=15) as http:
                token = await asyncio.to_thread(obtain_token, worker.url, user="alice", scope=None)
                bearer = {**BOTH, "authorization": f"Bearer {token}"}
                hello = {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {},
                    "clientInfo": {"name": "t", "version": "1"},
                }
                begun = await http.post(worker.url, json=message("initialize", hello), headers=bearer)
                session = {**bearer, "mcp-session-id": begun.headers["mcp-session-id"]}
                call = {"name": "longRunningOperation", "arguments": {"duration": 0.2, "steps": 2}}
                streamed = message("tools/call", {**call, "_meta": {"progressToken": 1}})
                assert '"result"' in (await http.post(worker.url, json=streamed, headers=session)).text
                subscribe = message("resources/subscribe", {"uri": "test://static/resource/1"})
                assert (await http.post(worker.url, json=subscribe, headers=session)).status_code == 200
                async with http.stream("GET", worker.url, headers=session) as stream:
                    assert stream.status_code == 200
                assert (await http.delete(worker.url, headers=session)).status_code == 204
        others = [key for key in admin.scan_iter() if not key.startswith("app:")]
    assert others == ["somebody-elses"]
    assert not [event for event in logged if event["log_level"] in ("error", "critical")]
