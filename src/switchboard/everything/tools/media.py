"""A picture and a sound small enough to be drawn and composed here: no binary file, no image library."""

from __future__ import annotations

import io
import math
import struct
import wave
import zlib
from functools import cache

_BOARD = (
    "................",
    ".##############.",
    ".#............#.",
    ".#.oo.oo.oo.o.#.",
    ".#.oo.oo.oo.o.#.",
    ".#............#.",
    ".#.yy.oo.oo.o.#.",
    ".#.yy.oo.oo.o.#.",
    ".#..yy......y.#.",
    ".#.oo.yy.oo.y.#.",
    ".#.oo.yy.oo.y.#.",
    ".#.....yyyyyy.#.",
    ".#.oo.oo.oo.o.#.",
    ".#............#.",
    ".##############.",
    "................",
)
"""A switchboard: a frame, rows of jacks, one cord between two of them."""

_PALETTE = {".": (245, 242, 234), "#": (92, 64, 51), "o": (40, 44, 52), "y": (214, 69, 65)}
_SCALE = 4

_RATE = 8000
_SECONDS = 0.25
_TONES = (440.0, 480.0)
"""What a caller hears while the other side rings, in hertz."""


def _chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk: length, kind, body, checksum (https://www.w3.org/TR/png-3/#5Chunk-layout)."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@cache
def tiny_png() -> bytes:
    """The switchboard icon: 64 by 64 pixels, four colours."""
    inks = list(_PALETTE)
    side = len(_BOARD) * _SCALE
    header = struct.pack(">IIBBBBB", side, side, 8, 3, 0, 0, 0)  # 8 bits a pixel, each an index into the palette
    colours = b"".join(bytes(_PALETTE[ink]) for ink in inks)
    lines = [bytes(inks.index(ink) for ink in row for _ in range(_SCALE)) for row in _BOARD for _ in range(_SCALE)]
    pixels = zlib.compress(b"".join(b"\0" + line for line in lines), 9)  # 0: a line that is stored unfiltered
    chunks = ((b"IHDR", header), (b"PLTE", colours), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


@cache
def tiny_wav() -> bytes:
    """A quarter of a second of a ringing line: 8 kHz, 8 bits, one channel."""
    samples = bytes(
        int(128 + 50 * sum(math.sin(2 * math.pi * tone * tick / _RATE) for tone in _TONES))
        for tick in range(int(_RATE * _SECONDS))
    )
    sound = io.BytesIO()
    with wave.open(sound, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(1)
        out.setframerate(_RATE)
        out.writeframes(samples)
    return sound.getvalue()
