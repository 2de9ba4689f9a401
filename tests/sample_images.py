"""Images generated on request: valid, unusual and hostile ones."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image, TiffImagePlugin

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def plain(
    width: int = 300,
    height: int = 200,
    color: float | tuple[int, ...] = RED,
    *,
    kind: str = "PNG",
    mode: str = "RGB",
) -> bytes:
    """An image of one color."""
    return encoded(Image.new(mode, (width, height), color), kind)


def corners(width: int = 96, height: int = 64) -> Image.Image:
    """Red, green / blue, white: no two rotations of it are equal."""
    image = Image.new("RGB", (width, height), WHITE)
    w, h = width // 2, height // 2
    image.paste(RED, (0, 0, w, h))
    image.paste(GREEN, (w, 0, width, h))
    image.paste(BLUE, (0, h, w, height))
    return image


def exif(orientation: int, *, located: bool = False) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    made[0x010F] = "SECRETCAMERA"
    if located:
        made.get_ifd(0x8825).update(
            {1: "N", 2: tuple(TiffImagePlugin.IFDRational(n) for n in (52, 31, 12))}
        )
    return made


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def segment(marker: int, data: bytes) -> bytes:
    """One segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def png(
    width: int,
    height: int,
    pixels: bytes,
    *more: bytes,
    color_type: int = 0,
    depth: int = 8,
) -> bytes:
    """A PNG built from chunks: `pixels` are its compressed lines, `more` precedes them."""
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    body = (chunk(b"IHDR", header), *more, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def bomb() -> bytes:
    """50,000 x 50,000 pixels in a few kilobytes."""
    return png(50_000, 50_000, zlib.compress(b"\0" * 1_000_000, 9))


def without_adobe_marker(jpeg: bytes) -> bytes:
    """The JPEG without its APP14 segment."""
    at = jpeg.index(b"\xff\xee")
    (length,) = struct.unpack(">H", jpeg[at + 2 : at + 4])
    return jpeg[:at] + jpeg[at + 2 + length :]


def animated(kind: str) -> bytes:
    """Red first, then blue."""
    first, second = Image.new("RGB", (80, 40), RED), Image.new("RGB", (80, 40), BLUE)
    return encoded(first, kind, save_all=True, append_images=[second], duration=100)


SVG = b"""<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>"""
POLYGLOT = plain(20, 20, kind="GIF", mode="L", color=9) + b"<script>alert(1)</script>"
