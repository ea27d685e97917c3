from __future__ import annotations

import json

from switchboard.audit.exporting import lines

FIELDS = {
    "event": "server|added",
    "at": "1.5",
    "who": "ada\nCEF:0|forged",
    "what": "a=b\\c",
    "outcome": "refused",
    "on_worker": "w1",
    "chain": "w1:ab",
    "n": "1",
    "prev": "",
    "mac": "ff",
}
ENTRY = ("1500-0", FIELDS)


def test_a_json_line_has_every_field_with_those_that_authenticate_it() -> None:
    text = lines([ENTRY, ENTRY], "jsonl", "1.0")
    assert [json.loads(line) for line in text.splitlines()] == [{"id": "1500-0", **FIELDS}] * 2


def test_a_cef_line_escapes_what_would_end_a_field_or_begin_another_line() -> None:
    assert lines([ENTRY], "cef", "1.0") == (
        r"CEF:0|Switchboard|Switchboard|1.0|server\|added|server\|added|6|rt=1500 externalId=1500-0 cs1Label=what "
        r"suser=ada\nCEF:0|forged cs1=a\=b\\c outcome=refused sbOnWorker=w1"
        "\n"
    )


def test_what_went_well_is_less_severe_in_cef() -> None:
    assert "|3|rt=" in lines([("1-0", {"event": "e", "outcome": "ok"})], "cef", "1.0")
