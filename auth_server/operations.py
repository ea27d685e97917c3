"""What an operator does by hand, from a shell that has the server's settings: end authorizations, change signing keys.

    python -m auth_server revoke --user SUBJECT | --client ID [--forget] | --token | --all
    python -m auth_server signing-keys rotate | replace

Everything is in Redis, so it counts for all processes at once, and none has to be restarted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from auth_server.app import AuthorizationServer
from auth_server.environment import Environment
from switchboard.errors import ConfigurationError, SwitchboardError
from switchboard.state import check_fingerprint


class UnknownToken(SwitchboardError):
    """The token is none that this server issued."""


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """What the command line asks for; `action` is `serve` when it asks for nothing."""
    parser = argparse.ArgumentParser(prog="python -m auth_server", description="The authorization server.")
    parser.set_defaults(action="serve")
    actions = parser.add_subparsers(metavar="ACTION", description="without one: serve")
    revoke = actions.add_parser("revoke", help="end authorizations, with all their tokens, on every process")
    revoke.set_defaults(action="revoke")
    whose = revoke.add_mutually_exclusive_group(required=True)
    whose.add_argument("--user", metavar="SUBJECT", help="everything that a person granted, and their sessions")
    whose.add_argument("--client", metavar="ID", help="everything that a client was granted")
    whose.add_argument(
        "--token", action="store_true", help="all that came of the same consent; read from standard input"
    )
    whose.add_argument("--all", action="store_true", help="everything: everybody signs in again")
    revoke.add_argument("--forget", action="store_true", help="with --client: end its registration too")
    keys = actions.add_parser("signing-keys", help="of JWT access tokens (ACCESS_TOKENS=jwt)")
    keys.set_defaults(action="signing-keys")
    keys.add_argument("how", choices=["rotate", "replace"], help="replace: the old ones are published no more")
    asked = parser.parse_args(arguments)
    if getattr(asked, "forget", False) and not asked.client:
        revoke.error("--forget goes with --client")
    return asked


async def operate(settings: Environment, asked: argparse.Namespace) -> str:
    """Do what was asked; what to tell the operator.

    Raises:
        ConfigurationError: there is no shared store to do it in, or the keys are not the fleet's.
        NotOurs: the token that was given means nothing here.
    """
    if not settings.state_url:
        raise ConfigurationError("REDIS_URL is not set: a server that keeps everything in memory forgets it at restart")
    async with settings.opened() as state:
        await check_fingerprint(state, settings.auth.secret_keys)
        server = AuthorizationServer(settings.auth, state.redis, prefix=state.prefix, hold=state.replicas.hold)
        return await (_revoke(server, asked) if asked.action == "revoke" else _keys(server, asked.how))


async def _revoke(server: AuthorizationServer, asked: argparse.Namespace) -> str:
    if asked.token:
        told = await server.revoke_token(sys.stdin.readline().strip())
        if told is None:
            raise UnknownToken("that is no token of this server, or one made with a SECRET_KEY that is gone")
        return f"1 authorization ended{told}"
    if asked.client:
        # In this order: what it gets by then is ended too.
        known = await server.forget(asked.client) if asked.forget else False
        count = await server.revoke("client", asked.client)
        forgotten = "; the registration is gone" if known else "; it was not registered" if asked.forget else ""
        return f"{count} authorizations ended{forgotten}"
    count = await (server.revoke("user", asked.user) if asked.user else server.revoke("all"))
    return f"{count} authorizations ended"


async def _keys(server: AuthorizationServer, how: str) -> str:
    kid = await server.change_signing_keys(keep_old=how == "rotate")
    return f"{kid} " + ("is published, and signs in ten minutes" if how == "rotate" else "signs, and no other counts")
