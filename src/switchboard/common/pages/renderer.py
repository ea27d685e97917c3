"""Templates with autoescape (jinja2), styles and scripts inline and allowed by their hash alone."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from secure import ContentSecurityPolicy, ReferrerPolicy, Secure, XContentTypeOptions, XFrameOptions
from starlette.responses import HTMLResponse, Response

SHARED: Final = Path(__file__).parent / "templates"
_NO_SCRIPTS: Final[Mapping[str, str]] = {}


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class Pages:
    """Renders the templates of a folder, within the shared frame.

    Args:
        folder: where they are.
        footer: what each page says at its end.
        scripts: by the name that templates call them, the files of the folder that are scripts.
        connects: whether they may ask this server.
    """

    def __init__(
        self, folder: Path, footer: str, scripts: Mapping[str, str] = _NO_SCRIPTS, *, connects: bool = False
    ) -> None:
        style = (SHARED / "style.css").read_text()
        texts = {name: (folder / file).read_text() for name, file in scripts.items()}
        self._environment = Environment(
            loader=FileSystemLoader([folder, SHARED]), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        # Files of this package, not input: they are what the policy's hashes name.
        inline = {name: Markup(text) for name, text in ({"style": style} | texts).items()}  # noqa: S704
        self._environment.globals.update(inline, footer=footer)
        self._headers = _headers(_hash(style), [_hash(text) for text in texts.values()], connects=connects)

    def show(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page that is never framed, cached, or told to other sites."""
        html = self._environment.get_template(template).render(**values)
        response = HTMLResponse(html, status, headers={"Cache-Control": "no-store"})
        self._headers.set_headers(response)
        return response


def _headers(style: str, scripts: list[str], *, connects: bool) -> Secure:
    # No form-action: Chromium applies it to the redirects that follow a form, and those lead to the client or the
    # provider. No opener policy: clients open these pages in popups and wait for them. The referrer policy is
    # same-origin, not none, because none would blank the Origin header that the consent form is checked by.
    policy = ContentSecurityPolicy().default_src("'none'").style_src(style)
    policy = policy.connect_src("'self'") if connects else policy
    policy = (policy.script_src(*scripts) if scripts else policy).img_src("data:").base_uri("'none'")
    return Secure(
        csp=policy.frame_ancestors("'none'"),
        xfo=XFrameOptions().deny(),
        xcto=XContentTypeOptions(),
        referrer=ReferrerPolicy().same_origin(),
    )
