"""The smallest picture and the smallest sound: one red pixel, and a hundredth of a second of silence."""

from __future__ import annotations

import base64
import io
import struct
import wave
import zlib
from functools import cache

PNG, WAV = "image/png", "audio/wav"

_RED_PIXEL = b"\0\xff\0\0"
"""A line that is stored unfiltered (0), holding one pixel in red, green and blue."""


def _chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk: length, kind, body, checksum (https://www.w3.org/TR/png-3/#5Chunk-layout)."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@cache
def pixel() -> bytes:
    """A picture of one pixel, as PNG."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)  # 8 bits a channel, true colour
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(_RED_PIXEL)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


@cache
def silence() -> bytes:
    """A hundredth of a second of silence, as WAV."""
    sound = io.BytesIO()
    with wave.open(sound, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(1)
        out.setframerate(8000)
        out.writeframes(b"\x80" * 80)
    return sound.getvalue()


def encoded(data: bytes) -> str:
    """As JSON carries it."""
    return base64.b64encode(data).decode()
