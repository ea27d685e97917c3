"""Sharded pub/sub on a real Redis Cluster whose slots move and whose masters change."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pytest
import redis
from redis.crc import key_slot
from structlog.testing import capture_logs

from switchboard.errors import StateUnavailable
from switchboard.state import State, open_state, servers
from switchboard.state.redis_compat import AWAY
from tools.fleet.children import LOOPBACK, free_port
from tools.fleet.redis_cluster import MASTERS, RedisCluster, running_cluster

PATIENCE_S = 300

GIVEN_UP_S = 6
"""After five seconds a node gives up what CLUSTER FAILOVER began: it has to be told again, or nothing comes of it."""

CHANNELS = [f"c{number}" for number in range(60)]


class Operator:
    """Looks at a cluster and changes it, through connections of its own."""

    def __init__(self, cluster: RedisCluster, stack: ExitStack) -> None:
        self.cluster = cluster
        self.nodes: dict[int, Any] = {
            port: stack.enter_context(redis.Redis(LOOPBACK, port, decode_responses=True)) for port in cluster.ports
        }

    def master(self, channel: str) -> int:
        """The port of the node that serves `channel`, as a node that is alive has it."""
        slot = key_slot(channel.encode())
        ranges = self._anybody().execute_command("CLUSTER SLOTS")
        return next(int(node[1]) for first, last, node, *_ in ranges if first <= slot <= last)

    def replica(self, master: int) -> int:
        """The port of the node that would take over from `master`."""
        return int(self.nodes[master].info("replication")["slave0"]["port"])

    def move(self, channel: str, target: int | None = None) -> int:
        """Give the slot of `channel` to another master (https://redis.io/docs/latest/commands/cluster-setslot/).

        Returns:
            The port of the master that had it.
        """
        slot, source = key_slot(channel.encode()), self.master(channel)
        masters = {self.master(other) for other in CHANNELS}
        target = target or min(masters - {source})
        ids = {port: self.nodes[port].execute_command("CLUSTER MYID") for port in (source, target)}
        self.nodes[target].execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[source])
        self.nodes[source].execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[target])
        for port in (target, source, *(masters - {source, target})):
            self.nodes[port].execute_command("CLUSTER SETSLOT", slot, "NODE", ids[target])
        assert self.master(channel) == target
        return source

    async def have_replica_take_over(self, channel: str) -> None:
        """Have the replica of the master of `channel` take its place, as often as it takes on a busy machine."""
        await until(self.whole)
        master = self.master(channel)
        replica, deadline = self.replica(master), time.monotonic() + PATIENCE_S
        while self.master(channel) != replica:
            assert time.monotonic() < deadline, "it did not take over"
            self.nodes[replica].execute_command("CLUSTER FAILOVER")
            given_up = time.monotonic() + GIVEN_UP_S
            while self.master(channel) != replica and time.monotonic() < given_up:
                await asyncio.sleep(0.05)

    def subscribers(self) -> dict[int, int]:
        """How many connections each node that is alive has for pub/sub."""
        return {port: len(node.client_list(_type="pubsub")) for port, node in self._alive().items()}

    def connections(self) -> int:
        """How many clients the nodes that are alive have."""
        return sum(len(node.client_list(_type="normal")) for node in self._alive().values())

    def whole(self) -> bool:
        """Whether each master has its replica."""
        told = [node.info("replication") for node in self._alive().values()]
        return sum(int(each.get("connected_slaves", 0)) for each in told) == MASTERS

    def sent(self, kind: str) -> int:
        """Messages of that kind that the nodes have sent each other."""
        told = [node.execute_command("CLUSTER INFO") for node in self._alive().values()]
        return sum(int(each.get(f"cluster_stats_messages_{kind}_sent", 0)) for each in told)

    def _anybody(self) -> Any:
        return next(iter(self._alive().values()))

    def _alive(self) -> dict[int, Any]:
        running = dict(zip(self.cluster.ports, self.cluster.nodes, strict=True))
        return {port: node for port, node in self.nodes.items() if running[port].process.poll() is None}


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Of one cluster for all tests; the one that kills a master comes last."""
    with ExitStack() as stack:
        cluster = stack.enter_context(running_cluster(tmp_path_factory.mktemp("shards")))
        yield Operator(cluster, stack)


async def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.05)


async def heard(state: State, channel: str, queue: asyncio.Queue[str], payload: str) -> None:
    """Publish until it arrives: while a master is replaced, a message may be lost."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await state.pubsub.publish(channel, payload)
                async with asyncio.timeout(0.5):
                    while await queue.get() != payload:
                        pass
                return
            except (StateUnavailable, TimeoutError):
                await asyncio.sleep(0.1)


async def listening(state: State, stack: AsyncExitStack) -> dict[str, asyncio.Queue[str]]:
    """A listener for each of the channels."""
    queues: dict[str, asyncio.Queue[str]] = {name: asyncio.Queue() for name in CHANNELS}
    for name, queue in queues.items():
        await stack.enter_async_context(state.pubsub.subscribed(name, queue.put_nowait))
    return queues


async def test_a_worker_holds_a_connection_to_each_master_and_a_wake_up_stays_in_its_shard(operator: Operator) -> None:
    async with open_state(operator.cluster.url) as state, AsyncExitStack() as stack:
        queues, before = await listening(state, stack), operator.sent("publishshard")
        assert sorted(operator.subscribers().values()) == [0] * MASTERS + [1] * MASTERS
        for name in CHANNELS:
            await state.pubsub.publish(name, f"to {name}")
        for name, queue in queues.items():
            assert await asyncio.wait_for(queue.get(), PATIENCE_S) == f"to {name}"
        await until(lambda: operator.sent("publishshard") == before + len(CHANNELS))  # one to the replica of each
        assert operator.sent("publish") == 0


async def test_a_channel_whose_slot_moves_is_followed_and_nobody_else_is_told_to_look(operator: Operator) -> None:
    async with open_state(operator.cluster.url) as state, AsyncExitStack() as stack:
        queues = await listening(state, stack)
        moved = CHANNELS[0]
        operator.move(moved)
        assert await asyncio.wait_for(queues[moved].get(), PATIENCE_S) == ""
        for name in CHANNELS:
            await state.pubsub.publish(name, "after")
        for name, queue in queues.items():
            assert await asyncio.wait_for(queue.get(), PATIENCE_S) == "after", name


async def test_a_channel_whose_slot_moves_away_and_back_at_once_is_heard_again(operator: Operator) -> None:
    got: asyncio.Queue[str] = asyncio.Queue()
    async with open_state(operator.cluster.url) as state, state.pubsub.subscribed(CHANNELS[1], got.put_nowait):
        source = operator.move(CHANNELS[1])
        operator.move(CHANNELS[1], source)
        assert await asyncio.wait_for(got.get(), PATIENCE_S) == ""
        await state.pubsub.publish(CHANNELS[1], "back")
        assert await asyncio.wait_for(got.get(), PATIENCE_S) == "back"


async def test_a_subscription_to_a_slot_that_moved_unseen_finds_its_master(operator: Operator) -> None:
    async with open_state(operator.cluster.url) as state:
        kept: asyncio.Queue[str] = asyncio.Queue()
        got: asyncio.Queue[str] = asyncio.Queue()
        beside = next(name for name in CHANNELS[1:] if operator.master(name) == operator.master(CHANNELS[0]))
        async with state.pubsub.subscribed(beside, kept.put_nowait):
            operator.move(CHANNELS[0])
            async with state.pubsub.subscribed(CHANNELS[0], got.put_nowait):
                await state.pubsub.publish(CHANNELS[0], "there")
                assert await asyncio.wait_for(got.get(), PATIENCE_S) == "there"
            await state.pubsub.publish(beside, "undisturbed")
            assert await asyncio.wait_for(kept.get(), PATIENCE_S) == "undisturbed"


async def test_channels_move_with_their_shard_when_its_replica_takes_over_by_hand(operator: Operator) -> None:
    async with open_state(operator.cluster.url) as state, AsyncExitStack() as stack:
        queues = await listening(state, stack)
        await operator.have_replica_take_over(CHANNELS[0])
        for name, queue in queues.items():
            await heard(state, name, queue, "after")


async def test_look_ups_go_to_the_master_of_each_key_also_after_its_slot_moved(operator: Operator) -> None:
    async with open_state(operator.cluster.url) as state:
        for name in CHANNELS:
            await state.redis.delete(name)
        asked = [state.lookups.ask("EXISTS", name) for name in CHANNELS]  # before anything is known of the cluster
        assert [await answer for answer in asked] == [0] * len(CHANNELS)
        moved = CHANNELS[5]
        assert await state.lookups.ask("GET", moved) is None
        operator.move(moved)
        await asyncio.to_thread(operator.nodes[operator.master(moved)].set, moved, "there")
        asked = [state.lookups.ask("GET", moved) for _ in range(20)]
        assert [await answer for answer in asked] == ["there"] * 20
        operator.nodes[operator.master(moved)].delete(moved)


async def test_a_look_up_in_a_slot_that_is_on_its_way_is_answered_wherever_the_key_is(operator: Operator) -> None:
    name, beside = "{on its way}1", "{on its way}2"
    slot, source = key_slot(name.encode()), operator.master(name)
    target = next(port for port in {operator.master(other) for other in CHANNELS} if port != source)
    ids = {port: operator.nodes[port].execute_command("CLUSTER MYID") for port in (source, target)}
    async with open_state(operator.cluster.url) as state:
        await state.redis.set(name, "here")
        assert await state.lookups.ask("EXISTS", name, beside) == 1
        there = next(other for other in CHANNELS if operator.master(other) == target)
        await asyncio.gather(*(state.redis.get(there) for _ in range(2)))  # now two connections to it are idle
        operator.nodes[target].execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[source])
        operator.nodes[source].execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[target])
        try:
            asked = [state.lookups.ask("GET", key) for key in (name, beside)]  # the second one is asked for elsewhere
            assert [await answer for answer in asked] == ["here", None]
            with pytest.raises(StateUnavailable):  # some here and some there: not now
                await state.lookups.ask("EXISTS", name, beside)
        finally:
            for port in (source, target):
                operator.nodes[port].execute_command("CLUSTER SETSLOT", slot, "STABLE")
        assert await state.lookups.ask("EXISTS", name, beside) == 1
        await state.redis.delete(name)


async def test_look_ups_follow_a_replica_that_takes_over_by_hand(operator: Operator) -> None:
    async with open_state(operator.cluster.url) as state:
        name = CHANNELS[0]
        await state.redis.set(name, "kept")
        assert await state.lookups.ask("GET", name) == "kept"
        await operator.have_replica_take_over(name)
        async with asyncio.timeout(PATIENCE_S):
            while await _looked_up(state, name) is None:
                await asyncio.sleep(0.05)
        await state.redis.delete(name)


async def _looked_up(state: State, name: str) -> str | None:
    try:
        return str(await state.lookups.ask("GET", name))
    except StateUnavailable:
        return None


async def test_an_unreachable_cluster_is_told_of_and_looked_for_again() -> None:
    with capture_logs() as logs:
        async with open_state(f"redis+cluster://{LOOPBACK}:{free_port()}") as state:
            with pytest.raises(StateUnavailable, match="did not confirm"):
                async with state.pubsub.subscribed("c", lambda _: None):
                    pytest.fail("it was confirmed")
    assert len([entry for entry in logs if entry["event"] == "redis.cluster_unknown"]) > 1


async def test_every_connection_is_closed_at_the_end_though_a_master_did_not_answer(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "COMMAND_TIMEOUT_S", 0.1)  # four attempts are over before another takes its place
    before, silent = operator.connections(), operator.master(CHANNELS[0])
    node = operator.cluster.nodes[operator.cluster.ports.index(silent)]
    async with open_state(operator.cluster.url) as state:
        await asyncio.gather(*(state.redis.exists(name) for name in CHANNELS), return_exceptions=True)
        node.freeze()
        try:
            with pytest.raises(StateUnavailable), state.guard():
                await state.redis.get(CHANNELS[0])
        finally:
            node.thaw()
    await until(lambda: operator.connections() <= before and operator.whole())


async def test_while_a_master_is_dead_the_others_serve_and_then_its_channels_are_heard_again(
    operator: Operator,
) -> None:
    async with (
        open_state(operator.cluster.url) as state,
        open_state(operator.cluster.url) as idle,
        AsyncExitStack() as stack,
    ):
        queues = await listening(state, stack)
        client: Any = state.redis
        killed = client.get_default_node().port  # the one that redis-py asks first for everything
        lost = next(name for name in CHANNELS if operator.master(name) == killed)
        spared = [name for name in CHANNELS if operator.master(name) != killed]
        for each in (state, idle):
            await asyncio.gather(*(each.lookups.ask("EXISTS", name) for name in CHANNELS))
        operator.cluster.nodes[operator.cluster.ports.index(killed)].kill()
        async with open_state(operator.cluster.url) as another:  # a worker may start just now
            await another.redis.set(spared[0], "x")
        served: Counter[bool] = Counter()
        while await asyncio.to_thread(operator.master, lost) == killed:
            for name in (lost, *spared[:10]):
                try:
                    async with client.pipeline(transaction=False) as pipe:
                        pipe.set(name, "x")
                        await pipe.execute()
                    assert await state.lookups.ask("GET", name) == "x"
                    served[True] += 1
                except (*AWAY, StateUnavailable):
                    served[False] += name != lost
        assert served[True] > 5 * served[False], served
        for name, queue in queues.items():
            await heard(state, name, queue, "after")
        assert killed not in (operator.master(name) for name in CHANNELS)
        # One of the writes above may have come to the new master before anybody else had heard of it.
        assert await idle.lookups.ask("EXISTS", lost) in (0, 1), "it learned by asking who has taken over"
        await until(lambda: sum(operator.subscribers().values()) == MASTERS)
        await state.redis.set(lost, "x")
        assert await asyncio.gather(*(state.lookups.ask("GET", name) for name in (lost, *spared[:10]))) == ["x"] * 11
