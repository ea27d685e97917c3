"""Where the vault's records are, as the setting VAULT writes it.

| VAULT | is |
|---|---|
| `redis` | the fleet's shared state |
| `file:FOLDER` | files of this machine |
| `aws:PREFIX?region=REGION` | AWS Secrets Manager; `switchboard`, in AWS's own region, when not said |
| `azure:https://NAME.vault.azure.net?prefix=PREFIX` | Azure Key Vault; PREFIX is `switchboard` when not said |
| `hashicorp:https://HOST:PORT/MOUNT/FOLDER` | HashiCorp Vault or OpenBao, a key-value engine of version 2 |
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import parse_qsl, urlsplit

from switchboard.common.hosts import is_loopback

Kind = Literal["redis", "file", "aws", "azure", "hashicorp"]

PREFIX: Final = "switchboard"

FORMS: Final = {
    "redis": "redis",
    "file": "file:FOLDER",
    "aws": "aws:PREFIX?region=REGION",
    "azure": "azure:https://NAME.vault.azure.net",
    "hashicorp": "hashicorp:https://HOST:PORT/MOUNT/FOLDER",
}

_OPTIONS: Final = {"aws": {"region", "endpoint"}, "azure": {"prefix"}}
_AWS_NAME: Final = re.compile(r"[A-Za-z0-9/_+=.@-]{1,128}")
_AZURE_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,24}")
"""127 characters are allowed, and the rest of a name is digests."""


@dataclass(frozen=True)
class Location:
    """A store of records."""

    kind: Kind
    target: str = ""
    """The folder, the prefix or the URL."""
    options: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What it is called, for people."""
        return f"{self.kind}:{self.target}" if self.target else self.kind


def location(written: str) -> Location:
    """What VAULT says.

    Raises:
        ValueError: it says nothing that is known; the message says what is allowed.
    """
    kind, _, rest = written.partition(":")
    if kind == "file" and rest:
        return Location("file", rest)
    target, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(options.keys() - _OPTIONS.get(kind, set())):
        raise ValueError(f"has {unknown[0]!a}, which is not known there")
    if written == "redis":
        return Location("redis")
    if kind == "aws" and _AWS_NAME.fullmatch(target or PREFIX):
        return Location("aws", (target or PREFIX).rstrip("/"), options)
    if kind == "azure" and _AZURE_NAME.fullmatch(options.setdefault("prefix", PREFIX)):
        return Location("azure", _https(target), options)
    if kind == "hashicorp" and urlsplit(target).path.strip("/"):
        return Location("hashicorp", _https(target))
    raise ValueError(f"must be {FORMS[kind]}" if kind in FORMS else f"must begin with {', '.join(FORMS)}")


def _https(url: str) -> str:
    parts = urlsplit(url)
    if not parts.hostname or parts.username or parts.fragment:
        raise ValueError("must name an https URL without a user")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError("must name an https URL: credentials go there")
    return url.rstrip("/")
