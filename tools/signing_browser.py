"""A browser with a person at it: `signing_browser.py ADDRESS LOG` signs in as alice at the fake identity provider."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2

from switchboard.cli.login import walk


def sign_in(address: str, user: str = "alice") -> str:
    """Go from the authorization page to the client's own, which is what is returned."""
    callback = parse_qs(urlsplit(address).query)["redirect_uri"][0]
    with httpx2.Client(timeout=15) as http:
        return http.get(walk(http, http.get(address), user, callback)).raise_for_status().text


if __name__ == "__main__":
    with Path(sys.argv[2]).open("a") as log:
        log.write("opened\n")
    sign_in(sys.argv[1])
