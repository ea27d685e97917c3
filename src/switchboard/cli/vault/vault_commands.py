"""`switchboard vault status|rotate|delete|backup|restore`: beside running workers, where their settings are.

Each ends with 0, with 1 when something could not be done, and with 2 when a setting is wrong. No value is ever shown.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from switchboard import log
from switchboard.cli.context import fleet
from switchboard.cli.exit_codes import DONE, FAILED, ending_clearly, say
from switchboard.cli.output import AsJson, print_json
from switchboard.cli.progress import progress
from switchboard.common.private_files import open_private
from switchboard.errors import ConfigurationError, SwitchboardError
from switchboard.settings import Settings, load_settings
from switchboard.vault import RecordKey, Vault
from switchboard.vault.backup import backup as backed_up
from switchboard.vault.backup import restore as restored
from switchboard.vault.rotation import inventory, told
from switchboard.vault.rotation import rotate as rotated
from switchboard.vault.vault import KEY_CHECK
from switchboard.vault_settings import opened_vault

app = typer.Typer(help="The credentials that this server keeps: what there is, new keys, backups.")

WHO: Final = "command line"
DELETING: Final = "deleted by an administrator"

File = Annotated[Path, typer.Argument(help="The backup.")]


@app.command()
def status(as_json: AsJson = False) -> None:
    """Say how many credentials there are, and whether VAULT_KEYS decrypts them. Ends with 1 if not all."""

    async def look(vault: Vault) -> dict[str, Any]:
        with progress("reading the credentials") as shown:
            found = await inventory(vault, WHO, shown.at)
        return {
            "records": found.namespaces.total(),
            "keys": [
                {"id": key, "records": found.keys[key], "in_ring": key in vault.cipher.key_ids}
                for key in dict.fromkeys((*vault.cipher.key_ids, *found.keys))
            ],
            "namespaces": {
                name: {"records": count, "owners": len(found.owners[name])}
                for name, count in sorted(found.namespaces.items())
            },
            "undecryptable": told(found.undecryptable),
        }

    settings, said = _run(look, checking=False)
    said = {"vault": settings.vault, **said}
    _print(said, _status_lines, as_json=as_json)
    raise typer.Exit(FAILED if said["undecryptable"] else DONE)


@app.command()
def rotate(
    delete_undecryptable: Annotated[
        bool, typer.Option("--delete-undecryptable", help="Delete what no key of VAULT_KEYS decrypts.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before anything is deleted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Encrypt all credentials with the first key of VAULT_KEYS, while the server runs.

    Every worker must have that key first, and the one used before still in its list.
    """
    if delete_undecryptable and not yes:
        _, found = _run(lambda vault: inventory(vault, WHO), checking=False)
        if found.undecryptable:
            lost, all_ = len(found.undecryptable), found.keys.total()
            typer.confirm(
                f"Delete {lost} of {all_} credentials, which VAULT_KEYS does not decrypt?", abort=True, err=True
            )

    async def change(vault: Vault) -> dict[str, Any]:
        with progress("encrypting the credentials") as shown:
            done = await rotated(vault, WHO, delete_undecryptable=delete_undecryptable, progress=shown.at)
        return {**asdict(done), "undecryptable": told(done.undecryptable)}

    _, said = _run(change, checking=False)
    _print(said, _rotation_lines, as_json=as_json)
    raise typer.Exit(FAILED if said["undecryptable"] else DONE)


@app.command()
def delete(
    owner: Annotated[
        str | None, typer.Option("--owner", help="Whose: the subject of a person, or both issuer and subject as JSON.")
    ] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", help="Of what: server:NAME, plugin:NAME.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete the credentials of a person, or of a server or plugin, or of both together.

    They are not revoked where they came from: people do that on their page of connections.
    """
    if owner is None and namespace is None:
        with ending_clearly():
            raise ConfigurationError("name an owner, or a namespace, or both")

    async def found(vault: Vault) -> list[RecordKey]:
        return [key for key in await vault.store.keys(namespace) if key != KEY_CHECK and _is(key.owner, owner)]

    async def remove(vault: Vault) -> dict[str, Any]:
        return {"deleted": sum([await vault.delete(key, purpose=DELETING, who=WHO) for key in await found(vault)])}

    if not yes:
        _, keys = _run(found)
        owners = len({key.owner for key in keys})
        typer.confirm(f"Delete {len(keys)} credentials of {owners} owners?", abort=True, err=True)
    _, said = _run(remove)
    _print(said, lambda it: [f"{it['deleted']} deleted"], as_json=as_json)


def _is(owner: str, wanted: str | None) -> bool:
    """Whether somebody is who is meant; the gateway itself never is, but where nobody is named."""
    return wanted is None or (owner != "" and wanted in (owner, json.loads(owner)[1]))


@app.command()
def backup(file: File, as_json: AsJson = False) -> None:
    """Write all credentials into a new file, encrypted with the first key of VAULT_KEYS."""

    async def save(vault: Vault) -> dict[str, Any]:
        with progress("reading the credentials") as shown:
            lines = [line async for line in backed_up(vault, WHO, shown.at)]
        _write(file, "".join(f"{line}\n" for line in lines))
        return {"file": str(file), "records": len(lines) - 2, "key": vault.cipher.newest}

    _, said = _run(save)
    _print(said, lambda it: [f"{it['records']} credentials in {it['file']}"], as_json=as_json)


@app.command()
def restore(
    file: File,
    replace: Annotated[bool, typer.Option("--replace", help="Replace credentials that are there, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put the credentials of a backup into the vault; nothing of a backup that is not whole.

    The key that the backup was made with must be in VAULT_KEYS. Ends with 1 if the vault refused any.
    """

    async def load(vault: Vault) -> dict[str, Any]:
        try:
            lines = file.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SwitchboardError(f"{file} cannot be read ({type(error).__name__})") from None
        with progress("restoring the credentials") as shown:
            return asdict(await restored(vault, lines, WHO, replace=replace, progress=shown.at))

    _, said = _run(load)
    _print(said, lambda it: [", ".join(f"{count} {what}" for what, count in it.items())], as_json=as_json)
    raise typer.Exit(FAILED if said["refused"] else DONE)


def _run(work: Callable[[Vault], Coroutine[Any, Any, Any]], *, checking: bool = True) -> tuple[Settings, Any]:
    async def run(settings: Settings) -> Any:
        async with _vault(settings, checking=checking) as vault:
            return await work(vault)

    with ending_clearly():
        settings = load_settings()
        log.configure(settings.log_level, settings.log_format)
        return settings, asyncio.run(run(settings))
    raise AssertionError("a command ends clearly, or not at all")


@asynccontextmanager
async def _vault(settings: Settings, *, checking: bool) -> AsyncIterator[Vault]:
    """The vault; with the fleet's state where there is one."""
    async with AsyncExitStack() as stack:
        state = await stack.enter_async_context(fleet(settings)) if settings.state_url else None
        if state is None:
            say("REDIS_URL is not set: this is not audited")
        else:
            await state.greet()
        yield await stack.enter_async_context(opened_vault(settings, state, "command", checking=checking))


def _write(file: Path, text: str) -> None:
    try:
        descriptor = open_private(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        raise SwitchboardError(f"{file} is there already: name another file") from None
    except OSError as error:
        raise SwitchboardError(f"{file} cannot be written: {error.strerror or error}") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())


def _print(said: dict[str, Any], lines: Callable[[dict[str, Any]], list[str]], *, as_json: bool) -> None:
    print_json(said) if as_json else typer.echo("\n".join(lines(said)))


def _status_lines(said: dict[str, Any]) -> list[str]:
    keys = [
        f"  key {key['id']}: {key['records']}{'' if key['in_ring'] else ', NOT IN VAULT_KEYS'}" for key in said["keys"]
    ]
    namespaces = [f"  {name}: {at['records']} of {at['owners']} owners" for name, at in said["namespaces"].items()]
    return [f"{said['vault']}: {said['records']} credentials", *keys, *namespaces, *_undecryptable(said)]


def _rotation_lines(said: dict[str, Any]) -> list[str]:
    done = f"{said['reencrypted']} encrypted with the newest key, {said['current']} were already"
    deleted = [f"{said['deleted']} deleted that could not be decrypted"] if said["deleted"] else []
    return [done, *deleted, *_undecryptable(said)]


def _undecryptable(said: dict[str, Any]) -> list[str]:
    return [
        f"  CANNOT BE DECRYPTED: {key['namespace']}/{key['name']} of {key['owner'] or 'the gateway'}"
        for key in said["undecryptable"]
    ]
