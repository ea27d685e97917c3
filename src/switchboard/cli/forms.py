"""The first form of a page, as a browser would submit it: enough to walk through consent and sign-in pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Form:
    """A form's target and fields; `choices` are its submit buttons, in the order of the page."""

    action: str = ""
    method: str = "get"
    fields: dict[str, str] = field(default_factory=dict)
    editable: list[str] = field(default_factory=list)
    choices: list[tuple[str, str]] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.form: Form | None = None
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and self.form is None:
            self.form = Form(given.get("action", ""), given.get("method", "get").lower())
            self._inside = True
        elif self._inside and self.form is not None and given.get("name"):
            self._take(self.form, tag, given)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False

    @staticmethod
    def _take(form: Form, tag: str, given: dict[str, str]) -> None:
        name, value, kind = given["name"], given.get("value", ""), given.get("type", "")
        if (tag == "button" and kind in ("", "submit")) or (tag == "input" and kind == "submit"):
            form.choices.append((name, value))
        elif tag == "input" and (kind not in ("checkbox", "radio") or "checked" in given):
            form.fields[name] = value
            if kind in ("", "text", "email"):
                form.editable.append(name)


def first_form(page: str) -> Form | None:
    """The first form in `page`, if there is one."""
    reader = _Reader()
    reader.feed(page)
    return reader.form
