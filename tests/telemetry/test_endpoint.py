"""`/metrics`: who may read it, and what is in it after requests of either era."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from switchboard.errors import ConfigurationError
from switchboard.telemetry.listener import listening
from switchboard.telemetry.metrics import RPC_ERRORS, TABLE
from tests.http.both_ways import BASE, IN_SESSION, OLD_CALL, Asked, World, message, opened
from tests.telemetry.counting import Counted
from tools.fleet.children import free_port

PORT = free_port()
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
async def world(redis_url: str) -> AsyncIterator[World]:
    async with opened(redis_url=redis_url, metrics_port=PORT) as made:
        await made.mint(b"LOOKS", "olivia", "admin:read")
        await made.mint(b"RULES", "adam", "admin")
        yield made


def asked(token: bytes | None, method: str = "GET") -> Asked:
    return Asked(b"", (), method, "/metrics", token=token)


def read(text: str) -> Samples:
    families = text_string_to_metric_families(text)
    return {(each.name, frozenset(each.labels.items())): each.value for row in families for each in row.samples}


def total(samples: Samples, name: str, **labels: str) -> float:
    """Those that have these labels, added up."""
    return sum(
        value for (known, has), value in samples.items() if known == name and labels.items() <= dict(has).items()
    )


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (None, 401),
        (b"Bearer " + b"x" * 40, 401),
        (b"Bearer TOKEN", 403),
        (b"Bearer LOOKS", 200),
        (b"Bearer RULES", 200),
    ],
)
async def test_it_takes_a_token_with_admin_or_admin_read(world: World, token: bytes | None, status: int) -> None:
    one, other, short = await world.both(asked(token))
    assert (one.status, other.status, short) == (status, status, True)
    if status == 403:
        assert b'scope="admin:read"' in dict(one.headers)[b"www-authenticate"]


async def test_it_is_only_read(world: World) -> None:
    told = await world.send(world.front, asked(b"Bearer RULES", "POST"))
    assert told.status == 405


async def test_sessions_are_counted_when_they_begin_and_end_and_the_process_tells_what_it_uses(world: World) -> None:
    async def scraped() -> Samples:
        return read((await world.send(world.front, asked(b"Bearer LOOKS"), named=False)).body.decode())

    before = await scraped()
    await world.open_session()
    assert (await world.send(world.front, Asked(b"", IN_SESSION, "DELETE"))).status == 204
    after = await scraped()
    for event in ("opened", "ended"):
        name = "switchboard_sessions_total"
        assert total(after, name, event=event) - total(before, name, event=event) == 1
    assert (
        total(after, "switchboard_process_cpu_seconds_total")
        >= total(before, "switchboard_process_cpu_seconds_total")
        > 0
    )
    assert total(after, "switchboard_process_resident_memory_bytes") > 1 << 20
    assert total(after, "switchboard_process_open_descriptors") > 3


async def test_a_method_that_a_client_invented_has_no_label_of_its_own(world: World) -> None:
    await world.open_session()
    counted = Counted(RPC_ERRORS)
    assert b"-32601" in (await world.send(world.front, Asked(message("invented/method"), IN_SESSION))).body
    assert counted.since() == {("other", "-32601"): 1}


async def test_requests_of_either_era_are_counted_with_their_method_outcome_and_provider(world: World) -> None:
    await world.open_session()

    async def scraped() -> Samples:
        return read((await world.send(world.front, asked(b"Bearer LOOKS"), named=False)).body.decode())

    before = await scraped()
    for _ in range(3):
        assert (await world.send(world.front, Asked())).status == 200
    assert (await world.send(world.front, Asked(OLD_CALL, IN_SESSION))).status == 200
    assert (await world.send(world.front, Asked(token=None))).status == 401
    after = await scraped()

    def more(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    requests = "switchboard_requests_total"
    assert more(requests, method="tools/call", outcome="ok", era="modern") == 3
    assert more(requests, method="tools/call", outcome="ok", era="handshake") == 1
    assert more(requests, outcome="refused") == 1
    assert more("switchboard_authorization_refusals_total", status="401") == 1
    durations = "switchboard_request_duration_seconds"
    assert more(f"{durations}_count", provider="everything") == 4
    assert more(f"{durations}_bucket", provider="everything", le="+Inf") == 4
    assert 0 < more(f"{durations}_sum", provider="everything") < 60
    assert more("switchboard_redis_round_trips_total", way="lookups") >= 4
    assert total(after, "switchboard_workers", state="serving") == 1


async def test_every_metric_of_the_table_is_told_with_what_it_is(world: World) -> None:
    told = await world.send(world.front, asked(b"Bearer LOOKS"), named=False)
    families = {row.name: row for row in text_string_to_metric_families(told.body.decode())}
    assert {name: row.type for name, row in families.items()} == {name: row.kind for name, row in TABLE.items()}
    assert all(families[name].documentation == row.about for name, row in TABLE.items())


async def test_openmetrics_is_told_to_who_asks_for_it(world: World) -> None:
    accept = ((b"accept", b"application/openmetrics-text; version=1.0.0"),)
    told = await world.send(world.front, Asked(b"", accept, "GET", "/metrics", token=b"Bearer LOOKS"), named=False)
    assert dict(told.headers)[b"content-type"].startswith(b"application/openmetrics-text")
    assert told.body.endswith(b"# EOF\n")


async def test_a_port_of_its_own_needs_no_token_and_tells_nothing_to_pages_of_browsers(world: World) -> None:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{PORT}", trust_env=False) as local:
        assert "switchboard_workers" in (await local.get("/metrics")).text
        assert (await local.get("/mcp")).status_code == 404
        assert (await local.get("/metrics", headers={"host": "rebound.example"})).status_code == 421
        assert (await local.get("/metrics", headers={"origin": BASE})).status_code == 421


async def test_a_port_that_cannot_be_had_is_said() -> None:
    with pytest.raises(ConfigurationError, match=r"METRICS_PORT: cannot listen on 192\.0\.2\.1"):
        async with listening(lambda *_: None, "192.0.2.1", PORT):  # type: ignore[arg-type]
            pass
