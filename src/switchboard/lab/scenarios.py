"""The scenarios: each a set of differences to a right server, the rules that it tests, and what a right client does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from switchboard.lab.rules import RULES, Rule


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a scenario's server behaves; the defaults are those of a right one.

    Args:
        token_seconds: how long access tokens live.
        granted: the scopes that are ever granted.
        needed: tool → the scope that a call of it needs.
        s256: whether the issuer advertises S256.
        resource: what the resource metadata names instead of the endpoint.
        issuer: what the issuer metadata names instead of the issuer.
        iss: what the callback carries as `iss`: the issuer, a wrong one, or none.
        state: whether the callback carries the state that was sent.
    """

    token_seconds: int = 3600
    granted: frozenset[str] = frozenset({"read", "write"})
    needed: Mapping[str, str] = field(default_factory=dict)
    s256: bool = True
    resource: str | None = None
    issuer: str | None = None
    iss: Literal["right", "wrong", "missing"] = "right"
    state: Literal["right", "wrong"] = "right"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One endpoint of the lab.

    Args:
        expects: what a right client ends with: its calls are served, or it refuses to go on.
        judged: the rules that decide, names of rows of `RULES`; the first is the one it is about.
    """

    name: str
    title: str
    about: str
    right: str
    wrong: str
    judged: tuple[str, ...]
    behaviour: Behaviour = Behaviour()
    expects: Literal["calls", "refuses"] = "calls"
    spec_version: str = "2025-11-25"

    @property
    def rule(self) -> Rule:
        """The rule that it is about."""
        return RULES[self.judged[0]]


_ALWAYS: Final = ("pkce", "resource", "header-only")
_ELSEWHERE: Final = "https://elsewhere.invalid/"

SCENARIOS: Final[Sequence[Scenario]] = (
    Scenario(
        "plain",
        "Everything right",
        "Nothing is wrong: the server and its issuer follow the specification.",
        "Discovers, registers, authorizes with PKCE and resource, and calls tools.",
        "Leaves out PKCE or resource, or sends its token in the query.",
        _ALWAYS,
    ),
    Scenario(
        "short-token",
        "Tokens of 20 seconds, with refresh",
        "Access tokens end after 20 seconds; a refresh token comes with each.",
        "Refreshes, and calls again.",
        "Asks the person again, or gives up.",
        ("refreshes", *_ALWAYS),
        Behaviour(token_seconds=20),
    ),
    Scenario(
        "step-up",
        "A tool that needs another scope",
        "The tool `write` answers 403 insufficient_scope until the token has the scope `write`.",
        "Authorizes again with the scopes of the challenge, and repeats the call.",
        "Shows the 403 as an error, or asks for the old scopes.",
        ("steps-up", *_ALWAYS),
        Behaviour(needed={"write": "write"}),
    ),
    Scenario(
        "step-up-never",
        "A scope that is never granted",
        "As step-up, but the issuer never grants `write`.",
        "Stops after a few attempts, and says so.",
        "Authorizes again without end.",
        ("step-up-ends", *_ALWAYS),
        Behaviour(needed={"write": "write"}, granted=frozenset({"read"})),
    ),
    Scenario(
        "no-s256",
        "S256 is not advertised",
        "The issuer's metadata have no code_challenge_methods_supported.",
        "Does not authorize.",
        "Authorizes all the same.",
        ("refuses-without-s256",),
        Behaviour(s256=False),
        "refuses",
    ),
    Scenario(
        "wrong-resource",
        "Metadata of another resource",
        "The resource metadata name a resource on another host.",
        "Does not use them.",
        "Authorizes for that resource.",
        ("refuses-wrong-resource",),
        Behaviour(resource=_ELSEWHERE),
        "refuses",
    ),
    Scenario(
        "wrong-issuer",
        "Metadata of another issuer",
        "The issuer's metadata name another issuer than the one they were asked of.",
        "Does not use them.",
        "Authorizes there.",
        ("refuses-wrong-issuer",),
        Behaviour(issuer=_ELSEWHERE),
        "refuses",
    ),
    Scenario(
        "wrong-iss",
        "A callback from another issuer",
        "The callback's iss names another issuer.",
        "Does not redeem the code.",
        "Redeems it.",
        ("refuses-wrong-iss",),
        Behaviour(iss="wrong"),
        "refuses",
        "2026-07-28",
    ),
    Scenario(
        "missing-iss",
        "A callback without iss",
        "The issuer advertises iss in its callbacks, and leaves it out.",
        "Does not redeem the code.",
        "Redeems it.",
        ("refuses-wrong-iss",),
        Behaviour(iss="missing"),
        "refuses",
        "2026-07-28",
    ),
    Scenario(
        "wrong-state",
        "A callback with another state",
        "The callback carries a state that the client did not send.",
        "Does not redeem the code.",
        "Redeems it.",
        ("refuses-wrong-state",),
        Behaviour(state="wrong"),
        "refuses",
    ),
)

BY_NAME: Final[Mapping[str, Scenario]] = {scenario.name: scenario for scenario in SCENARIOS}
