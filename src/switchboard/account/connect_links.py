"""The links that a call hands out when its person has to connect first: signed, for one person, for a quarter hour.

Whoever else opens one is refused by the page, so a link that leaks binds nobody's account to somebody else.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote, urlencode

from switchboard.account.signing import Signer

CONNECT_PATH: Final = "/connections/connect"
LINK: Final = "link"
"""The parameter that has what is signed."""

LIVES_S: Final = 900


class ConnectLinks:
    """Makes and reads links.

    Args:
        keys: of SECRET_KEY, the newest first.
        base_uri: of this server.
        clock: Unix seconds, the same on every worker.
    """

    def __init__(self, keys: Sequence[str], base_uri: str, clock: Callable[[], float]) -> None:
        self._signer = Signer(keys, "connect link", clock)
        self._base = base_uri

    def link(self, person: str, name: str) -> str:
        """The address of the page at which this person connects to the backend or plugin of this name."""
        signed = self._signer.sign({"id": name, "who": _digest(person)}, LIVES_S)
        return f"{self.page(name)}?{urlencode({LINK: signed})}"

    def page(self, name: str) -> str:
        """The address of the page for whoever is signed in."""
        return f"{self._base}{connect_path(name)}"

    def read(self, text: str, name: str) -> Callable[[str], bool] | None:
        """Tells whether a person is the one that the link is for; `None` when it is not good, or is over."""
        said = self._signer.read(text)
        if said is None or said.get("id") != name:
            return None
        return lambda person: hmac.compare_digest(_digest(person), str(said["who"]))


def connect_path(name: str) -> str:
    """The page of one backend or plugin, below the server's own path."""
    return f"{CONNECT_PATH}/{quote(name, safe='')}"


def _digest(person: str) -> str:
    return hashlib.sha256(person.encode()).hexdigest()
