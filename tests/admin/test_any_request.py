"""Whatever is sent to the API, as its document has it or not, no answer is a server's error (schemathesis)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import AsyncExitStack
from threading import Thread
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from tests.admin.conftest import FILE
from tests.sessions.conftest import serving
from tests.sources.registry import registry
from tools.fleet.redis_server import RedisServer

EXAMPLES = 10
"""Of each route and kind."""


@pytest.fixture(scope="module")
def served(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A worker in a thread of its own: schemathesis sends from this one."""
    file = tmp_path_factory.mktemp("api") / "switchboard.yaml"
    file.write_text(FILE)
    ready: list[str] = []
    loop = asyncio.new_event_loop()
    ended, started = asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            local = await stack.enter_async_context(registry())
            worker = await stack.enter_async_context(
                serving(redis_server.url, config_file=file, mcp_registry_url=local.url)
            )
            ready.append(f"http://localhost:{worker.port}")
            started.set()
            await ended.wait()

    thread = Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    asyncio.run_coroutine_threadsafe(started.wait(), loop).result(60)
    yield ready[0]
    loop.call_soon_threadsafe(ended.set)
    thread.join()


CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance]


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_is_answered_with_a_servers_error(mode: GenerationMode, served: str) -> None:
    document = httpx2.get(f"{served}/api/openapi.json", trust_env=False, timeout=60).json()  # makes the API first
    del document["paths"]["/workers/{worker}/drain"]  # would end this process, when a worker's name is guessed
    found = [
        each.ok() for each in schemathesis.openapi.from_dict(document).get_all_operations() if isinstance(each, Ok)
    ]
    assert len(found) > 15
    for operation in found:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        def sent(case: Case[Any]) -> None:
            case.call_and_validate(base_url=f"{served}/api", checks=CHECKS, timeout=60)

        with contextlib.suppress(Unsatisfiable):  # a route that takes nothing cannot be asked wrongly
            sent()
