"""Scenarios about the endpoint: tokens that it refuses, and scopes that it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from switchboard.lab.scenarios.discovering import ALWAYS
from switchboard.lab.scenarios.model import Answers, Behaviour, Endpoint, Scenario

REACHING: Final[Sequence[Scenario]] = (
    Scenario(
        "revoked",
        "A token that is revoked in mid-session",
        "After a call of the tool `read` the token is answered 401 invalid_token.",
        "Gets a new one, by refresh or by asking again, and repeats the request.",
        "Gives up, or goes on with the old one.",
        ("comes-back", *ALWAYS),
        Behaviour(endpoint=Endpoint(revoked_after="read")),
    ),
    Scenario(
        "revoked-in-stream",
        "A token that is revoked while a stream is open",
        "The answer to the tool `read` is a stream that ends before the answer has come; the token ends with it. Until"
        " 2025-11-25 alone: since then streams are not resumed.",
        "Resumes the stream, gets a new token for that, and has the answer.",
        "Tries with the old token, or gives up.",
        ("resumes", *ALWAYS),
        Behaviour(endpoint=Endpoint(cut_after="read")),
    ),
    Scenario(
        "keys-rotated",
        "Keys that are changed in mid-session",
        "Access tokens are JWTs of a key at the issuer's jwks_uri. After a call of the tool `read` there is another,"
        " and tokens of the one before are answered 401 invalid_token.",
        "Gets a new token, and does not verify it by keys that it kept; it has no need to verify it.",
        "Refuses the new token, or gives up.",
        ("keys-change", *ALWAYS),
        Behaviour(endpoint=Endpoint(keys_after="read")),
    ),
    Scenario(
        "never-good",
        "A token that is never good",
        "The endpoint answers every token with 401 invalid_token.",
        "Stops after a few attempts, and says so.",
        "Authorizes again without end.",
        ("refusal-ends", *ALWAYS[:2]),
        Behaviour(endpoint=Endpoint(never_good=True)),
        "refuses",
    ),
    Scenario(
        "step-up",
        "A tool that needs another scope",
        "The tool `write` answers 403 insufficient_scope until the token has the scope `write`.",
        "Authorizes again with the scopes of the challenge, and repeats the call.",
        "Shows the 403 as an error, or asks for the old scopes.",
        ("steps-up", *ALWAYS),
        Behaviour(endpoint=Endpoint({"write": "write"})),
    ),
    Scenario(
        "step-up-list",
        "A list that needs another scope",
        "As step-up, for tools/list and the scope `list`.",
        "Authorizes again with the scopes of the challenge, and asks again.",
        "Shows an empty list, or an error.",
        ("steps-up", *ALWAYS),
        Behaviour(endpoint=Endpoint({"tools/list": "list"})),
    ),
    Scenario(
        "step-up-adds",
        "A challenge with the missing scope alone",
        'The tool `write` answers 403 with scope="write" until the token has it; tools/list needs `read`.',
        "Asks for write beside what it had.",
        "Asks for write alone, and loses read.",
        ("keeps-scopes", *ALWAYS),
        Behaviour(endpoint=Endpoint({"write": "write", "tools/list": "read"}, hints="missing")),
        spec_version="2026-07-28",
    ),
    Scenario(
        "step-up-twice",
        "Two tools that need a scope each",
        "`write` needs the scope `write`, and `ping_back` the scope `ping`.",
        "Authorizes for each challenge, and keeps what it had.",
        "Asks for the second without the first, and loses it.",
        ("steps-up-twice", *ALWAYS),
        Behaviour(endpoint=Endpoint({"write": "write", "ping_back": "ping"})),
    ),
    Scenario(
        "step-up-never",
        "A scope that is never granted",
        "As step-up, but the issuer never grants `write`.",
        "Stops after a few attempts, and says so.",
        "Authorizes again without end.",
        ("step-up-ends", *ALWAYS),
        Behaviour(answers=Answers(granted=frozenset({"read"})), endpoint=Endpoint({"write": "write"})),
    ),
    Scenario(
        "forbidden",
        "A 403 without a hint",
        "The tool `write` answers 403, and no challenge says what is missing.",
        "Says so, and stops.",
        "Authorizes again without end.",
        ("refusal-ends", *ALWAYS),
        Behaviour(endpoint=Endpoint({"write": "nothing"}, hints="none")),
    ),
)
