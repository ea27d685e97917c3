"""A browser for a client under test: visits an address, follows the redirects, and shows nothing.

`python visit.py URL`, where the issuers of a run allow by themselves. As a person's browser comes a while after the
client sent it, so does this one: it is started in the background, and asks again where nobody listens yet.
"""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from typing import IO, Final
from urllib.parse import urljoin

MOST_REDIRECTS: Final = 10
LISTENS_WITHIN_S: Final = 15
"""Until nobody listens where a redirect leads."""


class _Stay(urllib.request.HTTPRedirectHandler):
    """Leaves redirects to `main`, so that a callback may be asked again without another authorization."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """None: the redirect is an answer."""
        return


def main(url: str, pause: Callable[[float], None] = time.sleep) -> int:
    """0 if the last answer was one of 2xx.

    Args:
        pause: is called with seconds, between two looks at an address where nobody listens.
    """
    opener = urllib.request.build_opener(_Stay)
    for _ in range(MOST_REDIRECTS):
        try:
            with _asked(opener, url, pause):
                return 0
        except urllib.error.HTTPError as error:
            if "location" not in error.headers:
                print(f"{url} answered {error.code}: {error.read(500)!r}", file=sys.stderr)
                return 1
            url = urljoin(url, error.headers["location"])
    print(f"{url} is more than {MOST_REDIRECTS} redirects away", file=sys.stderr)
    return 1


def _asked(opener: urllib.request.OpenerDirector, url: str, pause: Callable[[float], None]) -> IO[bytes]:
    deadline = time.monotonic() + LISTENS_WITHIN_S
    while True:
        try:
            answer: IO[bytes] = opener.open(url, timeout=30)
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            pause(0.1)
        else:
            return answer


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
