"""Pages for people: jinja2 with autoescape, styles and scripts inline and allowed by their hash alone."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from secure import ContentSecurityPolicy, ReferrerPolicy, Secure, XContentTypeOptions, XFrameOptions
from starlette.responses import HTMLResponse, Response

TEMPLATES = Path(__file__).parent / "templates"
_INLINE = {"style": "style.css", "picker_script": "picker.js"}


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class Pages:
    """Renders the templates of `templates/`."""

    def __init__(self) -> None:
        inline = {name: (TEMPLATES / file).read_text() for name, file in _INLINE.items()}
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        # Files of this package, not input: they are what the policy's hashes name.
        self._environment.globals.update({name: Markup(text) for name, text in inline.items()})  # noqa: S704
        self._headers = _headers(_hash(inline["style"]), _hash(inline["picker_script"]))

    def show(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page that is never framed, cached, or told to other sites."""
        html = self._environment.get_template(template).render(**values)
        response = HTMLResponse(html, status, headers={"Cache-Control": "no-store"})
        self._headers.set_headers(response)
        return response


def _headers(style: str, script: str) -> Secure:
    # No form-action: Chromium applies it to the redirects that follow a form, and those lead to the client or the
    # provider. No opener policy: clients open these pages in popups and wait for them. The referrer policy is
    # same-origin, not none, because none would blank the Origin header that the consent form is checked by.
    policy = (
        ContentSecurityPolicy()
        .default_src("'none'")
        .style_src(style)
        .script_src(script)
        .img_src("data:")
        .base_uri("'none'")
        .frame_ancestors("'none'")
    )
    return Secure(
        csp=policy,
        xfo=XFrameOptions().deny(),
        xcto=XContentTypeOptions(),
        referrer=ReferrerPolicy().same_origin(),
    )
