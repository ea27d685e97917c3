"""Which strategy authorizes the calls to a configured server, made from its row.

Part of the composition root: `outbound_auth` does not know which parts of a worker its strategies stand on.
"""

from __future__ import annotations

from switchboard.config import ServerSection
from switchboard.errors import ConfigurationError
from switchboard.outbound_auth.credentials import NO_CREDENTIALS, OutboundCredentials
from switchboard.outbound_auth.strategies.fixed import fixed


class CredentialsOfServers:
    """Makes the credentials of each configured server."""

    def of(self, name: str, section: ServerSection) -> OutboundCredentials:
        """Those of one row.

        Raises:
            ConfigurationError: it asks for what cannot be done.
        """
        auth = section.auth
        if auth.strategy == "none":
            return NO_CREDENTIALS
        if auth.strategy == "service" and auth.client_id is None:
            return fixed(auth, auth.env)
        raise ConfigurationError(f"mcpServers.{name}.auth.strategy: {auth.strategy!r} is not available yet")
