"""Scenarios about how a client finds the issuer, and what it makes of the metadata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from switchboard.lab.scenarios.model import (
    APPENDED_OPENID,
    INSERTED_OAUTH,
    INSERTED_OPENID,
    Answers,
    Behaviour,
    Discovery,
    Endpoint,
    Scenario,
)

ALWAYS: Final = ("pkce", "resource", "header-only")
"""What holds wherever a client gets a token."""

_BEFORE_RESOURCES: Final = ("pkce", "header-only")
"""What holds in 2025-03-26, which has no `resource`."""

ELSEWHERE: Final = "https://elsewhere.invalid/"

DISCOVERING: Final[Sequence[Scenario]] = (
    Scenario(
        "plain",
        "Everything right",
        "Nothing is wrong: the server and its issuer follow the specification.",
        "Discovers, registers, authorizes with PKCE and resource, and calls tools.",
        "Leaves out PKCE or resource, sends its token in the query, or calls no tool with it.",
        (*ALWAYS, "calls-tools"),
    ),
    Scenario(
        "metadata-at-path",
        "A 401 that names no metadata",
        "The challenge has no resource_metadata; they are at the well-known address with the endpoint's path.",
        "Looks there.",
        "Gives up.",
        ("finds-metadata", *ALWAYS),
        Behaviour(Discovery(challenge="without metadata")),
    ),
    Scenario(
        "metadata-elsewhere",
        "Metadata at the address that the 401 names",
        "The resource metadata are at an address of their own, and at no well-known one.",
        "Takes the address of the challenge.",
        "Looks at well-known addresses alone.",
        ("uses-named-metadata", *ALWAYS),
        Behaviour(Discovery(resource_metadata="elsewhere")),
    ),
    Scenario(
        "metadata-at-root",
        "Metadata at the root of the host alone",
        "The challenge has no resource_metadata, nor has the well-known address with the endpoint's path; they are at"
        " /.well-known/oauth-protected-resource, and name the host as the resource.",
        "Looks there in the end.",
        "Gives up before, or looks for an issuer at the host.",
        ("looks-at-root", *ALWAYS),
        Behaviour(Discovery(challenge="without metadata", at_root="resource metadata")),
        own_origin=True,
    ),
    Scenario(
        "metadata-redirected",
        "Metadata behind a redirect",
        "The well-known address answers 307, to where the resource metadata are.",
        "Follows it.",
        "Gives up.",
        ("follows-redirects", *ALWAYS),
        Behaviour(Discovery(resource_metadata="redirected")),
    ),
    Scenario(
        "oauth-metadata-only",
        "Issuer metadata of RFC 8414 alone",
        "The issuer has a path, and its metadata are at /.well-known/oauth-authorization-server/… alone.",
        "Finds them.",
        "Asks for OpenID documents alone.",
        ("tries-all-addresses", *ALWAYS),
        Behaviour(Discovery(issuer_metadata=frozenset({INSERTED_OAUTH}))),
    ),
    Scenario(
        "openid-inserted-only",
        "An OpenID document before the path alone",
        "The issuer's metadata are at /.well-known/openid-configuration/… alone.",
        "Finds them at its second attempt.",
        "Gives up after the first.",
        ("tries-all-addresses", *ALWAYS),
        Behaviour(Discovery(issuer_metadata=frozenset({INSERTED_OPENID}))),
    ),
    Scenario(
        "openid-appended-only",
        "An OpenID document after the path alone",
        "The issuer's metadata are at …/.well-known/openid-configuration alone.",
        "Finds them at its third attempt.",
        "Gives up before.",
        ("tries-all-addresses", *ALWAYS),
        Behaviour(Discovery(issuer_metadata=frozenset({APPENDED_OPENID}))),
    ),
    Scenario(
        "fallback-2025-03-26",
        "An issuer at the root of the host, as of 2025-03-26",
        "There are no resource metadata. The issuer is the host: its metadata are at"
        " /.well-known/oauth-authorization-server, and name endpoints elsewhere.",
        "Takes the endpoints of the metadata; or does not know that revision, and asks for none.",
        "Keeps the endpoint's path, or takes endpoints that it made up.",
        ("falls-back", *_BEFORE_RESOURCES),
        Behaviour(
            Discovery(
                challenge="without metadata", at_root="issuer metadata", issuer_metadata=frozenset({INSERTED_OAUTH})
            )
        ),
        spec_version="2025-03-26",
        own_origin=True,
    ),
    Scenario(
        "fallback-without-metadata",
        "No metadata at all, as of 2025-03-26",
        "There are no metadata of any kind; the issuer's endpoints are /authorize, /token and /register of the host.",
        "Takes those; or does not know that revision, and does not authorize.",
        "Keeps the endpoint's path, or authorizes without PKCE.",
        ("default-endpoints", *_BEFORE_RESOURCES),
        Behaviour(Discovery(challenge="without metadata", at_root="endpoints"), answers=Answers(iss="not advertised")),
        spec_version="2025-03-26",
        own_origin=True,
    ),
    Scenario(
        "discovery-cors",
        "Metadata that pages may ask for without a header alone",
        "A page may read both metadata documents; a preflight for MCP-Protocol-Version is refused (403).",
        "In a browser: asks again without the header, if it sent it. A program has no preflights.",
        "Gives up, or goes on without the metadata.",
        ("asks-without-header", *ALWAYS),
        Behaviour(Discovery(preflight="refused")),
    ),
    Scenario(
        "unknown-members",
        "Metadata with members that nobody knows",
        "Both documents have further members.",
        "Ignores them.",
        "Refuses the documents.",
        ("ignores-unknown", *ALWAYS),
        Behaviour(Discovery(unknown=True)),
    ),
    Scenario(
        "resource-with-slash",
        "A resource with a slash at its end",
        "The resource metadata name the endpoint with a slash after it.",
        "Sends that as `resource`, slash and all; or refuses the metadata, since their resource is not the"
        " URL that it was given (RFC 9728 §3.3).",
        "Sends the URL that it was given.",
        ("resource-as-named", "pkce", "header-only"),
        Behaviour(Discovery(resource="/")),
    ),
    Scenario(
        "scope-of-challenge",
        "Scopes in the challenge",
        'The challenge says `scope="read"`; the metadata have more.',
        "Asks for read alone.",
        "Asks for all that the metadata list.",
        ("scope-of-challenge", *ALWAYS),
        Behaviour(Discovery(scopes=("read", "write"))),
    ),
    Scenario(
        "scope-of-metadata",
        "No scopes in the challenge",
        "The challenge has no scope.",
        "Asks for the scopes_supported of the resource metadata.",
        "Asks for none, or for scopes that it made up.",
        ("scope-of-metadata", *ALWAYS),
        Behaviour(Discovery(challenge="without scope", scopes=("read", "list"))),
    ),
    Scenario(
        "two-issuers",
        "Two issuers",
        "The resource metadata name two issuers; either gives tokens.",
        "Takes one, and registers there.",
        "Registers with one, and authorizes at the other.",
        ("own-client", *ALWAYS),
        Behaviour(Discovery(issuers="two")),
        spec_version="2026-07-28",
    ),
    Scenario(
        "issuer-moves",
        "A resource that moves to another issuer",
        "After a call of the tool `read` the token is refused, and the challenge names metadata with another issuer;"
        " there are no refresh tokens.",
        "Reads them, registers there, and authorizes.",
        "Says its old client id there, or goes back to the old issuer.",
        ("registers-anew", *ALWAYS),
        Behaviour(Discovery(issuers="moves"), answers=Answers(refresh="none"), endpoint=Endpoint(revoked_after="read")),
        spec_version="2026-07-28",
    ),
    Scenario(
        "no-s256",
        "PKCE is not advertised",
        "The issuer's metadata have no code_challenge_methods_supported.",
        "Does not authorize.",
        "Authorizes all the same.",
        ("refuses-without-s256",),
        Behaviour(Discovery(pkce=None)),
        "refuses",
    ),
    Scenario(
        "plain-pkce-only",
        "PKCE by `plain` alone",
        "The issuer's code_challenge_methods_supported are `plain`.",
        "Does not authorize.",
        "Authorizes all the same.",
        ("refuses-without-s256",),
        Behaviour(Discovery(pkce=("plain",))),
        "refuses",
    ),
    Scenario(
        "wrong-resource",
        "Metadata of another resource",
        "The resource metadata name a resource on another host.",
        "Does not use them.",
        "Authorizes for that resource.",
        ("refuses-wrong-resource",),
        Behaviour(Discovery(resource=ELSEWHERE)),
        "refuses",
    ),
    Scenario(
        "wrong-issuer",
        "Metadata of another issuer",
        "The issuer's metadata name another issuer than the one they were asked of.",
        "Does not use them.",
        "Authorizes there.",
        ("refuses-wrong-issuer",),
        Behaviour(Discovery(issuer=ELSEWHERE)),
        "refuses",
    ),
)
