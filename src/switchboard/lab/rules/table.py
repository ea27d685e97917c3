"""The rules: each with its text, its source, and the function that decides it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from switchboard.lab.hops import Place
from switchboard.lab.rules import going_on, sending, stopping
from switchboard.lab.rules.judging import Rule
from switchboard.lab.rules.stopping import told

_MCP: Final = "https://modelcontextprotocol.io/specification/2025-11-25/basic/authorization"
_MCP_2025_03: Final = "https://modelcontextprotocol.io/specification/2025-03-26/basic/authorization"
_RFC: Final = "https://www.rfc-editor.org/rfc/rfc"
_MCP_2026: Final = "https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization"
_EXTENSIONS: Final = (
    "https://github.com/modelcontextprotocol/ext-auth/blob/15ca394e00a66434520b9ade26294999295a43ae/specification"
)
_ISSUER_NAMED: Final = told(Place.ISSUER_METADATA, "issuer")
_CODE_GIVEN: Final = told(Place.AUTHORIZE, "code")

RULES: Final[Mapping[str, Rule]] = {
    # What is sent.
    "pkce": Rule("PKCE with S256", f"{_MCP}#authorization-code-protection", sending.pkce),
    "resource": Rule(
        "`resource` in authorization and token requests", f"{_MCP}#resource-parameter-implementation", sending.resource
    ),
    "resource-as-named": Rule(
        "`resource` is what the metadata name, to the letter, if they are used",
        f"{_MCP}#canonical-server-uri",
        sending.resource_as_named,
    ),
    "header-only": Rule("Tokens in the header alone", f"{_MCP}#token-requirements", sending.header_only),
    "given-client": Rule(
        "A client that was registered beforehand uses its id",
        f"{_MCP}#client-registration-approaches",
        sending.given_client,
    ),
    "client-document": Rule(
        "The client's id is the URL of its metadata document",
        f"{_MCP}#client-id-metadata-documents",
        sending.client_document,
    ),
    "secret-in-header": Rule(
        "`client_secret_basic`, where it alone is supported",
        f"{_RFC}6749#section-2.3.1",
        sending.authenticates("client_secret_basic"),
    ),
    "secret-in-form": Rule(
        "`client_secret_post`, where it alone is supported",
        f"{_RFC}8414#section-2",
        sending.authenticates("client_secret_post"),
    ),
    "key-of-its-own": Rule(
        "`private_key_jwt`, where it alone is supported",
        f"{_RFC}7523#section-2.2",
        sending.authenticates("private_key_jwt"),
    ),
    "own-client": Rule(
        "A client id is used at the issuer that gave it, and at no other",
        f"{_MCP_2026}/authorization-server-discovery#authorization-server-location",
        sending.own_client(1),
    ),
    "registers-anew": Rule(
        "Where the resource names another issuer, the client registers anew",
        f"{_MCP_2026}/client-registration#authorization-server-binding",
        sending.own_client(2),
    ),
    "application-type": Rule(
        "Registration says `application_type`",
        f"{_MCP_2026}/client-registration#application-type-and-redirect-uri-constraints",
        sending.application_type,
    ),
    "scope-of-challenge": Rule(
        "The scopes of the challenge are asked for, and no others",
        f"{_MCP}#scope-selection-strategy",
        sending.scope_of_challenge,
    ),
    "scope-of-metadata": Rule(
        "Without them, those of the resource's metadata",
        f"{_MCP}#scope-selection-strategy",
        sending.scope_of_metadata,
    ),
    "newest-refresh-token": Rule(
        "A refresh token that was replaced is not used again",
        f"{_RFC}9700#section-4.14.2",
        sending.newest_refresh_token,
    ),
    # Going on.
    "calls-tools": Rule("With the token that it got, tools are called", f"{_MCP}#token-requirements", going_on.served),
    "uses-named-metadata": Rule(
        "The metadata that the challenge names are used",
        f"{_MCP}#protected-resource-metadata-discovery-requirements",
        going_on.served,
    ),
    "finds-metadata": Rule(
        "Where the challenge names none, they are looked for at the well-known address",
        f"{_MCP}#protected-resource-metadata-discovery-requirements",
        going_on.served,
    ),
    "looks-at-root": Rule(
        "Where they are not there, they are looked for at the root of the host",
        f"{_MCP}#protected-resource-metadata-discovery-requirements",
        going_on.served,
    ),
    "falls-back": Rule(
        "Without resource metadata, the issuer's are looked for at the root of the host",
        f"{_MCP_2025_03}#authorization-base-url",
        going_on.falls_back(Place.ISSUER_METADATA, Place.REGISTER, Place.AUTHORIZE),
    ),
    "default-endpoints": Rule(
        "Without metadata, the endpoints are /authorize, /token and /register of the host",
        f"{_MCP_2025_03}#fallbacks-for-servers-without-metadata-discovery",
        going_on.falls_back(Place.REGISTER, Place.AUTHORIZE),
    ),
    "asks-without-header": Rule(
        "Where a preflight is refused, metadata are asked for without the header that needs it",
        "https://fetch.spec.whatwg.org/#http-cors-protocol",
        going_on.asks_without_header,
    ),
    "tries-all-addresses": Rule(
        "The issuer's metadata are looked for at all three addresses",
        f"{_MCP}#authorization-server-metadata-discovery",
        going_on.served,
    ),
    "follows-redirects": Rule("A redirect of metadata is followed", f"{_RFC}9110#section-15.4", going_on.served),
    "ignores-unknown": Rule("Members that are not known are ignored", f"{_RFC}8414#section-3.2", going_on.served),
    "iss-where-advertised": Rule(
        "`iss` is asked for only where the issuer advertises it", f"{_RFC}9207#section-2.4", going_on.served
    ),
    "tokens-are-opaque": Rule("A token is text, whatever it looks like", f"{_RFC}6749#section-1.4", going_on.served),
    "scope-may-be-left-out": Rule(
        "A token answer without scope means the scope that was asked for", f"{_RFC}6749#section-5.1", going_on.served
    ),
    "type-without-case": Rule("`token_type` is compared without case", f"{_RFC}6749#section-5.1", going_on.served),
    "waits-for-token": Rule("A slow token endpoint is waited for", f"{_RFC}6749#section-3.2", going_on.served),
    "refreshes": Rule("An expired token is refreshed", f"{_RFC}6749#section-6", going_on.refreshes),
    "authorizes-again": Rule(
        "Where a token cannot be refreshed, it is asked for anew", f"{_RFC}6750#section-3.1", going_on.authorizes_again
    ),
    "comes-back": Rule(
        "A token that is refused in mid-session is replaced", f"{_RFC}6750#section-3.1", going_on.comes_back
    ),
    "keys-change": Rule(
        "A token of a key that was replaced is replaced, too",
        "https://openid.net/specs/openid-connect-core-1_0.html#RotateSigKeys",
        going_on.comes_back,
    ),
    "steps-up": Rule(
        "Step-up asks for the challenged scopes", f"{_MCP}#step-up-authorization-flow", going_on.steps_up(1)
    ),
    "steps-up-twice": Rule(
        "Each further challenge, too, asks for its scopes", f"{_MCP}#step-up-authorization-flow", going_on.steps_up(2)
    ),
    "machine": Rule(
        "A client that acts for itself asks by client_credentials",
        f"{_EXTENSIONS}/stable/oauth-client-credentials/2026-07-28/oauth-client-credentials.mdx#client-credentials-flow",
        going_on.extension("client_credentials"),
    ),
    "company-decides": Rule(
        "With an ID-JAG of the company, and without asking the person at the issuer",
        "https://datatracker.ietf.org/doc/html/draft-ietf-oauth-identity-assertion-authz-grant#section-4.3",
        going_on.company_decides,
    ),
    "keeps-scopes": Rule(
        "Step-up asks for the challenged scopes, and for those that it had",
        f"{_MCP_2026}#step-up-authorization-flow",
        going_on.keeps_scopes,
    ),
    "resumes": Rule("A stream is resumed with a token that is good", f"{_MCP}#token-requirements", going_on.resumes),
    "waits": Rule("`Retry-After` is honoured", f"{_RFC}9110#section-10.2.3", going_on.waits),
    # Stopping.
    "step-up-ends": Rule(
        "Step-up is tried a few times only", f"{_MCP}#step-up-authorization-flow", stopping.stops_after_refusal
    ),
    "refusal-ends": Rule(
        "What stays refused is given up after a few attempts", f"{_MCP}#error-handling", stopping.stops_after_refusal
    ),
    "audience-or-end": Rule(
        "Where tokens are for another audience, the client gives up after a few attempts",
        f"{_MCP}#error-handling",
        stopping.gets_in_or_stops,
    ),
    "token-errors-end": Rule(
        "A token endpoint that fails is asked a few times only",
        f"{_RFC}6749#section-5.2",
        stopping.stops(Place.TOKENS, lambda hop: hop.place is Place.TOKENS),
    ),
    "denial-ends": Rule(
        "After `access_denied` the person is not asked on and on",
        f"{_RFC}6749#section-4.1.2.1",
        stopping.stops(Place.AUTHORIZE, told(Place.AUTHORIZE, "error")),
    ),
    "registers-where-offered": Rule(
        "No registration where no endpoint for it is named",
        f"{_MCP}#client-registration-approaches",
        stopping.registers_where_offered,
    ),
    "refuses-without-s256": Rule(
        "No authorization where S256 is not advertised",
        f"{_MCP}#authorization-code-protection",
        stopping.never(Place.AUTHORIZE, _ISSUER_NAMED, "authorization was asked for without S256 on offer"),
    ),
    "refuses-wrong-resource": Rule(
        "Resource metadata that names another resource is not used",
        f"{_RFC}9728#section-3.3",
        stopping.never(
            Place.AUTHORIZE, told(Place.RESOURCE_METADATA, "resource"), "metadata of another resource was used"
        ),
    ),
    "refuses-wrong-issuer": Rule(
        "Issuer metadata that names another issuer is not used",
        f"{_RFC}8414#section-3.3",
        stopping.never(Place.AUTHORIZE, _ISSUER_NAMED, "metadata of another issuer was used"),
    ),
    "refuses-wrong-iss": Rule(
        "A code that came with a wrong or missing `iss` is not redeemed",
        f"{_RFC}9207#section-2.4",
        stopping.never(Place.TOKENS, _CODE_GIVEN, "the code was redeemed, though iss was wrong"),
    ),
    "refuses-wrong-state": Rule(
        "A code that came with a wrong or missing `state` is not redeemed",
        f"{_MCP}#open-redirection",
        stopping.never(Place.TOKENS, _CODE_GIVEN, "the code was redeemed, though state was wrong"),
    ),
}
