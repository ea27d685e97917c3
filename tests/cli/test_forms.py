from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from switchboard.cli.forms import Form, first_form

PAGE = """
<form method="POST" action="consent?x=1&amp;y=2">
  <input type="hidden" name="csrf" value="c&quot;1">
  <label><input name="user_id" value="someone"></label>
  <input type="checkbox" name="remember" value="yes">
  <input type="checkbox" name="known" value="yes" checked>
  <button type="button" name="generate">New</button>
  <button name="decision" value="deny">Deny</button>
  <input type="submit" name="decision" value="allow">
</form>
<input name="outside" value="no">
<form action="other"><input name="second" value="no"></form>
"""


def test_the_first_form_is_read_as_a_browser_would_submit_it() -> None:
    assert first_form(PAGE) == Form(
        action="consent?x=1&y=2",
        method="post",
        fields={"csrf": 'c"1', "user_id": "someone", "known": "yes"},
        editable=["user_id"],
        choices=[("decision", "deny"), ("decision", "allow")],
    )


def test_a_form_without_attributes_goes_back_to_its_page_by_get() -> None:
    assert first_form("<form><input name=a>") == Form("", "get", {"a": ""}, ["a"])


def test_a_page_without_a_form_has_none() -> None:
    assert first_form("<p>nothing to fill in") is None


@given(st.text())
def test_no_page_makes_the_reader_fail(page: str) -> None:
    form = first_form(page)
    assert form is None or "<form" in page.lower()
