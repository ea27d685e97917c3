"""What every test may stand on: a real Redis, and the rule that nothing is skipped in CI."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import signal
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import httpcore2
import httpx2
import pytest
import redis.asyncio
import structlog
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from switchboard.log.configuration import QUIET
from tools.fleet.redis_server import RedisServer, find_binary, start_redis
from tools.fleet.wiretap import Wiretap

settings.register_profile("machines differ", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("machines differ")

EXTERNAL = os.environ.get("REDIS_TEST_URL")
"""A database that the tests may empty; without it they start a server of their own."""

DEADLINE_S = 600
"""For one test, and for what is started and for what is ended for it, each; none needs half of it on a busy machine."""

LONG = tuple(
    f"tests/{folder}/test_{module}.py"
    for folder, names in {
        "chaos": "short_runs",
        "journeys": "public_servers lost_workers a_full_day scratch inspector separate_mode websocket",
        "cli": "serve connect starting leaving leaving_without_redis token",
        "sso": "other_provider",
        "auth/two_workers": "rotations races",
        "backends": "many_workers matrix direct pass_through",
        "backends/connections": "shared_scope progress",
        "backends/transports": "backend_sessions hostile_child",
        "sources": "registries",
        "sessions": "bad_input owners",
        "sessions/parking": "losses",
        "sessions/redis": "connections redis_away cluster",
        "sessions/streams": "replies",
        "project": "first_server documented_commands deployment",
        "telemetry": "rolling_restart",
        "console": "accessible large_fleet fleet_page pages console_in_a_browser gate controls",
        "lab": "right_and_wrong runner",
        "http": "fast_path",
        "tasks": "fleet",
        "auth": "clocks",
        "common": "http_processes",
        "state": "pubsub servers",
        "auth/rfc9700_security_practice": "hostile_input",
    }.items()
    for module in names.split()
)
"""The modules that take longest, mostly since they start processes and end them."""

WHOLE = frozenset(
    f"tests/{module}.py"
    for module in (
        "auth/two_workers/test_rotations",
        "backends/test_matrix",
        "chaos/test_short_runs",
        "console/test_accessible",
        "console/test_console_in_a_browser",
        "console/test_controls",
        "console/test_fleet_page",
        "console/test_gate",
        "console/test_large_fleet",
        "console/test_pages",
        "journeys/test_a_full_day",
        "journeys/test_inspector",
        "journeys/test_scratch",
        "journeys/test_separate_mode",
        "lab/test_right_and_wrong",
        "lab/test_runner",
        "project/test_documented_commands",
        "sessions/redis/test_cluster",
        "state/test_servers",
    )
)
"""Those of them that stay with one process: their tests share a fleet, or want the machine to themselves."""


def pytest_report_header() -> str:
    """Say which Redis the run uses."""
    if EXTERNAL:
        version = redis.Redis.from_url(EXTERNAL).info("server")["redis_version"]
        return f"redis: {version} from REDIS_TEST_URL"
    binary = find_binary()
    return f"redis: {binary.version} {binary.origin} ({binary.path})" if binary else "redis: none found"


@pytest.fixture(scope="session", autouse=True)
def runtime_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where workers without Redis can be asked: apart from those of other runs, and of whoever uses this machine."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def compiled_when_used() -> Iterator[None]:
    """Of the packages that tests install, only what a server imports is compiled: pip would compile all of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_COMPILE", "1")
        yield


@pytest.fixture(scope="session", autouse=True)
def quiet_libraries() -> None:
    """Libraries log from the levels on that every process of ours gives them: below, nothing needs to be worded."""
    for name, floor in QUIET.items():
        logging.getLogger(name).setLevel(floor)


@pytest.fixture(scope="session", autouse=True)
def trusted_once() -> Iterator[None]:
    """The system's certificates are read once in a process, not for each of thousands of HTTP clients."""
    read = httpcore2.default_ssl_context
    kept = functools.cache(lambda trust_env, *_named: read(_trust_env=trust_env))

    def trusted(*, _trust_env: bool = True) -> ssl.SSLContext:
        return kept(_trust_env, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpcore2, "default_ssl_context", trusted)
        yield


@pytest.fixture(scope="session")
def start_private_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RedisServer]]:
    """Start further Redis servers, for tests that stop or kill theirs: `start_private_redis(port=…, options=[…])`."""
    started: list[RedisServer] = []

    def start(*, port: int | None = None, options: Sequence[str] = ()) -> RedisServer:
        started.append(start_redis(tmp_path_factory.mktemp("redis"), port=port, options=options))
        return started[-1]

    yield start
    for server in started:
        if server.child:
            server.child.stop()


@pytest.fixture(scope="session")
def redis_server(start_private_redis: Callable[..., RedisServer]) -> RedisServer:
    """The run's own Redis; its content belongs to whoever asked last for `redis_url`."""
    if EXTERNAL:
        return RedisServer(EXTERNAL, "from REDIS_TEST_URL")
    return start_private_redis()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of a real, empty Redis."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushdb()
    return redis_server.url


@pytest.fixture(scope="session")
def _redis_of_fleets(start_private_redis: Callable[..., RedisServer]) -> RedisServer:
    return start_private_redis()


@pytest.fixture(scope="module")
def fleet_redis(_redis_of_fleets: RedisServer) -> str:
    """The URL of a real Redis for workers that all tests of a module share: empty at first, not between the tests."""
    with redis.Redis.from_url(_redis_of_fleets.url) as client:
        client.flushall()
    return _redis_of_fleets.url


BACKGROUND = frozenset({"EVAL", "PING", "CLIENT", "SELECT", "HELLO"})
"""What workers send to Redis whether or not they call each other."""


@pytest.fixture
def commands(redis_url: str) -> Callable[[], Any]:
    """`async with commands() as seen`: after the block, the commands that all clients sent to Redis meanwhile.

    `commands(scripts=True)`: and those that scripts made of them.
    """

    @asynccontextmanager
    async def watching(*, scripts: bool = False) -> AsyncIterator[list[str]]:
        seen: list[str] = []
        async with (
            redis.asyncio.Redis.from_url(redis_url, decode_responses=True) as client,
            client.monitor() as monitor,
        ):
            yield seen
            await client.echo("end")
            while (told := await monitor.next_command())["command"] != "ECHO end":
                name = str(told["command"]).partition(" ")[0].upper()
                if (scripts or told["client_type"] != "lua") and name not in BACKGROUND:
                    seen.append(name)

    return watching


@pytest.fixture
async def pass_time() -> AsyncIterator[Callable[[float], Awaitable[None]]]:
    """`await pass_time(seconds)`: the event loop's clock goes on by so much, and what was due by then is done."""
    loop = asyncio.get_running_loop()
    real, passed = loop.time, 0.0

    async def pass_(seconds: float) -> None:
        nonlocal passed
        passed += seconds
        for _ in range(50):
            await asyncio.sleep(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "time", lambda: real() + passed)
        yield pass_


@pytest.fixture(scope="session")
def scratch_folder() -> Path:
    """The repository's `scratch/` folder, whose scripts are tested by running them."""
    return Path(__file__).parents[1] / "scratch"


class Hearing(logging.Handler):
    """Everything that is logged in this process, at DEBUG, before anything is blanked in it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """The standard library's loggers, save below the levels that every process of ours gives to some of them."""
        parts = record.name.split(".")
        names = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
        floor = next((QUIET[name] for name in names if name in QUIET), logging.DEBUG)
        if record.levelno >= floor:
            self.said.append(f"{record.name} {record.getMessage()}")

    def processor(self, _logger: Any, _method: str, event: Any) -> Any:
        """Structlog's."""
        self.said.append(repr(event))
        return event


@pytest.fixture(scope="session")
def wiretap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wiretap]:
    """Knows every secret of the run; at its end no log of any process may hold one."""
    tap = Wiretap()
    yield tap
    logs = sorted(tmp_path_factory.getbasetemp().rglob("*.log"))
    assert {log.name: found for log in logs if (found := tap.found_in(log.read_text(errors="replace")))} == {}


@pytest.fixture
def hearing(wiretap: Wiretap, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hearing]:
    """Nothing that a test's HTTP clients, or the server's, send or are given stands in the log that it leaves."""
    async_send, send = httpx2.AsyncClient.send, httpx2.Client.send

    async def tapped_async(*args: Any, **options: Any) -> httpx2.Response:
        response = await async_send(*args, **options)
        wiretap.passed(response)
        return response

    def tapped(*args: Any, **options: Any) -> httpx2.Response:
        response = send(*args, **options)
        wiretap.passed(response)
        return response

    heard, root, processors = Hearing(), logging.getLogger(), structlog.get_config()["processors"]
    before, level = list(processors), root.level
    with monkeypatch.context() as patched:
        patched.setattr(httpx2.AsyncClient, "send", tapped_async)
        patched.setattr(httpx2.Client, "send", tapped)
        processors.insert(0, heard.processor)  # in place: loggers that were used before keep this very list
        root.addHandler(heard)
        root.setLevel(logging.DEBUG)
        yield heard
        root.setLevel(level)
        root.removeHandler(heard)
        processors[:] = before
    assert wiretap.found_in("\n".join(heard.said)) == set()


@pytest.fixture(autouse=True)
def searched(hearing: object) -> None:
    """Every test's log is searched for every secret of the run."""


def _ring(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"it took longer than {DEADLINE_S} s")


@pytest.hookimpl(wrapper=True)
def _ended_in_time() -> Iterator[None]:
    """Fail what hangs, wherever it waits; the alarm rings again until it is over, since closing may hang as well."""
    before = signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, DEADLINE_S, DEADLINE_S / 10)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


pytest_runtest_setup = pytest_runtest_call = pytest_runtest_teardown = _ended_in_time


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the long modules over the first two thirds of a run: at its end no process has one to itself."""
    modules = list(dict.fromkeys(item.nodeid.partition("::")[0] for item in items))
    long = [module for module in LONG if module in modules]
    short = [module for module in modules if module not in long]
    place = {module: 2 / 3 * turn / len(long) for turn, module in enumerate(long)}
    place |= {module: turn / len(short) for turn, module in enumerate(short)}
    items.sort(key=lambda item: place[item.nodeid.partition("::")[0]])


class Spread(LoadScopeScheduling):  # type: ignore[misc]
    """A module to a process, as its tests may share what they start; a long one whose tests share nothing, to all."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return nodeid if module in LONG and module not in WHOLE else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Spread:
    """How tests are shared by several processes."""
    return Spread(config, log)


def pytest_collection_finish() -> None:
    """Whatever was imported and collected stays: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Say in one line what was not run and why; in CI that fails the run: every part is installed there."""
    yield
    if skipped := terminalreporter.stats.get("skipped", []):
        reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)
        told = "; ".join(f"{times} tests: {reason}" for reason, times in reasons.most_common())
        terminalreporter.write_line(f"Not run{', and CI must run it' if _ci() else ''}: {told}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a green run with skips into a red one, in CI only."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if _ci() and reporter is not None and reporter.stats.get("skipped") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _ci() -> bool:
    return os.environ.get("CI", "").lower() in ("1", "true")
