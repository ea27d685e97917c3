"""What stands in for a browser: goes where it is told, and on along the redirects to the client's callback.

A script that is run by itself (`python -I visit.py URL`): of the standard library alone, so that it starts quickly. It
follows http and https only; it shows and runs nothing.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from typing import Final

TIMEOUT_S: Final = 60.0


def visit(url: str) -> int:
    """The status of the page at the end.

    Raises:
        urllib.error.URLError: it cannot be reached, or leads to another kind of address.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    with opener.open(url, timeout=TIMEOUT_S) as page:
        page.read()
        return int(page.status)


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
