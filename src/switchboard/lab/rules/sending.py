"""Rules about what a client sends: parameters, scopes, how it says who it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from switchboard.lab.hops import Hop, Place
from switchboard.lab.rules.judging import Decide, Finding, at, each, missing

GIVEN_CLIENT: Final = "lab-client"
"""The client that is registered beforehand, where a scenario has one."""

GIVEN_SECRET: Final = "lab-secret"  # noqa: S105 - told to everybody
"""Its secret, where it has one."""

_OFFLINE: Final = "offline_access"
"""A scope that a client may add by itself, to be given a refresh token."""


def pkce(hops: Sequence[Hop], _ended: bool) -> Finding:
    """Every authorization request has a challenge by S256."""

    def fault(hop: Hop) -> str:
        right = hop.sent.get("code_challenge") and hop.sent.get("code_challenge_method") == "S256"
        return "" if right else "no code_challenge with code_challenge_method=S256"

    return each(at(hops, Place.AUTHORIZE), fault)


def resource(hops: Sequence[Hop], _ended: bool) -> Finding:
    """Every authorization and token request says what the token is for: the resource, with or without a slash, or what
    is below it (`metadata-at-root` names the host; the specification has clients be as specific as they can)."""
    named = {name.rstrip("/") for name in _named(hops)}

    def fault(hop: Hop) -> str:
        sent = hop.sent.get("resource", "")
        if not sent:
            return f"no resource parameter at {hop.place}"
        right = not named or any(f"{sent.rstrip('/')}/".startswith(f"{name}/") for name in named)
        return "" if right else f"resource is {sent}, another one"

    return each(at(hops, Place.AUTHORIZE, Place.TOKENS), fault)


def resource_as_named(hops: Sequence[Hop], ended: bool) -> Finding:
    """`resource` is, to the letter, what the resource's metadata name; or a client that compares refuses those."""
    named = _named(hops)
    asked = at(hops, Place.AUTHORIZE, Place.TOKENS)
    if named and ended and not asked:
        return "met", hops[-1], "the metadata were refused"

    def fault(hop: Hop) -> str:
        return "" if hop.sent.get("resource") in named else f"resource is {hop.sent.get('resource', 'not there')}"

    return each(asked, fault)


def _named(hops: Sequence[Hop]) -> Collection[str]:
    return {
        hop.answered["resource"] for hop in hops if hop.place is Place.RESOURCE_METADATA and "resource" in hop.answered
    }


def header_only(hops: Sequence[Hop], _ended: bool) -> Finding:
    """No request to the endpoint has its token in the query; seen once one has a token at all."""
    asked = [hop for hop in at(hops, Place.MCP) if hop.sent.get("token") or hop.sent.get("access_token")]
    return each(asked, lambda hop: "a token in the query" if hop.sent.get("access_token") else "")


def given_client(hops: Sequence[Hop], _ended: bool) -> Finding:
    """The client says that it is the one that was registered beforehand."""

    def fault(hop: Hop) -> str:
        return "" if hop.sent.get("client_id") == GIVEN_CLIENT else f"client_id is not {GIVEN_CLIENT}"

    return each(at(hops, Place.AUTHORIZE), fault)


def client_document(hops: Sequence[Hop], _ended: bool) -> Finding:
    """The client's id is the https URL of its metadata document."""
    if registered := at(hops, Place.REGISTER):
        return "broken", registered[0], "it registered, though the metadata name no registration_endpoint"

    def fault(hop: Hop) -> str:
        return "" if _is_document(hop.sent.get("client_id", "")) else "client_id is no https URL with a path"

    return each(at(hops, Place.AUTHORIZE), fault)


def own_client(least: int) -> Decide:
    """At each of at least so many issuers the client says the id that it got there, or the URL of its document."""

    def decide(hops: Sequence[Hop], ended: bool) -> Finding:
        asked = at(hops, Place.AUTHORIZE, Place.TOKENS)
        got = {(hop.party, hop.answered.get("client_id")) for hop in at(hops, Place.REGISTER)}
        for hop in asked:
            client = hop.sent.get("client_id", "")
            if (hop.party, client) not in got and not _is_document(client):
                return "broken", hop, "the client_id was not given by this issuer"
        if not asked:
            return "not_seen", None, "no authorization was asked for"
        if len({hop.party for hop in asked}) >= least:
            return "met", asked[-1], "each issuer was told the id that it gave"
        if any(hop.status == 401 and hop.sent.get("token") for hop in at(hops, Place.MCP)):
            return missing(ended, asked[-1], "no authorization was asked for at the issuer that is named now")
        return "not_seen", None, "the first issuer's token was not refused"

    return decide


def application_type(hops: Sequence[Hop], ended: bool) -> Finding:
    """Each registration says `native` or `web`, and one of them fits the redirects and is taken."""

    def fault(hop: Hop) -> str:
        return "" if hop.sent.get("application_type") in ("native", "web") else "registration without application_type"

    asked = at(hops, Place.REGISTER)
    state, hop, why = each(asked, fault)
    if state != "met" or any(each.status == 201 for each in asked):
        return state, hop, why
    return missing(ended, asked[-1], f"registered as {asked[-1].sent['application_type']}, which was refused")


def _is_document(client: str) -> bool:
    host, _, path = client.removeprefix("https://").partition("/")
    return client.startswith("https://") and bool(host and path)


def authenticates(method: str) -> Decide:
    """At the token endpoint the client says who it is by this method (`client_secret_basic`, …), and is believed."""

    def fault(hop: Hop) -> str:
        found = hop.sent.get("client_auth", "none")
        return "" if found == method else f"the client authenticated by {found}, and {method} is asked for"

    def decide(hops: Sequence[Hop], ended: bool) -> Finding:
        asked = at(hops, Place.TOKENS)
        state, hop, why = each(asked, fault)
        if state != "met" or any(each.status == 200 for each in asked):
            return state, hop, why
        said = asked[-1].answered.get("error_description", "no token was given")
        return missing(ended, asked[-1], f"the token endpoint refused: {said}")

    return decide


def scope_of_challenge(hops: Sequence[Hop], _ended: bool) -> Finding:
    """The first authorization asks for the scopes of the 401's challenge, and for no others."""
    challenged = next((hop.answered["scope"] for hop in at(hops, Place.MCP) if "scope" in hop.answered), "")
    return _asked_for(hops, challenged)


def scope_of_metadata(hops: Sequence[Hop], _ended: bool) -> Finding:
    """Without scopes in the challenge, the first authorization asks for those of the resource's metadata."""
    found = (hop.answered.get("scopes_supported", "") for hop in hops if hop.place is Place.RESOURCE_METADATA)
    return _asked_for(hops, next(filter(None, found), ""))


def _asked_for(hops: Sequence[Hop], scopes: str) -> Finding:
    def fault(hop: Hop) -> str:
        asked = set(hop.sent.get("scope", "").split()) - {_OFFLINE}
        return (
            "" if asked == set(scopes.split()) else f"asked for {' '.join(sorted(asked)) or 'no scope'}, not {scopes}"
        )

    return each(at(hops, Place.AUTHORIZE)[:1], fault)


def newest_refresh_token(hops: Sequence[Hop], _ended: bool) -> Finding:
    """A refresh token that was replaced is not sent again."""
    newest, seen = "", []
    for hop in at(hops, Place.TOKENS):
        sent = hop.sent.get("refresh_token")
        if sent is not None and newest and sent != newest:
            return "broken", hop, "a refresh token was sent that had been replaced"
        seen += [hop] if sent is not None else []
        newest = hop.answered.get("refresh_token", newest) if hop.status == 200 else newest
    return ("met", seen[-1], "the newest one was sent") if len(seen) > 1 else ("not_seen", None, "not refreshed twice")
