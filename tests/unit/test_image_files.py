"""File structure around the pixels: bad metadata or a missing end never makes an image corrupt."""

from __future__ import annotations

import io
import itertools
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat
from PIL.PngImagePlugin import PngInfo

from etl.images import jpeg_segments, png_chunks, webp_chunks
from etl.images.decode import MAX_PROFILE_BYTES
from etl.model.values import ImageState
from tests import sample_images
from tests.sample_images import (
    BLUE,
    GREEN,
    RED,
    WHITE,
    chunk,
    corners,
    encoded,
    plain,
    png,
    segment,
)
from tests.unit.test_images import examine_image, is_near, pixel, thumbnail_image

XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
TEXT = zlib.compress(b"A" * 2_000_000)


def shows_corners(content: bytes) -> bool:
    """Whether the image is ready, upright and complete."""
    examined = examine_image(content)
    assert examined.metadata.state is ImageState.READY, examined.metadata.reason
    places = zip(
        ((0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8)), (RED, GREEN, BLUE, WHITE), strict=True
    )
    return all(is_near(pixel(examined, *place), color) for place, color in places)


# -- PNG


def lines(*samples: int, depth: int, height: int = 64, repeat: int = 32) -> bytes:
    """Compressed lines in which each sample is repeated `repeat` times."""
    bits = "".join(format(value, f"0{depth}b") * repeat for value in samples)
    return zlib.compress((b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")) * height)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_clear_shade_of_gray_is_found_at_any_depth(depth: int):
    most = (1 << depth) - 1
    key = chunk(b"tRNS", struct.pack(">H", most))
    examined = examine_image(png(64, 64, lines(most, 0, depth=depth), key, depth=depth))
    assert pixel(examined, 0.2)[3] == 0
    assert pixel(examined, 0.8) == (0, 0, 0, 255)


def test_gray_of_16_bits_is_compared_at_16_bits_and_not_clipped():
    key = chunk(b"tRNS", b"\xff\xff")
    stored = png(128, 64, lines(0xFFFF, 0xFFFE, 0x8000, 0x0100, depth=16), key, depth=16)
    examined = examine_image(stored)
    assert pixel(examined, 0.1)[3] == 0
    for place, shade in ((0.4, 255), (0.6, 128), (0.9, 1)):
        assert is_near(pixel(examined, place), (shade, shade, shade, 255), by=3)


def test_rgb_of_16_bits_is_compared_at_16_bits():
    clear, near = (0x12FF, 0x3456, 0x789A), (0x12FF, 0x3456, 0x789B)
    rows = b"\0" + struct.pack(">3H", *clear) * 32 + struct.pack(">3H", *near) * 32
    key = chunk(b"tRNS", struct.pack(">3H", *clear))
    stored = png(64, 64, zlib.compress(rows * 64), key, color_type=2, depth=16)
    examined = examine_image(stored)
    assert pixel(examined, 0.2)[3] == 0
    assert is_near(pixel(examined, 0.8), (0x12, 0x34, 0x78, 255), by=6)


def test_large_gray_of_16_bits_gets_a_thumbnail():
    assert is_near(
        pixel(examine_image(plain(1500, 1200, 0x8000, mode="I;16"))), (128, 128, 128), by=2
    )


WRONG_CHECKSUM = chunk(b"tEXt", b"Comment\0x")[:-1] + b"?"
METADATA = {
    "compressed text": chunk(b"zTXt", b"Comment\0\0" + TEXT),
    "international text": chunk(b"iTXt", b"Comment\0\1\0\0\0" + TEXT),
    "much text": chunk(b"tEXt", b"Comment\0" + b"A" * 5_000_000),
    "text bombs": chunk(b"zTXt", b"C\0\0" + zlib.compress(b"A" * 50_000_000, 9)) * 2,
    "broken text": chunk(b"zTXt", b"Comment\0\0nonsense"),
    "wrong checksum": WRONG_CHECKSUM,
    "large profile": chunk(b"iCCP", b"ICC\0\0" + TEXT),
    "broken profile": chunk(b"iCCP", b"ICC\0\0nonsense"),
    "strange profile": chunk(b"iCCP", b"ICC\0\7nonsense"),
    "no profile": chunk(b"iCCP", b"ICC"),
    "large EXIF": chunk(b"eXIf", b"MM\0*" + b"\xff" * 2_000_000),
    "short gamma": chunk(b"gAMA", b"1"),
    "short transparency": chunk(b"tRNS", b"1"),
    "long transparency": chunk(b"tRNS", b"1" * 300),
    "short animation": chunk(b"acTL", b"1") + chunk(b"fcTL", b"2") + chunk(b"fdAT", b"3"),
    "unknown": chunk(b"abCd", b"x" * 100),
}


@pytest.mark.parametrize("metadata", METADATA.values(), ids=METADATA)
def test_png_metadata_does_not_condemn_pixels(metadata: bytes):
    whole = encoded(corners(), "PNG")
    header, end = 33, len(whole) - 12
    assert shows_corners(whole[:header] + metadata + whole[header:])
    assert shows_corners(whole[:end] + metadata + whole[end:])


@pytest.mark.parametrize("transparency", [b"", b"1" * 300])
def test_a_wrong_transparency_of_a_palette_is_dropped(transparency: bytes):
    whole = encoded(corners().quantize(4), "PNG")
    at = whole.index(b"IDAT") - 4
    assert shows_corners(whole[:at] + chunk(b"tRNS", transparency) + whole[at:])


@pytest.mark.parametrize("cut", [4, 12, 14, 16])
def test_a_png_without_its_end_is_whole(cut: int):
    assert shows_corners(encoded(corners(), "PNG")[:-cut])


def test_a_png_cut_in_a_chunk_after_its_pixels_is_whole():
    whole = encoded(corners(), "PNG")
    assert shows_corners(whole[:-12] + chunk(b"tEXt", b"Comment\0" + b"x" * 1000)[:500])


# -- JPEG


JPEG_METADATA = {
    "XMP": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP) * 30,
    "comments": segment(0xFE, b"x" * 65_000) * 50,
    "large profile": b"".join(
        segment(0xE2, b"ICC_PROFILE\0" + bytes([n + 1, 40]) + b"x" * 65_000) for n in range(40)
    ),
    "short profile": segment(0xE2, b"ICC_PROFILE\0"),
    "short JFIF": segment(0xE0, b"JFIF\0"),
    "short Adobe": segment(0xEE, b"Adobe"),
    "broken Photoshop": segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x04"),
    "broken MPF": segment(0xE2, b"MPF\0II*\0\x08\0\0\0" + b"\xff" * 40),
    "broken EXIF": segment(0xE1, b"Exif\0\0II*\0" + b"\xff" * 65_000) * 2,
    "no length": b"\xff\xe5\0\0",
    "fill bytes": b"\xff\xff\xff",
}


@pytest.mark.parametrize("metadata", JPEG_METADATA.values(), ids=JPEG_METADATA)
def test_jpeg_metadata_does_not_condemn_pixels(metadata: bytes):
    whole = encoded(corners(), "JPEG", quality=95)
    assert shows_corners(whole[:2] + metadata + whole[2:])
    at = whole.index(b"\xff\xc0")
    assert shows_corners(whole[:at] + metadata + whole[at:])


NOISE = Image.effect_noise((90, 70), 90).convert("RGB")
JPEGS = [
    encoded(NOISE, "JPEG"),
    encoded(NOISE, "JPEG", progressive=True),
    encoded(NOISE, "JPEG", restart_marker_rows=1, subsampling=0),
    encoded(NOISE.convert("L"), "JPEG", optimize=True),
    encoded(NOISE.convert("CMYK"), "JPEG"),
    encoded(Image.new("RGB", (90, 70), RED), "JPEG"),
]


@pytest.mark.parametrize("whole", JPEGS, ids=range(len(JPEGS)))
@pytest.mark.parametrize("padding", [b"", b"\0" * 5000])
@pytest.mark.parametrize("cut", [1, 2])
def test_a_jpeg_that_lacks_only_its_end_is_whole(whole: bytes, padding: bytes, cut: int):
    examined = examine_image(whole[:-cut] + padding)
    assert examined.metadata.state is ImageState.READY, examined.metadata.reason
    assert examined.thumbnails == examine_image(whole).thumbnails


@given(st.integers(0, 4), st.integers(3, 500), st.booleans())
def test_a_jpeg_that_lacks_pixels_is_corrupt(which: int, cut: int, padded: bool):  # noqa: FBT001
    examined = examine_image(JPEGS[which][:-cut] + b"\0" * (3000 * padded))
    if examined.metadata.state is ImageState.READY:  # at most part of the last block is missing
        assert cut <= 8
        difference = ImageChops.difference(
            thumbnail_image(examined), thumbnail_image(examine_image(JPEGS[which]))
        )
        assert max(ImageStat.Stat(difference).mean) < 0.5
    else:
        assert examined.metadata.state is ImageState.CORRUPT


def test_a_progressive_jpeg_that_lacks_whole_scans_is_corrupt():
    whole = JPEGS[1]
    starts = [n for n in range(len(whole)) if whole[n : n + 2] in (b"\xff\xc4", b"\xff\xda")]
    for start in starts:
        assert examine_image(whole[:start]).metadata.state is ImageState.CORRUPT


# -- WebP and GIF


def test_webp_metadata_does_not_condemn_pixels():
    large = {"exif": b"Exif\0\0" + b"x" * 2_000_000, "xmp": XMP * 30_000, "icc_profile": TEXT * 900}
    assert shows_corners(encoded(corners(), "WEBP", **large))
    for name, value in (("exif", sample_images.exif(1).tobytes()), ("xmp", XMP)):
        whole = encoded(corners(), "WEBP", **{name: value})
        for cut in range(1, len(value), 7):
            assert shows_corners(whole[:-cut])


def test_a_gif_without_its_end_is_whole():
    whole = encoded(corners(), "GIF")
    for cut in (1, 2):
        assert shows_corners(whole[:-cut])


def test_gif_comments_do_not_condemn_pixels():
    assert shows_corners(encoded(corners(), "GIF", comment=b"x" * 3_000_000))


def test_a_gif_is_clear_around_a_small_first_frame():
    stored = bytearray(encoded(Image.new("RGB", (20, 20), RED), "GIF"))
    stored[6:10] = struct.pack("<HH", 40, 40)
    examined = examine_image(bytes(stored))
    assert is_near(pixel(examined, 0.2, 0.2), (*RED, 255))
    assert pixel(examined, 0.8, 0.8)[3] == 0


# -- orientation


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_xmp_orientation_is_ignored(kind: str):
    assert shows_corners(encoded(corners(), kind, xmp=XMP, quality=95))


def test_png_text_orientation_is_ignored():
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    raw = sample_images.exif(6).tobytes().hex()
    text.add_text("Raw profile type exif", f"\nexif\n{len(raw) // 2:8}\n{raw}\n", zip=True)
    assert shows_corners(encoded(corners(), "PNG", pnginfo=text))


def test_exif_after_the_pixels_of_a_png_is_ignored():
    whole = encoded(corners(), "PNG")
    late = chunk(b"eXIf", sample_images.exif(6).tobytes().removeprefix(b"Exif\0\0"))
    assert shows_corners(whole[:-12] + late + whole[-12:])


def test_the_first_exif_of_a_jpeg_counts():
    whole = encoded(corners(), "JPEG", exif=sample_images.exif(1), quality=95)
    at = whole.index(b"\xff\xdb")
    later = segment(0xE1, sample_images.exif(6).tobytes())
    assert shows_corners(whole[:at] + later + whole[at:])


# -- properties


FILES = [encoded(corners(), kind) for kind in ("JPEG", "PNG", "WEBP")]
FILES += [encoded(corners(), "PNG", exif=sample_images.exif(6), transparency=RED)]
FILES += [encoded(corners(), "WEBP", exif=sample_images.exif(6), xmp=XMP)]
STRIP = {
    jpeg_segments.SIGNATURE[:2]: jpeg_segments.strip,
    png_chunks.SIGNATURE[:2]: lambda content, most: png_chunks.strip(content, most).content,
    b"RI": webp_chunks.strip,
}


@given(
    st.integers(0, len(FILES) - 1),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    st.floats(0.1, 1),
)
def test_reducing_any_bytes_twice_equals_once(
    which: int, wrong: list[tuple[float, int]], share: float
):
    content = bytearray(FILES[which])
    for place, value in wrong:
        content[12 + int(place * (len(content) - 12))] = value
    strip = STRIP[FILES[which][:2]]
    once = strip(bytes(content[: max(20, int(share * len(content)))]), MAX_PROFILE_BYTES)
    assert strip(once, MAX_PROFILE_BYTES) == once


@pytest.mark.parametrize("content", FILES, ids=range(len(FILES)))
def test_reduced_image_has_the_same_pixels(content: bytes):
    once = STRIP[content[:2]](content, MAX_PROFILE_BYTES)
    with Image.open(io.BytesIO(content)) as whole, Image.open(io.BytesIO(once)) as less:
        assert whole.convert("RGBA").tobytes() == less.convert("RGBA").tobytes()
        orientations = [each.getexif().get(0x0112) for each in (whole, less)]
    assert len(list(itertools.groupby(orientations))) == 1
