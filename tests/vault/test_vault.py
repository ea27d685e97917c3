"""What the vault holds whatever its store: nothing is read in clear, in another place, or with other keys."""

from __future__ import annotations

import json
import traceback
from typing import Any

import pytest
import structlog

from switchboard.errors import ConfigurationError
from switchboard.state import State
from switchboard.telemetry.metrics import VAULT_OPERATIONS
from switchboard.vault import Cipher, Conflict, RecordKey, RecordRefused, RedisStore, Undecryptable, Vault
from switchboard.vault.vault import KEY_CHECK
from tests.telemetry.counting import Counted

ALICE, BOB = '["i", "alice"]', '["i", "bob"]'
HERS = RecordKey("server:github", "oauth", ALICE)
SECRET = "Vq7-not-to-be-seen"
OLD, NEW = "o" * 32, "n" * 32

PLACES = [
    RecordKey("server:github", "oauth", BOB),
    RecordKey("server:github", "other", ALICE),
    RecordKey("server:gitlab", "oauth", ALICE),
    RecordKey("plugin:github", "oauth", ALICE),
    RecordKey("server:github", "oauth"),
]


async def test_accesses_are_counted_by_what_they_do_and_how_they_end(redis_vault: Any) -> None:
    vault, counted = redis_vault(), Counted(VAULT_OPERATIONS)
    await vault.put(HERS, {"t": SECRET}, purpose="test")
    await vault.get(HERS, purpose="test")
    await vault.delete(HERS, purpose="test")
    await vault.get(HERS, purpose="test")
    done = [("written", "ok"), ("read", "ok"), ("deleted", "ok"), ("read", "absent")]
    assert counted.since() == dict.fromkeys(done, 1)


@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_a_ciphertext_that_is_moved_to_another_record_does_not_decrypt(
    redis_vault: Any, place: RecordKey
) -> None:
    vault = redis_vault()
    await vault.put(HERS, {"t": SECRET}, purpose="test")
    sealed = await vault.store.read(HERS)
    await vault.store.write(place, sealed, replacing=None)

    with pytest.raises(Undecryptable, match="was changed, or moved"):
        await vault.get(place, purpose="test")


async def test_two_ciphertexts_that_are_swapped_do_not_decrypt(redis_vault: Any) -> None:
    vault, his = redis_vault(), RecordKey("server:github", "oauth", BOB)
    await vault.put(HERS, {"t": "hers"}, purpose="test")
    await vault.put(his, {"t": "his"}, purpose="test")
    first, second = await vault.store.read(HERS), await vault.store.read(his)
    await vault.store.write(HERS, second, replacing=None)
    await vault.store.write(his, first, replacing=None)

    for key in (HERS, his):
        with pytest.raises(Undecryptable):
            await vault.get(key, purpose="test")
    assert redis_vault.audit.outcomes("credential.read") == ["undecryptable"] * 2


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: [parts[0] + "0", *parts[1:]],
        lambda parts: [parts[0], "99999999999999", *parts[2:]],
        lambda parts: [*parts[:3], parts[3][:20] + ("A" if parts[3][20] != "A" else "B") + parts[3][21:]],
        lambda parts: [*parts[:3], parts[3][:8]],
        lambda parts: [*parts[:3], "no base64"],
        lambda parts: [*parts[:3], ""],
        lambda parts: parts[:3],
        lambda parts: ["{}", *parts[4:]],
    ],
    ids=["version", "expiry", "one letter", "too short", "no base64", "nothing", "a part is missing", "not ours"],
)
async def test_a_record_in_which_anything_was_changed_does_not_decrypt(
    redis_vault: Any, state: State, change: Any
) -> None:
    vault, redis = redis_vault(), state.redis
    await vault.put(HERS, {"t": SECRET}, purpose="test", expires_at=redis_vault.clock() + 60)
    (place,) = [key async for key in redis.scan_iter("vault:{server:github}:*") if not key.endswith(":owners")]
    text: Any = await redis.hget(place, "oauth")
    await redis.hset(place, "oauth", "|".join(change(text.split("|"))))

    with pytest.raises(Undecryptable):
        await vault.get(HERS, purpose="test")


async def test_nothing_of_a_value_stands_in_redis(redis_vault: Any, state: State) -> None:
    await redis_vault().put(HERS, {SECRET: SECRET}, purpose="test")

    kept = [str(await state.redis.hgetall(key)) async for key in state.redis.scan_iter("vault:*", _type="hash")]
    assert len(kept) == 2
    assert SECRET not in "".join(kept)


async def test_equal_values_are_never_encrypted_to_equal_ciphertexts(redis_vault: Any) -> None:
    vault, boxes = redis_vault(), set()
    for _ in range(50):
        await vault.put(HERS, {"t": SECRET}, purpose="test")
        boxes.add((await vault.store.read(HERS)).box[:16])

    assert len(boxes) == 50


async def test_a_value_stands_in_no_repr_and_in_no_traceback(redis_vault: Any) -> None:
    vault = redis_vault()
    await vault.put(HERS, {"t": SECRET}, purpose="test")
    record = await vault.get(HERS, purpose="test")
    said = [repr(record), str(record), repr(vault), repr(vault.cipher)]
    for value in ({"t": SECRET, "bad": {1, 2}}, {"t": SECRET, "bad": float("nan")}, {"t": SECRET * 2000}):
        with pytest.raises(RecordRefused) as refused:
            await vault.put(HERS, value, purpose="test")
        said.append("".join(traceback.format_exception(refused.value)))

    assert [each for each in said if SECRET in each] == []


def test_what_was_decrypted_is_overwritten_once_it_was_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    cipher, buffers = Cipher([OLD]), []
    decrypt = cipher.decrypt

    def seen(*given: Any, **named: Any) -> bytearray:
        buffers.append(decrypt(*given, **named))
        assert SECRET.encode() in buffers[-1]
        return buffers[-1]

    sealed = cipher.seal(HERS, {"t": SECRET}, "1", 0)
    monkeypatch.setattr(cipher, "decrypt", seen)

    assert cipher.open(HERS, sealed).value == {"t": SECRET}
    assert [set(buffer) for buffer in buffers] == [{0}]


def test_keys_stand_in_no_repr() -> None:
    assert SECRET not in repr(vars(Cipher([SECRET * 2])))


@pytest.mark.parametrize(
    ("namespace", "name", "owner"),
    [
        ("server", "oauth", ""),
        ("server:", "oauth", ""),
        ("server:a\nb", "oauth", ""),
        ("other:a", "oauth", ""),
        ("server:a", "", ""),
        ("server:a", "with space", ""),
        ("server:a", "n" * 129, ""),
        ("server:a", "oauth", "o" * 1025),
    ],
)
def test_a_key_that_is_not_as_it_must_be_is_refused(namespace: str, name: str, owner: str) -> None:
    with pytest.raises(RecordRefused):
        RecordKey(namespace, name, owner)


async def test_a_record_of_any_key_of_the_ring_is_read_and_the_newest_key_writes(redis_vault: Any) -> None:
    await redis_vault([OLD]).put(HERS, {"by": "old"}, purpose="test")
    both = redis_vault([NEW, OLD])
    record = await both.get(HERS, purpose="test")
    assert record.value == {"by": "old"}

    await both.put(HERS, {"by": "new"}, purpose="test", replacing=record.version)

    sealed = await both.store.read(HERS)
    assert sealed.key_id == both.cipher.newest == redis_vault([NEW]).cipher.newest
    with pytest.raises(Undecryptable, match=r"a key \(.*\) that is not in VAULT_KEYS"):
        await redis_vault([OLD]).get(HERS, purpose="test")


async def test_a_worker_with_other_keys_neither_starts_nor_writes(redis_vault: Any) -> None:
    assert await redis_vault([OLD]).check_keys() is False
    await redis_vault([OLD]).put(HERS, {"by": "old"}, purpose="test")
    assert await redis_vault([NEW, OLD]).check_keys() is True

    wrong = redis_vault([NEW])
    with pytest.raises(ConfigurationError, match="VAULT_KEYS cannot decrypt what the vault holds"):
        await wrong.check_keys()
    with pytest.raises(ConfigurationError):
        await wrong.put(RecordKey("plugin:mail", "key"), {}, purpose="test")
    assert await wrong.get(RecordKey("plugin:mail", "key"), purpose="test") is None


async def test_two_workers_that_write_first_agree_on_the_keys(redis_vault: Any, state: State) -> None:
    """Whoever comes second finds the proof of the first, whatever is between the look and the writing."""
    wrong = redis_vault([NEW])
    right = Vault(RedisStore(state, redis_vault.clock), Cipher([OLD]), redis_vault.audit, redis_vault.clock)
    looked = wrong.store.read

    async def slow(key: RecordKey) -> Any:
        found = await looked(key)
        if key == KEY_CHECK and found is None:
            await right.put(HERS, {}, purpose="test")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wrong.store, "read", slow)
        with pytest.raises(ConfigurationError):
            await wrong.put(RecordKey("plugin:mail", "key"), {}, purpose="test")


async def test_every_access_is_audited_with_who_what_why_and_how_it_ended(redis_vault: Any) -> None:
    vault = redis_vault()
    await vault.get(HERS, purpose="a call")
    version = await vault.put(HERS, {"t": SECRET}, purpose="signing in")
    await vault.get(HERS, purpose="a call")
    with pytest.raises(Conflict):
        await vault.put(HERS, {}, purpose="a refresh", replacing=f"{version}x")
    await vault.delete(HERS, purpose="signing out", who="an administrator")
    await vault.get(RecordKey("gateway", "client"), purpose="discovery")

    about: dict[str, str] = {"who": ALICE, "what": "server:github/oauth", "owner": ""}
    assert redis_vault.audit.entries == [
        {"event": "credential.read", "outcome": "absent", "why": "a call", **about},
        {"event": "credential.written", "outcome": "ok", "why": "signing in", **about},
        {"event": "credential.read", "outcome": "ok", "why": "a call", **about},
        {"event": "credential.written", "outcome": "conflict", "why": "a refresh", **about},
        {
            "event": "credential.deleted",
            "outcome": "ok",
            "why": "signing out",
            "who": "an administrator",
            "what": "server:github/oauth",
            "owner": ALICE,
        },
        {
            "event": "credential.read",
            "outcome": "absent",
            "why": "discovery",
            "who": "gateway",
            "what": "gateway/client",
            "owner": "",
        },
    ]
    assert SECRET not in json.dumps(redis_vault.audit.entries)


async def test_reading_a_record_is_one_command_whatever_there_is(redis_vault: Any, commands: Any) -> None:
    vault = redis_vault()
    for n in range(20):
        await vault.put(RecordKey("server:github", f"k{n}", ALICE), {"n": n}, purpose="test")

    async with commands() as seen:
        await vault.get(RecordKey("server:github", "k3", ALICE), purpose="test")

    assert seen == ["HGET"]


async def test_what_cannot_be_decrypted_is_said_in_the_log_without_its_owner(redis_vault: Any) -> None:
    await redis_vault([OLD]).put(HERS, {}, purpose="test")
    with structlog.testing.capture_logs() as logs, pytest.raises(Undecryptable):
        await redis_vault([NEW]).get(HERS, purpose="test")

    assert [each["event"] for each in logs] == ["credential.undecryptable"]
    assert "alice" not in str(logs)
