"""What can be connected to, and the notices that somebody did."""

from __future__ import annotations

import asyncio

import pytest

from switchboard.errors import ConfigurationError
from switchboard.outbound_auth.connectables import Connectable, Connectables, CredentialField
from switchboard.outbound_auth.connected import ConnectionNotices, person_digest
from switchboard.state import open_state

ALICE, BOB = '["https://issuer.example","alice"]', '["https://issuer.example","bob"]'
KEY = CredentialField("key", pattern="sk-[a-z0-9]{8}", description="begins with sk-")
SITE = CredentialField("site", type="url")


async def test_a_notice_wakes_those_who_wait_for_that_person_and_id_on_every_worker(redis_url: str) -> None:
    async with open_state(redis_url) as here, open_state(redis_url) as there:
        waits, tells = ConnectionNotices(here), ConnectionNotices(there)
        async with waits.running(), tells.running():
            with waits.waiting(ALICE, "hub") as hers, waits.waiting(BOB, "hub") as his:
                await tells.tell(ALICE, "other")
                await tells.tell(ALICE, "hub")
                async with asyncio.timeout(120):
                    await hers.wait()

                assert not his.is_set()


async def test_listeners_hear_every_notice_and_of_no_person_by_name(redis_url: str) -> None:
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    async with open_state(redis_url) as state:
        notices = ConnectionNotices(state)
        notices.on_change(lambda *told: heard.put_nowait(told))
        async with notices.running():
            await notices.tell(ALICE, "hub")
            async with asyncio.timeout(120):
                told = await heard.get()

    assert told == (person_digest(ALICE), "hub")
    assert "alice" not in told[0]


async def test_whoever_may_have_missed_a_notice_looks_again() -> None:
    heard: list[tuple[str, str]] = []
    async with open_state(None) as state:
        notices = ConnectionNotices(state)
        notices.on_change(lambda *told: heard.append(told))
        with notices.waiting(ALICE, "hub") as event:
            notices._heard("")

            assert event.is_set()
            assert heard == [("", "")]


def test_a_name_that_a_server_and_a_plugin_share_is_refused_and_changes_nothing() -> None:
    known = Connectables()
    known.put(Connectable("hub", "server:hub", title="Hub"))
    with pytest.raises(ConfigurationError, match="server:hub and plugin:hub"):
        known.put(Connectable("hub", "plugin:hub"))

    assert [each.namespace for each in known] == ["server:hub"]


def test_what_a_reload_brings_replaces_what_was_there_and_removes_what_went() -> None:
    known = Connectables()
    for title in ("Zebra", "Apple"):
        known.put(Connectable("hub", "server:hub", title=title))
    known.put(Connectable("mail", "plugin:mail", title="mail"))
    assert [each.name for each in known] == ["Apple", "mail"]

    known.remove("server:hub")

    assert known.find("hub") is None
    assert known.find("mail") is not None


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        (KEY, "sk-abcd1234", ""),
        (KEY, "xsk-abcd1234", "does not have the form that is asked for: begins with sk-"),
        (KEY, "sk-abcd1234\n", "has a line break"),
        (KEY, "s" * 8193, "has more than 8192 characters"),
        (SITE, "https://hub.example/path?a=b", ""),
        (SITE, "javascript:alert(1)", "is not a web address"),
        (SITE, "https://user:secret@hub.example", "is not a web address"),
        (SITE, "https://", "is not a web address"),
    ],
)
def test_a_field_says_what_is_wrong_with_a_text_and_never_repeats_it(
    field: CredentialField, text: str, said: str
) -> None:
    found = field.problem(text)

    assert found.startswith(said) if said else found == ""
    assert not found or text not in found
