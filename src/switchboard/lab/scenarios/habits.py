"""Scenarios about habits of providers: what their tokens look like, and which parameters they want."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from switchboard.lab.scenarios.discovering import ALWAYS
from switchboard.lab.scenarios.model import Answers, Behaviour, Endpoint, Scenario

HABITS: Final[Sequence[Scenario]] = (
    Scenario(
        "opaque-token",
        "Tokens that are no JWTs",
        "Access tokens look like random text, as Google has them.",
        "Uses them as they are.",
        "Tries to read them.",
        ("tokens-are-opaque", *ALWAYS),
        Behaviour(answers=Answers(opaque=True)),
    ),
    Scenario(
        "resource-refused",
        "An issuer that refuses `resource`",
        "A `resource` parameter is answered with invalid_target, as Entra ID does. The specification has clients"
        " send it all the same, so a right client does not get in.",
        "Says what the issuer answered, and stops.",
        "Asks again and again, or leaves `resource` out.",
        ("denial-ends", "resource"),
        Behaviour(answers=Answers(refuses_resource=True)),
        "refuses",
    ),
    Scenario(
        "identifier-audience",
        "Tokens for an identifier",
        "Access tokens are JWTs whose `aud` is a GUID instead of the resource, as Entra ID has them.",
        "Uses them as they are.",
        "Reads them, and refuses those that are not for the resource.",
        ("tokens-are-opaque", *ALWAYS),
        Behaviour(answers=Answers(audience="identifier")),
    ),
    Scenario(
        "no-audience",
        "Tokens without an audience",
        "Access tokens are JWTs without `aud`, as Cognito has them.",
        "Uses them as they are.",
        "Reads them, and refuses those that name no audience.",
        ("tokens-are-opaque", *ALWAYS),
        Behaviour(answers=Answers(audience="none")),
    ),
    Scenario(
        "scope-list",
        "Scopes as a list",
        "Access tokens are JWTs with their scopes as a list in `scp`, as Okta has them; `write` needs another scope.",
        "Steps up by the challenge, and calls.",
        "Looks for `scope` in the token.",
        ("tokens-are-opaque", "steps-up", *ALWAYS),
        Behaviour(answers=Answers(scp=True), endpoint=Endpoint({"write": "write"})),
    ),
    Scenario(
        "audience-needed",
        "An issuer that wants `audience`",
        "Without a parameter `audience`, the endpoint's URL, tokens are for the issuer itself, and the endpoint refuses"
        " them, as with Auth0. The specification knows no such parameter, so that most clients do not get in.",
        "Stops after a few attempts, and says so; or sends `audience`, where it was told to.",
        "Authorizes again without end.",
        ("audience-or-end", *ALWAYS[:2]),
        Behaviour(answers=Answers(audience="asked for")),
        "refuses",
    ),
)
