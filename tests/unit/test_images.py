"""From any bytes to metadata, and to thumbnails of every decodable image."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from etl.images.decode import Examined, examine
from etl.model.values import ImageState
from tests import sample_images
from tests.sample_images import BLUE, RED, WHITE, corners, encoded, plain

SIZES = (256, 64)
MAX_PIXELS = 50_000_000


def examine_image(content: bytes, *, max_pixels: int = MAX_PIXELS) -> Examined:
    return examine(content, SIZES, max_pixels)


def thumbnail_image(examined: Examined, size: int = 256) -> Image.Image:
    assert examined.metadata.state is ImageState.READY, examined.metadata.reason
    image = Image.open(io.BytesIO(examined.thumbnails[size]), formats=["WEBP"])
    image.load()
    return image


def pixel(examined: Examined, x: float = 0.5, y: float = 0.5) -> tuple[int, ...]:
    image = thumbnail_image(examined).convert("RGBA")
    found = image.getpixel((int(x * image.width), int(y * image.height)))
    assert isinstance(found, tuple)
    return found


def is_near(found: tuple[int, ...], expected: tuple[int, ...], by: int = 40) -> bool:
    return all(abs(a - b) <= by for a, b in zip(found, expected, strict=False))


def test_metadata_matches_the_image():
    content = plain(300, 200, kind="JPEG")
    metadata = examine_image(content).metadata
    assert (metadata.state, metadata.format, metadata.mode) == (ImageState.READY, "JPEG", "RGB")
    assert (metadata.width, metadata.height, metadata.size_bytes) == (300, 200, len(content))
    assert metadata.sha256 == hashlib.sha256(content).hexdigest()
    assert metadata.reason is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_every_format_gets_both_sizes(kind: str):
    examined = examine_image(plain(1000, 500, kind=kind))
    assert thumbnail_image(examined, 256).size == (256, 128)
    assert thumbnail_image(examined, 64).size == (64, 32)
    assert is_near(pixel(examined), RED)


@pytest.mark.parametrize(
    ("size", "thumbnail"),
    [
        ((1, 1), (1, 1)),
        ((60, 30), (60, 30)),
        ((256, 256), (256, 256)),
        ((12_000, 1_000), (256, 21)),
        ((1_000, 12_000), (21, 256)),
        ((12_000, 10), (256, 1)),
        ((12_000, 4_000), (256, 85)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_thumbnail_is_not_enlarged_and_fits_its_size(
    size: tuple[int, int], thumbnail: tuple[int, int], kind: str
):
    examined = examine_image(plain(*size, kind=kind))
    assert thumbnail_image(examined).size == thumbnail
    assert (examined.metadata.width, examined.metadata.height) == size


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("width", "height"), [(96, 64), (960, 640)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_image_is_rotated_by_its_exif_orientation(
    orientation: int, width: int, height: int, kind: str
):
    turns = [(), (), (0,), (3,), (1,), (5,), (4,), (6,), (2,)]
    image = corners(width, height)
    expected = image
    for turn in turns[orientation]:
        expected = expected.transpose(Image.Transpose(turn))
    stored = encoded(image, kind, exif=sample_images.exif(orientation))
    examined = examine_image(stored)
    assert (examined.metadata.width, examined.metadata.height) == expected.size
    assert (thumbnail_image(examined).width > thumbnail_image(examined).height) == (
        expected.width > expected.height
    )
    for x, y in ((0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8)):
        there = expected.getpixel((int(x * expected.width), int(y * expected.height)))
        assert isinstance(there, tuple)
        assert is_near(pixel(examined, x, y), there), (x, y)


def test_invalid_exif_orientation_is_ignored():
    for odd in (b"Exif\0\0nonsense", b"Exif\0\0MM\0*\xff\xff\xff\xff"):
        stored = encoded(corners(), "JPEG", exif=odd)
        assert is_near(pixel(examine_image(stored), 0.2, 0.2), RED)


@pytest.mark.parametrize(("color", "is_clear"), [((255, 0, 0, 0), True), ((*RED, 255), False)])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_kept(color: tuple[int, ...], *, is_clear: bool, kind: str):
    found = pixel(examine_image(plain(300, 300, color, kind=kind, mode="RGBA")))
    assert (found[3] == 0) == is_clear


def test_a_palette_is_read_with_and_without_transparency():
    palette = corners(300, 300).quantize(4)
    opaque = examine_image(encoded(palette, "PNG"))
    assert opaque.metadata.mode == "P"
    assert is_near(pixel(opaque, 0.2, 0.2), RED)
    assert thumbnail_image(opaque).mode == "RGB"
    index = palette.getpixel((10, 10))
    clear = examine_image(encoded(palette, "PNG", transparency=index))
    assert pixel(clear, 0.2, 0.2)[3] == 0
    assert pixel(clear, 0.2, 0.8)[3] == 255
    assert pixel(examine_image(encoded(palette, "GIF", transparency=index)), 0.2, 0.2)[3] == 0


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("L", 200, (200, 200, 200)),
        ("1", 1, WHITE),
        ("LA", (200, 255), (200, 200, 200, 255)),
        ("LA", (200, 0), (0, 0, 0, 0)),
        ("I;16", 200 * 256, (200, 200, 200)),
        ("I;16", 256, (1, 1, 1)),
    ],
)
@pytest.mark.parametrize("size", [40, 600])
def test_gray_of_any_depth_keeps_its_brightness(
    mode: str, color: int, expected: tuple[int, ...], size: int
):
    examined = examine_image(plain(size, size, color, mode=mode))
    found = pixel(examined)
    if expected[3:] == (0,):
        assert found[3] == 0
    else:
        assert is_near(found, expected, by=4)


def test_transparent_color_stays_transparent():
    stored = encoded(corners(300, 300), "PNG", transparency=RED)
    assert pixel(examine_image(stored), 0.2, 0.2)[3] == 0
    assert pixel(examine_image(stored), 0.8, 0.8)[3] == 255


@pytest.mark.parametrize("size", [64, 900])
def test_cmyk_is_converted_with_and_without_the_adobe_marker(size: int):
    marked = plain(size, size, (0, 255, 255, 0), kind="JPEG", mode="CMYK")
    unmarked = sample_images.without_adobe_marker(marked)
    assert b"Adobe" in marked
    assert b"Adobe" not in unmarked
    for content in (marked, unmarked):
        examined = examine_image(content)
        assert examined.metadata.mode == "CMYK"
        assert is_near(pixel(examined), RED)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation_is_used(kind: str):
    assert is_near(pixel(examine_image(sample_images.animated(kind))), RED)


def test_jpeg_with_two_images_is_a_jpeg():
    content = encoded(corners(), "MPO", save_all=True, append_images=[corners()])
    assert examine_image(content).metadata.format == "JPEG"


def test_nothing_but_pixels_gets_into_a_thumbnail():
    notes = PngInfo()
    notes.add_text("Comment", "SECRETCOMMENT")
    xmp = b"<x:xmpmeta>SECRETXMP</x:xmpmeta>"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stored = [
        encoded(
            corners(), "JPEG", exif=sample_images.exif(1, located=True), xmp=xmp, comment="SECRET"
        ),
        encoded(corners(), "PNG", exif=sample_images.exif(1, located=True), pnginfo=notes),
        encoded(corners(), "WEBP", exif=sample_images.exif(1, located=True), xmp=xmp),
        encoded(corners(), "GIF", comment=b"SECRETCOMMENT"),
        encoded(corners(), "PNG", icc_profile=profile),
    ]
    for content in stored:
        examined = examine_image(content)
        for size in SIZES:
            thumbnail = examined.thumbnails[size]
            assert b"SECRET" not in thumbnail
            assert not {b"EXIF", b"XMP ", b"ICCP"} & {thumbnail[n : n + 4] for n in range(60)}
            assert not thumbnail_image(examined, size).getexif()


def test_color_profile_is_applied():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert is_near(pixel(examine_image(encoded(corners(), "PNG", icc_profile=lab)), 0.2, 0.2), RED)
    assert is_near(
        pixel(examine_image(encoded(corners(), "PNG", icc_profile=b"odd")), 0.2, 0.2), RED
    )
    swapped = examine_image(encoded(corners(), "PNG", icc_profile=gbr_profile()))
    assert is_near(pixel(swapped, 0.2, 0.2), BLUE, by=60)


def gbr_profile() -> bytes:
    """SRGB with the columns of red and blue exchanged."""
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = content.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    return content.replace(b"s\0R\0G\0B", b"o\0d\0d\0\0")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_image_is_corrupt(kind: str, share: float):
    noise = Image.effect_noise((200, 200), 90).convert("RGB")
    whole = encoded(noise, kind)
    metadata = examine_image(whole[: int(len(whole) * share)]).metadata
    assert metadata.state is ImageState.CORRUPT
    assert metadata.reason
    assert metadata.width is None


@pytest.mark.parametrize(
    ("content", "state"),
    [
        (b"", ImageState.CORRUPT),
        (b"\xff\xd8\xff", ImageState.CORRUPT),
        (b"RIFF\0\0\0\0WEBP", ImageState.CORRUPT),
        (b"GIF89a", ImageState.CORRUPT),
        (sample_images.SVG, ImageState.UNSUPPORTED),
        (b"<html><img src=x onerror=alert(1)></html>", ImageState.UNSUPPORTED),
        (plain(kind="BMP"), ImageState.UNSUPPORTED),
        (plain(kind="TIFF"), ImageState.UNSUPPORTED),
        (sample_images.bomb(), ImageState.TOO_LARGE),
        (sample_images.png(1000, 1000, b"\x78\x9c\x03\0\0\0\0\x01"), ImageState.CORRUPT),
        (sample_images.png(0, 5, b""), ImageState.CORRUPT),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_hostile_bytes_have_a_state_and_a_reason(content: bytes, state: ImageState):
    metadata = examine_image(content).metadata
    assert metadata.state is state
    assert metadata.reason
    assert metadata.reason.isprintable()
    assert "0x" not in metadata.reason
    assert metadata.sha256 == hashlib.sha256(content).hexdigest()


def test_polyglot_of_image_and_page_is_read_as_image():
    examined = examine_image(sample_images.POLYGLOT)
    assert examined.metadata.format == "GIF"
    assert b"script" not in examined.thumbnails[64]


def test_the_limit_of_pixels_is_the_most_that_is_decoded():
    assert examine_image(plain(100, 50), max_pixels=5_000).metadata.state is ImageState.READY
    metadata = examine_image(plain(100, 50), max_pixels=4_999).metadata
    assert metadata.state is ImageState.TOO_LARGE
    assert "4,999" in (metadata.reason or "")


@given(
    st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
)
def test_image_with_wrong_bytes_always_gets_a_result(kind: str, wrong: list[tuple[float, int]]):
    content = bytearray(encoded(corners(), kind))
    for place, value in wrong:
        content[int(place * len(content))] = value
    examined = examine_image(bytes(content))
    assert bool(examined.thumbnails) == (examined.metadata.state is ImageState.READY)
