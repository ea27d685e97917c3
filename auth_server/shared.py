"""The parts that more than one endpoint needs, put together in `assembly.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from auth_server.audit import Audit
from auth_server.clients.authentication import ClientAuthentication
from auth_server.connectors import Connector
from auth_server.crypto import KeyRing
from auth_server.http.rate_limits import RateLimits
from auth_server.jwt.assertions import Assertions
from auth_server.models import KeepIdToken, ResourcesOf
from auth_server.settings import AuthSettings
from auth_server.store import AccessTokens, Clients, Families, Records, Revocation
from auth_server.tokens.issuer import TokenIssuer
from auth_server.tokens.renewal import Renewal
from switchboard.common.pages.renderer import Pages


@dataclass(frozen=True, slots=True)
class Shared:
    """The parts of the server that more than one endpoint needs."""

    settings: AuthSettings
    ring: KeyRing
    clients: Clients
    records: Records
    families: Families
    access: AccessTokens
    revocation: Revocation
    issuer: TokenIssuer
    authentication: ClientAuthentication
    assertions: Assertions
    limits: RateLimits
    renewal: Renewal
    pages: Pages
    upstream: Connector
    audit: Audit
    keep_id_token: KeepIdToken
    exchanged_for: ResourcesOf
    clock: Callable[[], float]
