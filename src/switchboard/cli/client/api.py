"""Asks the REST API of a running server, for commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urljoin

import httpx2

from switchboard.cli.client.server import CallFailed
from switchboard.common.visible_text import escaped

TIMEOUT_S: Final = 30.0


def asked(
    method: str, path: str, url: str, sent: Mapping[str, str], body: Any = None, **query: str | int | list[str]
) -> Any:
    """What the API answered; None where it answers without a body.

    Args:
        url: the endpoint, beside which the API is.
        sent: headers.
        body: of the request, as JSON; none where it is None.

    Raises:
        CallFailed: it cannot be reached, refused, or is no API of ours.
    """
    address = urljoin(url, f"api/{path}")
    try:
        answer = httpx2.request(method, address, headers=dict(sent), params=query, json=body, timeout=TIMEOUT_S)
        document = answer.json() if answer.content else None
    except httpx2.HTTPError as error:
        raise CallFailed(f"{address} cannot be reached: {error}") from error
    except ValueError:
        document = None
    if answer.status_code == 401:
        raise CallFailed(f"{address} needs a token with the scope admin: give it as --token or SWITCHBOARD_TOKEN")
    if not answer.is_success:
        detail = document.get("detail") if isinstance(document, dict) else None
        raise CallFailed(f"{address} answered {answer.status_code}: {escaped(str(detail or 'is it this server?'))}")
    if document is None and answer.status_code != 204:
        raise CallFailed(f"{address} answered {answer.status_code}, and no JSON: is it this server's address?")
    return document
