"""What stands in for a browser: goes where it is told, and on along the redirects to the client's callback.

A script that is run by itself (`python -I visit.py URL`): of the standard library alone, so that it starts quickly. It
follows http and https only; it shows and runs nothing. A person's browser comes a while after a client has sent it, and
some clients listen only then: where nobody listens, it asks again, and only there, so that nothing is authorized twice.
"""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from http import HTTPStatus
from typing import IO, Final
from urllib.parse import urljoin

TIMEOUT_S: Final = 60.0
LISTENS_WITHIN_S: Final = 15.0
"""Until then a callback has to be listened at."""

AGAIN_AFTER_S: Final = 0.1
MOST_REDIRECTS: Final = 10


class _Stay(urllib.request.HTTPRedirectHandler):
    """Leaves a redirect to `visit`."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """None: the redirect is an answer."""
        return


def visit(url: str, pause: Callable[[float], None] = time.sleep) -> int:
    """The status of the page at the end.

    Args:
        pause: is called with seconds, between two attempts where nobody listens.

    Raises:
        urllib.error.URLError: it cannot be reached, or leads to another kind of address, or on and on.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        _Stay(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    for _ in range(MOST_REDIRECTS):
        try:
            return _status(opener, url, pause)
        except urllib.error.HTTPError as error:
            if error.code < HTTPStatus.MULTIPLE_CHOICES or "location" not in error.headers:
                raise
            url = urljoin(url, error.headers["location"])
    raise urllib.error.URLError(f"more than {MOST_REDIRECTS} redirects")


def _status(opener: urllib.request.OpenerDirector, url: str, pause: Callable[[float], None]) -> int:
    deadline = time.monotonic() + LISTENS_WITHIN_S
    while True:
        try:
            with opener.open(url, timeout=TIMEOUT_S) as page:
                page.read()
                return int(page.status)
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError) or time.monotonic() > deadline:
                raise
            pause(AGAIN_AFTER_S)


def main(arguments: list[str]) -> int:
    """0 where it came to a page, 1 where it did not, 2 without one URL."""
    if len(arguments) != 1:
        sys.stderr.write("visit.py: give one URL\n")
        return 2
    try:
        visit(arguments[0])
    except (urllib.error.URLError, OSError, ValueError) as error:
        sys.stderr.write(f"visit.py: {arguments[0]}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
