"""`switchboard doctor`: a table of checks, each with what to do when it fails."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx2
import typer

from auth_server.connectors.provider_check import examine, redirect_uri
from auth_server.settings import AuthSettings, OidcSettings
from switchboard.authorization import issuing_settings
from switchboard.cli.checks.address import reached
from switchboard.cli.checks.machine import Finding, clock, names, open_files, port, private
from switchboard.cli.client.server import Token
from switchboard.cli.context import ConfigurationContext, FileOption, configuration_context, fleet
from switchboard.cli.exit_codes import DONE, FAILED, known_cause
from switchboard.cli.output import AsJson, print_json
from switchboard.cli.progress import progress
from switchboard.common.discovery import Discovery, Unreadable, read_json
from switchboard.config import Configuration
from switchboard.errors import AuthorizationUnavailable, ConfigurationError, SwitchboardError
from switchboard.external_issuer import TIMEOUT_S, ExternalIssuer, introspection_refusal, shortcomings
from switchboard.plugins import PluginSources
from switchboard.settings import Settings
from switchboard.sources import unusable
from switchboard.sources.table import PROGRAMS
from switchboard.state import StateChecks
from switchboard.state.checks import outdated
from switchboard.state.fingerprint import refuse_strangers
from switchboard.vault_settings import opened_vault
from switchboard.worker_control import ask
from switchboard.worker_socket import ask_here

Check = Callable[[ConfigurationContext], Iterator[Finding]]


def doctor(config: FileOption = None, token: Token = None, as_json: AsJson = False) -> None:
    """Check settings, files, programs, Redis, running workers and the address, and say what to mend.

    With a token, and where none is needed, an event stream is opened at the address, too. Ends with 1 if something
    failed.
    """
    findings = _examined(config, token)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        marks = {"ok": "ok     ", "warning": "warning", "failed": "FAILED "}
        for finding in findings:
            typer.echo(f"{marks[finding.verdict]}  {finding.check}: {finding.said}")
    raise typer.Exit(FAILED if any(finding.verdict == "failed" for finding in findings) else DONE)


def _examined(config: Path | None, token: str | None) -> list[Finding]:
    """What every check finds."""
    try:
        here = configuration_context(config)
    except SwitchboardError as error:
        return [Finding("settings", "failed", str(error))]
    findings = [Finding("settings", "ok", f"serving {here.settings.mcp_url}")]
    with progress("looking") as shown:
        for number, check in enumerate(CHECKS, 1):
            findings.extend(check(here))
            shown.at(number, len(CHECKS) + 1)
        findings.extend(_reached(here, token))
    return findings


def _machine(here: ConfigurationContext) -> Iterator[Finding]:
    yield from open_files()
    yield from private([Path(".env"), *([here.file] if here.file else [])])
    yield from names(here.settings)
    yield from port(here.settings, bool(asyncio.run(ask_here(here.settings.port))))


def _configuration(here: ConfigurationContext) -> Iterator[Finding]:
    try:
        found = here.configuration()
    except SwitchboardError as error:
        yield Finding("configuration", "failed", str(error))
        return
    for row in found.broken.values():
        yield Finding("configuration", "failed", row.reason)
    yield Finding("configuration", "ok", f"{here.file or 'built in'}, {len(found.servers)} servers")
    for said in here.lacking(found):
        yield Finding("configuration", "failed", said)
    yield from _plugins(here, found)
    used = {section.source for section in found.servers.values() if section.enabled}
    for program in sorted(
        {program for source in used for program in PROGRAMS.get(source, ()) if shutil.which(program)}
    ):
        yield Finding(program, "ok", _version(program))


def _plugins(here: ConfigurationContext, found: Configuration) -> Iterator[Finding]:
    """Whether the code of the enabled plugins is there, and can be imported where it runs in this program."""
    sources = PluginSources(here.settings.plugins_dir)
    for name, section in found.plugins.items():
        if not section.enabled:
            continue
        try:
            code = sources.find([name])[name]
            if section.isolation != "process":
                code.load()
        except ConfigurationError as error:
            lacks = isinstance(error.__cause__, ModuleNotFoundError)
            mend = f": install it for {sys.executable}" if lacks else ""
            yield Finding(f"plugin {name}", "failed", f"{error}{mend}")


def _version(program: str) -> str:
    try:
        found = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not say its version ({error})"
    return found.stdout.strip().split("\n")[0] or "there"


def _cache(here: ConfigurationContext) -> Iterator[Finding]:
    folder = here.settings.cache_dir
    problem = unusable(folder)
    yield Finding("cache", "failed", problem) if problem else Finding("cache", "ok", str(folder))


def _fleet(here: ConfigurationContext) -> Iterator[Finding]:
    if here.settings.state_url is None:
        yield Finding("state", "ok", "memory://: one worker, and nothing outlives it")
        yield from _workers(asyncio.run(ask_here(here.settings.port)))
        return
    try:
        answers, risks, now = asyncio.run(_answers(here))
    except (SwitchboardError, BaseExceptionGroup) as error:
        cause = known_cause(error)
        if cause is None:
            raise
        said = str(cause) if isinstance(cause, ConfigurationError) else f"Redis cannot be reached: {cause}"
        yield Finding("state", "failed", said)
        return
    yield Finding("state", "ok", f"Redis answers; {len(answers)} workers do")
    for risk in risks:
        yield Finding("state", "warning", risk)
    yield from clock(now)
    if len({answer["digest"] for answer in answers}) > 1:
        yield Finding("fleet", "warning", "the workers' configurations differ: their files or environments do")
    yield from _workers(answers)


def _workers(answers: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for answer in answers:
        if answer["problem"]:
            yield Finding(
                f"worker {answer['worker']}", "failed", f"does not serve all of its configuration: {answer['problem']}"
            )
        for row in answer["plugins"]:
            if row["phase"] == "failed":
                yield Finding(f"plugin {row['name']} on {answer['worker']}", "failed", row["reason"])
        for row in answer["servers"]:
            if row["phase"] == "failed" or row["condition"] == "failing":
                yield Finding(f"server {row['name']} on {answer['worker']}", "failed", row["reason"])


async def _answers(here: ConfigurationContext) -> tuple[list[Mapping[str, Any]], tuple[str, ...], float]:
    """What the workers say, what to warn of, and what time Redis has."""
    async with fleet(here.settings) as state:
        with state.guard():
            await refuse_strangers(state, here.settings.key_ring)
            seconds, micros = await state.redis.time()
        if said := await outdated(state):
            raise ConfigurationError(said)
        return await ask(state), await StateChecks(state).warnings(), int(seconds) + int(micros) / 1_000_000


def _vault(here: ConfigurationContext) -> Iterator[Finding]:
    """Whether the store of credentials can be asked, and VAULT_KEYS decrypts what is there."""
    try:
        holds, warnings = asyncio.run(_examined_vault(here.settings))
    except (SwitchboardError, BaseExceptionGroup) as error:
        cause = known_cause(error)
        if cause is None:
            raise
        yield Finding("vault", "failed", str(cause))
        return
    if holds is None:
        yield Finding("vault", "ok", "in memory: a running worker alone can say")
        return
    said = "VAULT_KEYS decrypts what is there" if holds else "nothing is in it yet"
    yield Finding("vault", "ok", f"{here.settings.vault}: {said}")
    for warning in warnings:
        yield Finding("vault", "warning", warning)


async def _examined_vault(settings: Settings) -> tuple[bool | None, tuple[str, ...]]:
    """Whether there is anything, and what to warn of; `None` for what is in a worker's memory."""
    if settings.state_url is None and settings.vault == "redis":
        return None, ()
    async with AsyncExitStack() as stack:
        state = await stack.enter_async_context(fleet(settings)) if settings.state_url else None
        vault = await stack.enter_async_context(opened_vault(settings, state, "doctor", checking=False))
        return await vault.check_keys(), tuple(vault.warnings())


def _provider(here: ConfigurationContext) -> Iterator[Finding]:
    """Whoever signs people in, or issues the tokens."""
    yield from asyncio.run(provider_findings(here.settings))


def _reached(here: ConfigurationContext, token: str | None) -> Iterator[Finding]:
    async def found() -> list[Finding]:
        return [finding async for finding in reached(here.settings, token=token)]

    yield from asyncio.run(found())


CHECKS: tuple[Check, ...] = (_machine, _configuration, _cache, _fleet, _vault, _provider)


CHECK = "provider"


async def provider_findings(settings: Settings) -> list[Finding]:
    """What can be said of whoever signs people in or issues the tokens; nothing when that is this server alone."""
    async with httpx2.AsyncClient(timeout=TIMEOUT_S) as http:
        try:
            if settings.auth_mode == "separate":
                return await _direct(settings, http)
            if settings.auth_mode == "integrated" and settings.upstream != "fake":
                return await _broker(issuing_settings(settings), http)
        except ConfigurationError as error:
            return [Finding(CHECK, "failed", str(error))]
    return []


async def _broker(issuing: AuthSettings, http: httpx2.AsyncClient) -> list[Finding]:
    back = redirect_uri(issuing)
    found = [Finding(CHECK, "ok", f"the redirect URI to register there is {back}")]
    if isinstance(issuing.upstream, OidcSettings):
        looked = examine(issuing.upstream, back, http, proving=True)
        found += [Finding(CHECK, verdict, said) async for verdict, said in looked]
    return found


async def _direct(settings: Settings, http: httpx2.AsyncClient) -> list[Finding]:
    url = settings.auth_server_url or ""
    issuer = ExternalIssuer(url, settings, http, Discovery(http, url))
    try:
        metadata = await issuer.metadata()
        found = [Finding(CHECK, "ok", f"its metadata names the issuer {url}")]
        asking = settings.token_validation == "introspection"  # noqa: S105 - a way to verify
        found += [Finding(CHECK, "warning", said) for said in shortcomings(metadata, introspecting=asking)]
        if asking:
            refusal = await introspection_refusal(issuer)
            found.append(Finding(CHECK, "failed" if refusal else "ok", refusal or "it takes our introspection client"))
        else:
            found.extend(_keys(await read_json(http, await issuer.keys())))
    except (AuthorizationUnavailable, Unreadable) as error:
        return [Finding(CHECK, "warning", str(error))]
    return found


def _keys(document: dict[str, object]) -> Iterator[Finding]:
    keys = document.get("keys")
    count = len(keys) if isinstance(keys, list) else 0
    yield Finding(CHECK, "ok" if count else "failed", f"its jwks_uri has {count} keys")
