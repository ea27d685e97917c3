"""What a child gets of the worker's environment: what belongs to the machine, without a credential in it.

Installers get more (`sources.installer`): what a private registry asks for is theirs to know. A child that needs a
credential has it stated in its own `env`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

INHERITED: Final = re.compile(
    r"HOME|LANG|LC_[A-Z]+|LOGNAME|PATH|SHELL|TERM|TMPDIR|TZ|USER|XDG_CACHE_HOME|"
    r"NODE_EXTRA_CA_CERTS|REQUESTS_CA_BUNDLE|SSL_CERT_DIR|SSL_CERT_FILE|"
    r"(?:npm_config|NPM_CONFIG)_(?i:cache|cafile|offline|prefer_offline|strict_ssl|update_notifier)|"
    r"PIP_(?:CACHE_DIR|CERT|NO_INDEX|TRUSTED_HOST)|"
    r"UV_(?:CACHE_DIR|INSECURE_HOST|LINK_MODE|NATIVE_TLS|OFFLINE|PYTHON|PYTHON_DOWNLOADS|PYTHON_INSTALL_DIR|"
    r"PYTHON_PREFERENCE|SYSTEM_CERTS|TOOL_DIR)"
)

ADDRESSES: Final = re.compile(
    r"(?i:(?:http|https|all|no)_proxy)|"
    r"(?:npm_config|NPM_CONFIG)_(?:@[^:]+:)?(?i:registry|proxy|https_proxy|noproxy)|"
    r"PIP_(?:INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|PROXY)|"
    r"UV_(?:INDEX|DEFAULT_INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS)"
)
"""Those that hold addresses: passed on without user, password and query. Programs that fetch packages when they are
started (`npx`, `uvx`) need them."""

_CREDENTIALS: Final = re.compile(r"(?:^|(?<=://)|(?<=[\s=,]))[^\s/]*@|\?\S*")


def environment(own: Mapping[str, str], worker: Mapping[str, str]) -> dict[str, str]:
    """A child's environment: a few variables of the worker's, then its own."""
    kept = {key: value for key, value in worker.items() if INHERITED.fullmatch(key)}
    addresses = {key: without_credentials(value) for key, value in worker.items() if ADDRESSES.fullmatch(key)}
    return {**kept, **addresses, **own}


def without_credentials(addresses: str) -> str:
    """One address or several, without user, password and query."""
    return _CREDENTIALS.sub("", addresses)
