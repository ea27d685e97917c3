from __future__ import annotations

import httpx2
import pytest
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from switchboard.http.middleware.security_headers import SecurityHeaders

PAGE = HTMLResponse("<p>hello")
DATA = JSONResponse({})


async def get(app: Response, *, https: bool = True) -> httpx2.Response:
    transport = httpx2.ASGITransport(SecurityHeaders(app, https=https))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
        return await http.get("/")


@pytest.mark.parametrize("app", [DATA, RedirectResponse("/elsewhere"), PAGE])
async def test_everything_is_protected_from_sniffing_framing_and_storing(app: Response) -> None:
    headers = (await get(app)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"


async def test_data_may_not_run_anything() -> None:
    assert "default-src 'none'" in (await get(DATA)).headers["content-security-policy"]


async def test_a_page_may_use_our_own_style_and_script_only() -> None:
    policy = (await get(PAGE)).headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


async def test_a_page_does_not_forbid_the_redirect_after_its_form() -> None:
    assert "form-action" not in (await get(PAGE)).headers["content-security-policy"]


@pytest.mark.parametrize("app", [PAGE, RedirectResponse("/elsewhere", 303), DATA])
async def test_whatever_a_popup_shows_stays_connected_to_the_client_that_opened_it(app: Response) -> None:
    assert "cross-origin-opener-policy" not in (await get(app)).headers


async def test_a_page_lets_its_own_forms_say_where_they_come_from() -> None:
    assert (await get(PAGE)).headers["referrer-policy"] == "same-origin"


async def test_browsers_are_told_to_stay_on_https_only_where_there_is_https() -> None:
    assert "strict-transport-security" in (await get(DATA)).headers
    assert "strict-transport-security" not in (await get(DATA, https=False)).headers


async def test_what_a_response_says_itself_is_kept() -> None:
    own = HTMLResponse("x", headers={"Content-Security-Policy": "default-src 'self'", "Cache-Control": "max-age=60"})
    headers = (await get(own)).headers
    assert headers.get_list("content-security-policy") == ["default-src 'self'"]
    assert headers.get_list("cache-control") == ["max-age=60"]
    assert headers["x-frame-options"] == "DENY"
