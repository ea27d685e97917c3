"""The scopes of this server, and what people read about them: a table. Pure."""

from __future__ import annotations

import re

ADMIN = "admin"
ADMIN_READ = "admin:read"
ADMIN_SCOPES = frozenset({ADMIN, ADMIN_READ})
"""For those who run the server: not advertised, and granted to administrators alone."""

SCOPES = ("mcp", "mcp:tools", "mcp:resources", "mcp:prompts", ADMIN_READ, ADMIN)
"""What can be granted when the settings add nothing."""

OPENID = ("openid", "profile", "email", "address", "phone", "offline_access")
"""Scopes of OpenID Connect: they ask about the person, which no token of ours tells."""

SCOPE_TEXTS = {
    "mcp": ("Everything", "Use all tools, resources and prompts of this server"),
    "mcp:tools": ("Tools", "Run tools on your behalf"),
    "mcp:resources": ("Resources", "Read resources and follow their changes"),
    "mcp:prompts": ("Prompts", "Use prompt templates"),
    ADMIN_READ: ("Looking at everything", "For operators: see the fleet, its configuration, sessions and audit log"),
    ADMIN: ("Administration", "For administrators only: manage the server, its configuration and its sessions"),
}

PARTS = {"mcp": ("mcp:tools", "mcp:resources", "mcp:prompts")}
"""Scopes that a narrower token may have instead of the one that includes them."""

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


def well_formed(scope: str) -> bool:
    """Whether this may be a scope (RFC 6749 §3.3)."""
    return _SCOPE.fullmatch(scope) is not None
