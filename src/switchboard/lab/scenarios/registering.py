"""Scenarios about how a client becomes known to the issuer, and says who it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from switchboard.lab.scenarios.discovering import ALWAYS
from switchboard.lab.scenarios.model import Answers, Behaviour, Clients, Scenario

REGISTERING: Final[Sequence[Scenario]] = (
    Scenario(
        "no-registration",
        "No registration",
        "The issuer names no registration_endpoint, and knows one client: `lab-client`, without a secret.",
        "Uses `lab-client` if it was told of it, and else asks for a client id and stops.",
        "Registers at an address that it made up, such as /register of the host.",
        ("registers-where-offered",),
        Behaviour(clients=Clients("beforehand")),
        "refuses",
        own_origin=True,
    ),
    Scenario(
        "given-client",
        "A client that is registered beforehand",
        "The issuer names no registration_endpoint; the tester tells the client that it is `lab-client`.",
        "Authorizes as `lab-client`.",
        "Uses another id.",
        ("given-client", *ALWAYS),
        Behaviour(clients=Clients("beforehand")),
    ),
    Scenario(
        "client-document",
        "Clients by the URL of their document alone",
        "The issuer supports client id metadata documents, and has no registration. It does not fetch the document, and"
        " takes redirects to loopback, or to VS Code's page.",
        "Uses the https URL of its document as client_id.",
        "Registers, or uses an id that is no URL.",
        ("client-document", *ALWAYS),
        Behaviour(clients=Clients("by document")),
    ),
    Scenario(
        "native-only",
        "Registration that asks what the client is",
        "As OpenID Connect has it: without application_type=native, redirects to loopback are not registered.",
        "Registers as native.",
        "Registers without application_type, or as `web` with redirects to loopback.",
        ("application-type", *ALWAYS),
        Behaviour(clients=Clients(native_only=True)),
        spec_version="2026-07-28",
    ),
    Scenario(
        "secret-in-header",
        "A secret, in the header alone",
        "Registration gives a secret, and the token endpoint takes client_secret_basic alone.",
        "Sends it in the Authorization header.",
        "Sends it in the form, or not at all.",
        ("secret-in-header", *ALWAYS),
        Behaviour(clients=Clients(auth="client_secret_basic")),
    ),
    Scenario(
        "secret-in-form",
        "A secret, in the form alone",
        "Registration gives a secret, and the token endpoint takes client_secret_post alone.",
        "Sends it in the form.",
        "Sends it in the header, or not at all.",
        ("secret-in-form", *ALWAYS),
        Behaviour(clients=Clients(auth="client_secret_post")),
    ),
    Scenario(
        "private-key",
        "A key of the client's own alone",
        "The token endpoint takes private_key_jwt alone; registration takes the keys as `jwks`.",
        "Registers its public key, and signs an assertion for each token request.",
        "Sends no assertion, or a secret.",
        ("key-of-its-own", *ALWAYS),
        Behaviour(clients=Clients(auth="private_key_jwt")),
    ),
    Scenario(
        "machine",
        "A client that acts for itself",
        "The issuer's one grant is client_credentials, an extension of the specification; the client is `lab-client`"
        " with the secret `lab-secret`, which it says in the Authorization header.",
        "Asks for a token by client_credentials.",
        "Says the secret otherwise, or leaves out `resource`.",
        ("machine", "secret-in-header", "resource", "header-only"),
        Behaviour(clients=Clients("beforehand", "client_secret_basic", machine=True), answers=Answers(refresh="none")),
        spec_version="2026-07-28",
    ),
    Scenario(
        "enterprise-managed",
        "A company's identity provider decides",
        "The client is `lab-client` with the secret `lab-secret`, at the issuer and at the company's provider, which is"
        " at …/idp below the issuer. There it signs in, and exchanges its ID token for an ID-JAG: an extension of the"
        " specification.",
        "Exchanges the ID token for an ID-JAG for this issuer and endpoint, and that for a token.",
        "Asks the person at the issuer, or asks for an ID-JAG for something else.",
        ("company-decides", "header-only"),
        Behaviour(clients=Clients("beforehand", "client_secret_post", company=True)),
        spec_version="2026-07-28",
    ),
)
