"""`switchboard lab list|run|report`: a client against the scenarios of the authorization lab."""

from __future__ import annotations

import asyncio
import itertools
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from switchboard.aio import first_error
from switchboard.cli.exit_codes import TERMINATED, ending_clearly, say
from switchboard.cli.lab.asking import LabClient, LabUnreachable
from switchboard.cli.lab.driving import Ended, driven, filled
from switchboard.cli.lab.folders import environment, make_browser
from switchboard.cli.lab.own_server import own_server
from switchboard.cli.lab.report import Report
from switchboard.cli.output import AsJson, print_json
from switchboard.cli.progress import progress
from switchboard.common.visible_text import escaped
from switchboard.errors import ConfigurationError
from switchboard.settings import load_settings

app = typer.Typer(help="The authorization lab: what a client does where an authorization server misbehaves.")

Url = Annotated[str | None, typer.Option(help="The server that runs with LAB=on [BASE_URI].")]
OwnUrl = Annotated[str | None, typer.Option(help="The server that runs with LAB=on; without it one is started.")]
Junit = Annotated[Path | None, typer.Option(help="Write a JUnit report to this file.")]


@app.command("list")
def list_scenarios(url: Url = None, as_json: AsJson = False) -> None:
    """List the scenarios of a server's lab."""
    with _ending():
        found = asyncio.run(LabClient(_base(url)).scenarios())
        if as_json:
            print_json(found)
            return
        table = Table("scenario", "what is done", "a right client", "rule", box=None, header_style="bold")
        for each in found:
            about = f"{each['about']} Not offered: {each['not_offered']}" if each.get("not_offered") else each["about"]
            told = (each["name"], about, each["right"], each["rule"])
            table.add_row(*(Text(escaped(str(text))) for text in told))
        Console().print(table)


@app.command("run", context_settings={"allow_interspersed_args": False})
def run_client(
    command: Annotated[
        list[str], typer.Argument(help="The client, after `--`. {url} in it becomes the endpoint; else it is appended.")
    ],
    url: OwnUrl = None,
    scenario: Annotated[list[str] | None, typer.Option(help="Only this scenario, several times.")] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds a client may take in a scenario.")] = 60,
    jobs: Annotated[int, typer.Option(min=1, max=32, help="Scenarios at once: 1 for a client with a fixed port.")] = 1,
    not_tried_passes: Annotated[
        bool, typer.Option("--not-tried-passes", help="Exit with 0 where a scenario was not tried.")
    ] = False,
    as_json: AsJson = False,
    junit: Junit = None,
) -> None:
    """Run a client once against each scenario, and exit with 0 if it passed all.

    It finds the endpoint in MCP_URL too, has a home of its own, and in BROWSER a program that signs in by itself.
    What it has to know in a scenario, such as its id, is in LAB_CLIENT_ID and the like.
    """
    with _ending():
        try:
            report = asyncio.run(_run(command, url, scenario or (), timeout=timeout, jobs=jobs))
        except asyncio.CancelledError:
            raise typer.Exit(TERMINATED) from None
        _tell(report, as_json=as_json, junit=junit, kept=url is not None)
        raise typer.Exit(report.exit_code(not_tried_passes=not_tried_passes))


@app.command("report")
def report_run(
    run: Annotated[str, typer.Argument(help="Its id, or the address of its page.")],
    url: Url = None,
    as_json: AsJson = False,
    junit: Junit = None,
) -> None:
    """Tell what became of a run, which the server keeps for a day."""
    with _ending():
        base, _, found = run.rpartition("/lab/run/")
        lab = LabClient(_base(base or url))
        document = asyncio.run(lab.run(found))
        names = [each["name"] for each in document["scenarios"] if each["hops"] or each["ended"]]
        _tell(Report(document, f"{lab.base}/lab/run/{found}", names), as_json=as_json, junit=junit)


@contextmanager
def _ending() -> Iterator[None]:
    with ending_clearly():
        try:
            yield
        except* LabUnreachable as group:
            raise first_error(group) from None


def _base(url: str | None) -> str:
    """The base of a server.

    Raises:
        ConfigurationError: it is no URL of http or https.
    """
    url = url or load_settings().base_uri
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{url!r} is not an http or https URL")
    return url.rstrip("/").removesuffix("/lab")


def _tell(report: Report, *, as_json: bool, junit: Path | None, kept: bool = True) -> None:
    if junit is not None:
        try:
            report.write_junit(junit)
        except OSError as error:
            raise ConfigurationError(f"--junit {junit}: {error.strerror}") from None
    if as_json:
        print_json(report.document())
        return
    report.show()
    if kept:
        say(f"every request: {report.page}")


async def _run(command: Sequence[str], url: str | None, only: Sequence[str], *, timeout: float, jobs: int) -> Report:
    this: Any = asyncio.current_task()  # SIGTERM ends what was started, as SIGINT does
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    with tempfile.TemporaryDirectory(prefix="switchboard-lab-", ignore_cleanup_errors=True) as temporary:
        async with _lab(url, Path(temporary)) as lab:
            scenarios = _chosen(await lab.scenarios(), only)
            names = [str(each["name"]) for each in scenarios]
            begun = await lab.begin()
            say(f"{len(names)} scenarios, as they go: {begun['page']}")
            ends = await _all(lab, begun, scenarios, command, Path(temporary), timeout=timeout, jobs=jobs)
            return Report(await lab.run(begun["run"]), begun["page"], names, ends)


@asynccontextmanager
async def _lab(url: str | None, folder: Path) -> AsyncIterator[LabClient]:
    if url is not None:
        yield LabClient(_base(url))
        return
    server = folder / "server"
    server.mkdir()
    async with AsyncExitStack() as stack:
        with progress("starting a server with the lab"):
            base = await stack.enter_async_context(own_server(server))
        yield LabClient(base)


def _chosen(known: Sequence[Mapping[str, Any]], only: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    """The scenarios to run; without `only` those that this lab offers, and the others are told of.

    Raises:
        ConfigurationError: one is named that there is not, or that is not offered.
    """
    by_name = {str(each["name"]): each for each in known}
    for name in only:
        if name not in by_name:
            raise ConfigurationError(f"--scenario {name!r}: there is none; there are {', '.join(by_name)}")
        if why := by_name[name].get("not_offered"):
            raise ConfigurationError(f"--scenario {name!r} is not offered by this server. {escaped(why)}")
    for name, each in by_name.items():
        if not only and each.get("not_offered"):
            say(f"{escaped(name)} is not offered by this server. {escaped(each['not_offered'])}")
    return [each for name, each in by_name.items() if not each.get("not_offered") and (not only or name in only)]


async def _all(
    lab: LabClient,
    begun: Mapping[str, Any],
    scenarios: Sequence[Mapping[str, Any]],
    command: Sequence[str],
    folder: Path,
    *,
    timeout: float,
    jobs: int,
) -> Mapping[str, Ended]:
    """Run the client in each scenario, tell the lab how it ended, and the person what became of it.

    Scenarios at the lab's own origin have it one after the other.
    """
    browser = make_browser(folder / "bin")
    free, ends, told = asyncio.Semaphore(jobs), dict[str, Ended](), itertools.count(1)
    origin = asyncio.Lock()

    async def one(scenario: Mapping[str, Any]) -> None:
        name = str(scenario["name"])
        async with origin if scenario.get("own_origin") else nullcontext(), free:
            url, home = begun["urls"][name], folder / "homes" / name
            known = environment(home, browser, name, url, begun.get("told", {}).get(name))
            ends[name] = end = await driven(filled(command, url), known, timeout)
            found = await lab.end(begun["run"], name, end)
            verdict = str(found["verdict"]).replace("_", " ")
            done = next(told)
            shown.say(f"{done}/{len(scenarios)} {name}: {verdict} ({end.told}, {end.seconds:.1f} s)")
            shown.at(done, len(scenarios))

    with progress("scenarios") as shown:
        async with asyncio.TaskGroup() as group:
            for scenario in scenarios:
                group.create_task(one(scenario))
    return ends
