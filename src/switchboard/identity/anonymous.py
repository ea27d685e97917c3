"""The verifier of AUTH_MODE=none: a null object."""

from __future__ import annotations

from switchboard.identity.principal import ANONYMOUS, Principal


class AnonymousVerifier:
    """Takes any token for the one anonymous principal."""

    async def verify(self, token: str) -> Principal | None:
        """Satisfies `TokenVerifier`."""
        return ANONYMOUS
