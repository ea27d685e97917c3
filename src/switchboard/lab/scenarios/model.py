"""What a scenario is, and in what its server may differ from a right one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from switchboard.lab.rules import RULES, Rule

INSERTED_OAUTH: Final = "oauth-authorization-server"
INSERTED_OPENID: Final = "openid-configuration"
APPENDED_OPENID: Final = "appended"
EVERYWHERE: Final = frozenset({INSERTED_OAUTH, INSERTED_OPENID, APPENDED_OPENID})
"""Where an issuer's metadata can be: RFC 8414 §3.1, its §5, and OpenID Connect Discovery §4."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """How a client learns of the issuer.

    Args:
        challenge: what the 401 says: all, nothing about metadata, nothing about scopes, or no challenge at all.
        resource_metadata: at the well-known address, at another one alone, or by a redirect to that.
        resource: what the resource metadata name instead of the endpoint; `/` for the endpoint with a slash.
        scopes: the resource metadata's scopes_supported: what a client needs at first.
        issuer_metadata: at which addresses the issuer's are.
        issuer: what the issuer metadata name instead of the issuer.
        pkce: the methods that are advertised; `None` for no such member.
        unknown: whether both documents have members that no specification knows.
        issuers: whether the resource metadata name one issuer, two, or one first and another after a token was revoked.
        at_root: what is at the root of the host, and nowhere else: the resource metadata; the issuer metadata, without
            any of the resource; or its endpoints, without any metadata. Empty for a root with nothing.
        preflight: whether pages may ask for both documents with MCP-Protocol-Version, or without it alone.
    """

    challenge: Literal["whole", "without metadata", "without scope"] = "whole"
    resource_metadata: Literal["well-known", "elsewhere", "redirected"] = "well-known"
    resource: str | None = None
    scopes: tuple[str, ...] = ("read",)
    issuer_metadata: frozenset[str] = EVERYWHERE
    issuer: str | None = None
    pkce: tuple[str, ...] | None = ("S256",)
    unknown: bool = False
    issuers: Literal["one", "two", "moves"] = "one"
    at_root: Literal["", "resource metadata", "issuer metadata", "endpoints"] = ""
    preflight: Literal["allowed", "refused"] = "allowed"


@dataclass(frozen=True, slots=True)
class Clients:
    """How clients become known to the issuer.

    Args:
        known: by dynamic registration, by the URL of their document, or the one that is registered beforehand.
        auth: how they say who they are at the token endpoint.
        company: whether a company's identity provider decides who gets in, by ID-JAGs.
        machine: whether clients act for themselves: client_credentials is the one grant.
        native_only: whether redirects to loopback are registered for `application_type` native alone, as OpenID has it.
    """

    known: Literal["registered", "by document", "beforehand"] = "registered"
    auth: Literal["none", "client_secret_basic", "client_secret_post", "private_key_jwt"] = "none"
    company: bool = False
    machine: bool = False
    native_only: bool = False


@dataclass(frozen=True, slots=True)
class Answers:
    """What the issuer answers.

    Args:
        consent: whether the person may allow, or it is always denied.
        refuses_resource: whether a `resource` parameter is an error.
        iss: what the callback carries as `iss`: the issuer, a wrong one, none though it is advertised, or none; or a
            wrong one though it is not advertised.
        state: what it carries as `state`.
        at_tokens: what the token endpoint answers: tokens, an error, a page, 429 at first, or tokens late.
        granted: the scopes that are ever granted.
        token_seconds: how long access tokens live.
        refresh: a new refresh token each time, none at all, or one that is always refused.
        says_scope: whether a token answer has `scope`.
        type_said: as it is written.
        opaque: whether tokens look like random text.
        audience: whom tokens are for: the endpoint, an identifier of the issuer's own, nobody, or the endpoint where
            the client sent `audience`.
        scp: whether their scopes are a list in `scp`.
    """

    consent: Literal["asked", "denied"] = "asked"
    refuses_resource: bool = False
    iss: Literal["right", "wrong", "missing", "not advertised", "unannounced"] = "right"
    state: Literal["right", "wrong", "missing"] = "right"
    at_tokens: Literal["tokens", "500", "page", "429", "slow"] = "tokens"
    granted: frozenset[str] = frozenset({"read", "write", "list", "ping"})
    token_seconds: int = 3600
    refresh: Literal["rotates", "none", "refused"] = "rotates"
    says_scope: bool = True
    type_said: str = "Bearer"
    opaque: bool = False
    audience: Literal["endpoint", "identifier", "none", "asked for"] = "endpoint"
    scp: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Whom the MCP endpoint serves.

    Args:
        needed: tool or method → the scope that it needs.
        hints: whether a 403 says what is missing: its challenge all scopes, the one that is missing, or there is none.
        revoked_after: the tool after whose call the token is not good any more.
        never_good: whether every token is refused.
        cut_after: the tool whose answer is a stream that ends before it has come, with the token.
        keys_after: the tool after whose call the issuer has another key, and tokens of the one before are not good.
    """

    needed: Mapping[str, str] = field(default_factory=dict)
    hints: Literal["all", "missing", "none"] = "all"
    revoked_after: str = ""
    never_good: bool = False
    cut_after: str = ""
    keys_after: str = ""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a scenario's server behaves; the defaults are those of a right one."""

    discovery: Discovery = Discovery()
    clients: Clients = Clients()
    answers: Answers = Answers()
    endpoint: Endpoint = field(default_factory=Endpoint)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One endpoint of the lab.

    Args:
        expects: what a right client ends with: its calls are served, or it refuses to go on.
        judged: the rules that decide, names of rows of `RULES`; the first is the one it is about.
        own_origin: whether it is at the lab's own origin, whose root is its, and at no other.
    """

    name: str
    title: str
    about: str
    right: str
    wrong: str
    judged: tuple[str, ...]
    behaviour: Behaviour = field(default_factory=Behaviour)
    expects: Literal["calls", "refuses"] = "calls"
    spec_version: str = "2025-11-25"
    own_origin: bool = False

    @property
    def rule(self) -> Rule:
        """The rule that it is about."""
        return RULES[self.judged[0]]
