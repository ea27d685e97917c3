"""What can go wrong at a provider, as one kind of error that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx2
from authlib.integrations.base_client import OAuthError

from switchboard.common import strict_json
from switchboard.common.fetch.fetcher import FetchRefused
from switchboard.common.visible_text import excerpt
from switchboard.errors import AuthorizationUnavailable, CredentialUnavailable

ANSWER_S: Final = 8.0
"""Seconds for one request to a provider: less than a lease, so that nobody else begins the same meanwhile."""


class ProviderRefused(CredentialUnavailable):
    """The provider answered with an OAuth error (RFC 6749 §5.2).

    Args:
        code: the error.
    """

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.code = code


class ProviderAway(CredentialUnavailable):
    """The provider did not answer, or not with anything that can be understood."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}. Try again in a moment", retry=True)


@contextmanager
def explained(provider: str, doing: str) -> Iterator[None]:
    """Raise what goes wrong inside as a `CredentialUnavailable`: nothing of a request or an answer is in it.

    Args:
        provider: what people call it.
        doing: what was wanted of it, as an infinitive: "renew the permission".
    """
    try:
        yield
    except OAuthError as error:
        raise refused(provider, doing, error.error, error.description) from None
    except FetchRefused as error:
        raise CredentialUnavailable(f"{provider} could not be asked to {doing}: {error}; tell the operator") from None
    except (TimeoutError, httpx2.TimeoutException):
        raise ProviderAway(f"{provider} did not answer in time when asked to {doing}") from None
    except (httpx2.HTTPError, OSError, AuthorizationUnavailable) as error:
        # The class alone: a message may hold parts of the request.
        raise ProviderAway(f"{provider} could not be reached to {doing} ({type(error).__name__})") from None


def read_answer(provider: str, doing: str, response: httpx2.Response) -> dict[str, Any]:
    """The JSON object in an answer, whatever its status.

    Raises:
        ProviderAway: there is none, or the provider says that it cannot answer now.
    """
    status = response.status_code
    if status >= 500 or status == 429:
        raise ProviderAway(f"{provider} answered {status} when asked to {doing}")
    try:
        answer = strict_json.read_object(response.content)
    except ValueError as error:
        raise ProviderAway(f"{provider} answered {status} when asked to {doing}, and its answer {error}") from None
    if status >= 300 and "error" not in answer:
        raise ProviderAway(f"{provider} answered {status} without a reason when asked to {doing}")
    return answer


def refused(provider: str, doing: str, code: object, description: object) -> ProviderRefused:
    """An OAuth error as people should read it."""
    name = excerpt(code, 80)
    said = f": {excerpt(description, 200)}" if description else ""
    what = _TODO.get(name, "try again, or tell the operator of this gateway")
    return ProviderRefused(f"{provider} refused to {doing} ({name}{said}); {what}", name)


_OPERATOR: Final = "the operator of this gateway has to check client_id, client_secret and how they are sent"

_TODO: Final = {
    "access_denied": "connect again, and allow it",
    "invalid_grant": "connect again",
    "interaction_required": "connect again",
    "invalid_client": _OPERATOR,
    "unauthorized_client": _OPERATOR,
    "incorrect_client_credentials": _OPERATOR,
    "invalid_scope": "the operator of this gateway has to check the scopes",
    "invalid_target": "the operator of this gateway has to check resource and audience",
}
"""What to do about an error."""
