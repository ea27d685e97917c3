"""Text that others wrote, made fit to be read: what a reader does not see is taken out, or written out for logs.

A leaf. Control, bidirectional, tag and other default-ignorable characters, and those that draw nothing, can hide
instructions in a text, give an application no name or somebody else's, and drive the terminal that shows them.
"""

from __future__ import annotations

import re
from typing import Final

ANSI: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
INVISIBLE: Final = re.compile(
    # Unicode's Default_Ignorable_Code_Point and control characters, without tab, line feed and carriage return
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    # letters and symbols that are blank: braille, Khitan filler, hieroglyphs, an empty note
    "\u2800\U00013430-\U0001343f\U00013441\U00013442\U00016fe4\U0001d159]"
    # One presentation selector belongs to a symbol; a row of them carries hidden bytes.
    "|(?<=[\ufe0e\ufe0f])[\ufe0e\ufe0f]"
    # Joiners belong to some scripts and to emoji; between ASCII letters they only hide.
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)

DRIVING: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
    # Tags spell the flags of some countries; anywhere else they are a hidden text.
    "|(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0000-\U000e007f]+"
)

_CONTROLS: Final = bytes(code for code in (*range(0x20), 0x7F) if chr(code) not in "\t\n\r")
_OTHERS: Final = tuple(
    re.compile(sequence)
    for sequence in (rb"\xc2[\x80-\x9f]", rb"\xe2\x80[\xaa-\xae]", rb"\xe2\x81[\xa6-\xa9]", rb"\xf3\xa0[\x80\x81]")
)
"""What ANSI begins with and DRIVING takes out, in UTF-8."""


def text(value: str) -> str:
    """A text without what is not seen."""
    return INVISIBLE.sub("", ANSI.sub("", value))


def plain(value: str) -> str:
    """A text that may be data: without what drives a terminal, turns the direction, or is a text in tags."""
    return DRIVING.sub("", ANSI.sub("", value)) if _may_drive(value) else value


def escaped(value: str) -> str:
    """A text in one line in which everything is seen: what is not printable stands as `\\x1b` or `\\u202e`."""
    if value.isprintable() and (value.isascii() or not INVISIBLE.search(value)):
        return value
    return "".join(char if _is_seen(char) else char.encode("unicode_escape").decode() for char in value)


def excerpt(value: object, longest: int = 300) -> str:
    """The beginning of what others said, in one line for a log, as `escaped`."""
    return escaped(str(value)[:longest])


def _may_drive(value: str) -> bool:
    """Whether there may be anything for `plain` to take out: looked for in UTF-8, some ten times as fast as it is."""
    try:
        written = value.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return True
    if len(written.translate(None, _CONTROLS)) < len(written):
        return True
    return not value.isascii() and any(sequence.search(written) for sequence in _OTHERS)


def _is_seen(char: str) -> bool:
    return char.isprintable() and not INVISIBLE.match(char)
