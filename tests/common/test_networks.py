"""Whom an address stands for when requests are counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest
import uvicorn
from fakeredis import FakeAsyncRedis
from starlette.responses import PlainTextResponse

from switchboard.cli.processes.sockets import bind
from switchboard.common.networks import UNKNOWN, bucket_of
from switchboard.common.quota import Quota
from switchboard.http.middleware.rate_limit import Permits, RateLimit, by_address


@pytest.mark.parametrize(
    ("address", "bucket"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:51234", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:51234", "192.0.2.1"),
        ("::ffff:192.0.2.1%eth0", "192.0.2.1"),
        ("::192.0.2.1", "192.0.2.1"),
        ("::ffff:0:192.0.2.1", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("64:ff9b:1::192.0.2.1", "192.0.2.1"),
        ("2002:c000:201::1", "192.0.2.1"),
        ("2002:c000:201:ffff::2", "192.0.2.1"),
        ("2001:0:53aa:64c:0:1234:3fff:fdfe", "192.0.2.1"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"),
        ("[2001:db8:0:1::1]:443", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("fe80::1%eth1", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_an_address_counts_as_the_client_it_is_of_in_whichever_form_it_is_written(address: str, bucket: str) -> None:
    assert bucket_of(address) == bucket


@pytest.mark.parametrize("text", ["", "unknown", "_hidden", "192.0.2", "192.0.2.256", "[::1", "::1::", "1" * 500, "%"])
def test_all_that_is_no_address_counts_together(text: str) -> None:
    """Else whoever can write anything there has as many buckets as there are texts."""
    expected = "::/64" if text == "[::1" else UNKNOWN
    assert bucket_of(text) == expected


@pytest.fixture
async def on_all_addresses() -> AsyncIterator[str]:
    """The port of a server that listens on `::`, as HOST=:: does, and lets each client ask once."""
    store = FakeAsyncRedis(decode_responses=True)
    app = RateLimit(PlainTextResponse("inside"), Permits(store), Quota("one", 1), by_address)
    sockets = bind("::", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    async with store, asyncio.TaskGroup() as tasks:
        tasks.create_task(server._serve(sockets))
        while not server.started:
            await asyncio.sleep(0.01)
        yield str(sockets[0].getsockname()[1])
        server.should_exit = True


async def test_on_a_socket_for_both_families_one_ipv4_client_does_not_use_up_anothers_share(
    on_all_addresses: str,
) -> None:
    answers = []
    for source in ("127.0.0.1", "127.0.0.1", "127.0.0.2"):
        transport = httpx2.AsyncHTTPTransport(local_address=source)
        async with httpx2.AsyncClient(transport=transport) as http:
            answers.append((await http.get(f"http://127.0.0.1:{on_all_addresses}/")).status_code)
    assert answers == [200, 429, 200]
