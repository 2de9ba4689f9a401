"""Decode an image: bytes in, metadata and WebP thumbnails out.

Every input gives a result: a faulty image has a state and a reason. The exceptions are decoders
that crash, hang or exhaust memory, so this code runs in `etl.runtime.sandbox`.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass, field, replace
from functools import lru_cache, reduce
from itertools import starmap

# Plugins by name, because Pillow would load all of them to find WebP.
from PIL import (
    ExifTags,
    GifImagePlugin,
    Image,
    ImageChops,
    ImageCms,
    JpegImagePlugin,
    PngImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from etl.images import jpeg_segments, png_chunks, webp_chunks
from etl.model.values import ImageState

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
QUALITY = 80
METHOD = 2  # of 6, which takes three times as long and saves a tenth of the bytes
REDUCING_GAP = 2.0
MAX_PROFILE_BYTES = 1024 * 1024
MAX_REASON = 200

_PLUGINS = (GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin)
_MAGIC = (jpeg_segments.SIGNATURE, png_chunks.SIGNATURE, b"GIF87a", b"GIF89a")
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_SAMPLE_VALUES = 1 << 16  # of 16-bit samples
_ROWS_AT_ONCE = 64
# Data without a marker. The fillers begin with different bits, and neither with the zeros that the
# decoder substitutes, so they decode differently wherever a code was cut.
_NOISE = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(8)).replace(b"\xff", b"Z")
_FILLERS = tuple(bytes([start]) + _NOISE for start in (0b11010000, 0b01100000))


@dataclass(frozen=True, slots=True)
class ImageMetadata:
    """The metadata of one image.

    `width` and `height` are in pixels, after the EXIF orientation is applied. `mode` is Pillow's
    name of the stored color mode. `reason` explains a state other than ready.
    """

    state: ImageState
    size_bytes: int
    sha256: str | None = None
    format: str | None = None
    mode: str | None = None
    width: int | None = None
    height: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Examined:
    """The metadata, and WebP bytes by size: the maximum length of the longest side in pixels."""

    metadata: ImageMetadata
    thumbnails: dict[int, bytes] = field(default_factory=dict)


class _Faulty(Exception):
    """The image cannot have a thumbnail."""

    def __init__(self, state: ImageState, reason: str) -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason


def examine(content: bytes, sizes: tuple[int, ...], max_pixels: int) -> Examined:
    """Decode an image and make a thumbnail of each size; images are never enlarged.

    A thumbnail has only pixels: no EXIF, GPS, XMP or text. Its colors are sRGB.
    Sets Pillow's pixel limit for this process.
    """
    known = ImageMetadata(ImageState.READY, len(content), hashlib.sha256(content).hexdigest())
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _examine(content, sizes, max_pixels, known)
    except _Faulty as fault:
        return Examined(replace(known, state=fault.state, reason=fault.reason))


def _examine(
    content: bytes, sizes: tuple[int, ...], max_pixels: int, known: ImageMetadata
) -> Examined:
    try:
        source = _without_metadata(content)
        with Image.open(io.BytesIO(source.content), formats=FORMATS) as image:
            return _thumbnails(image, source, sizes, known)
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = f"It has more than {max_pixels:,} pixels (IMAGE_MAX_PIXELS)."
        raise _Faulty(ImageState.TOO_LARGE, reason) from error
    except UnidentifiedImageError as error:
        raise _unidentified(content) from error
    # Decoders of hostile bytes: besides OSError, ValueError and SyntaxError Pillow has raised
    # KeyError, IndexError, struct.error and zlib.error, and promises no closed list.
    except Exception as error:
        reason = f"It cannot be decoded: {_error_text(error)}."
        raise _Faulty(ImageState.CORRUPT, reason) from error


def _unidentified(content: bytes) -> _Faulty:
    if not content:
        return _Faulty(ImageState.CORRUPT, "It is empty.")
    if content.startswith(_MAGIC) or webp_chunks.is_webp(content):
        return _Faulty(ImageState.CORRUPT, "Its signature is valid, but its header is damaged.")
    return _Faulty(ImageState.UNSUPPORTED, "It is not a JPEG, PNG, WebP or GIF.")


def _error_text(error: Exception) -> str:
    """Return the error's message if it is printable, otherwise its class name."""
    message = str(error).strip().rstrip(".")
    return message[:MAX_REASON] if message.isprintable() and message else type(error).__name__


# -- containers


def _without_metadata(content: bytes) -> png_chunks.Stripped:
    """Drop metadata that could make decoding fail; a GIF has none."""
    if content.startswith(png_chunks.SIGNATURE):
        return png_chunks.strip(content, MAX_PROFILE_BYTES)
    if content.startswith(jpeg_segments.SIGNATURE):
        return png_chunks.Stripped(_with_end(jpeg_segments.strip(content, MAX_PROFILE_BYTES)))
    if webp_chunks.is_webp(content):
        return png_chunks.Stripped(webp_chunks.strip(content, MAX_PROFILE_BYTES))
    return png_chunks.Stripped(content)


def _with_end(content: bytes) -> bytes:
    """Add the end marker to a JPEG that lacks only that; strip padding from an incomplete one."""
    body = jpeg_segments.without_end(content)
    if body is None:
        return content
    return body + jpeg_segments.END if _has_all_pixels(body) else body


def _has_all_pixels(body: bytes) -> bool:
    """Whether only the end marker is missing: then additional data changes no pixel.

    The decoder fills in pixels where data is missing.
    """
    if not jpeg_segments.has_all_scans(body):
        return False
    pixels = _pixels_digest(body + jpeg_segments.END)
    others = (_pixels_digest(body + filler + jpeg_segments.END) for filler in _FILLERS)
    return all(other == pixels for other in others)


def _pixels_digest(content: bytes) -> bytes:
    digest = hashlib.sha256()
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        image.load()
        for top in range(0, image.height, _ROWS_AT_ONCE):
            bottom = min(top + _ROWS_AT_ONCE, image.height)
            digest.update(image.crop((0, top, image.width, bottom)).tobytes())
    return digest.digest()


# -- pixels


def _load(image: Image.Image, source: png_chunks.Stripped) -> Image.Image:
    """Decode the pixels, including transparency that Pillow ignores."""
    image.load()
    if source.transparent:
        return (_gray_with_alpha if len(source.transparent) == 1 else _rgb_with_alpha)(
            image, source
        )
    if image.mode == "I;16":
        return _to_8_bit(image)
    if isinstance(image, GifImagePlugin.GifImageFile):
        return _framed(image)
    return image


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit gray to 8 bits: `convert` would clip it, and some resize filters reject it."""
    return image.point(lambda value: value * (1 / 257) + 0.5).convert("L")


def _gray_with_alpha(image: Image.Image, source: png_chunks.Stripped) -> Image.Image:
    """Convert 16-bit gray with one transparent shade to 8 bits with alpha."""
    alpha = [255] * _SAMPLE_VALUES
    alpha[source.transparent[0]] = 0
    mask = image.convert("I").point(alpha, "L")
    return Image.merge("LA", (_to_8_bit(image), mask))


def _rgb_with_alpha(image: Image.Image, source: png_chunks.Stripped) -> Image.Image:
    """Convert 16-bit RGB with one transparent color to 8 bits with alpha.

    Pillow keeps the high byte of each sample, or the low byte if it decodes as little-endian.
    """
    with Image.open(io.BytesIO(source.content), formats=("PNG",)) as low:
        low.tile = [low.tile[0]._replace(args="RGB;16L")]
        low.load()
        mask = _differs_from(low, [value & 255 for value in source.transparent])
    mask = ImageChops.lighter(
        mask, _differs_from(image, [value >> 8 for value in source.transparent])
    )
    image.putalpha(mask)
    return image


def _differs_from(image: Image.Image, color: list[int]) -> Image.Image:
    """Return a mask that is 0 where a pixel has exactly this color."""

    def band(number: int, value: int) -> Image.Image:
        return image.getchannel(number).point([255 * (each != value) for each in range(256)])

    return reduce(ImageChops.lighter, starmap(band, enumerate(color)))


def _framed(gif: GifImagePlugin.GifImageFile) -> Image.Image:
    """Make the area around a first frame smaller than the GIF transparent."""
    frame = gif.dispose_extent
    if frame is None or tuple(frame) == (0, 0, *gif.size):
        return gif
    image = Image.new("RGBA", gif.size)
    image.paste(gif.convert("RGBA").crop(frame), frame)
    return image


# -- thumbnails


def _thumbnails(
    opened: Image.Image, source: png_chunks.Stripped, sizes: tuple[int, ...], known: ImageMetadata
) -> Examined:
    width, height, mode = *opened.size, opened.mode
    largest = max(sizes)
    opened.draft("RGB", _fit(width, height, largest))  # decode a JPEG at a fraction that suffices
    pixels = _load(opened, source)
    orientation = _orientation(opened.info.get("exif", b""))
    if orientation in _SIDEWAYS:
        width, height = height, width
    # Rotated after resizing, which is cheaper; the bounding box is square.
    image = _bounded(_resizable(pixels), largest)
    image = _transposed(_displayable(image, opened.info), orientation)
    thumbnails = {}
    for size in sorted(sizes, reverse=True):
        image = _bounded(image, size)
        thumbnails[size] = _webp(image)
    metadata = replace(known, format=opened.format, mode=mode, width=width, height=height)
    return Examined(metadata, thumbnails)


def _fit(width: int, height: int, size: int) -> tuple[int, int]:
    """Return the size that fits a square of `size`, not larger than the image."""
    longest = max(width, height, size)
    return max(1, round(width * size / longest)), max(1, round(height * size / longest))


def _orientation(data: bytes) -> int:
    """Return the EXIF orientation, or 1 (upright) if it is missing or invalid.

    Pillow's `getexif` would also read it from XMP, which browsers do not.
    """
    exif = Image.Exif()
    try:
        exif.load(data)
        found = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - invalid EXIF does not make the image faulty
        return 1
    return found if found in _TRANSPOSES else 1


def _resizable(image: Image.Image) -> Image.Image:
    """Convert palettes and single bits to a mode that can be interpolated."""
    if image.has_transparency_data:
        return image if image.mode in ("LA", "RGBA") else image.convert("RGBA")
    if image.mode in ("1", "P"):
        return image.convert("L" if image.mode == "1" else "RGB")
    return image


def _bounded(image: Image.Image, size: int) -> Image.Image:
    """Return the image with no side longer than `size`."""
    if max(image.size) <= size:
        return image
    return image.resize(
        _fit(*image.size, size), Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP
    )


def _displayable(image: Image.Image, info: dict[str | tuple[int, int], object]) -> Image.Image:
    """Convert to 8 bits per channel in sRGB, with alpha if the image has transparency."""
    profile = info.get("icc_profile")
    if isinstance(profile, bytes) and 0 < len(profile) <= MAX_PROFILE_BYTES:
        image = _apply_profile(image, profile)
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert to sRGB, unless the profile is invalid or for another color mode."""
    if image.mode == "RGBA":
        colors = _apply_profile(image.convert("RGB"), profile)
        colors.putalpha(image.getchannel("A"))
        return colors
    try:
        transform = _to_srgb(profile, image.mode)
        return image if transform is None else transform.apply(image)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image


@lru_cache(maxsize=16)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile, cached per camera; None if the profile is sRGB."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if "srgb" in ImageCms.getProfileDescription(source).lower():
        return None
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")


def _transposed(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TRANSPOSES[orientation]) if orientation in _TRANSPOSES else image


def _webp(image: Image.Image) -> bytes:
    """Encode the pixels as WebP, without any metadata."""
    image.info = {}
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=METHOD)
    return buffer.getvalue()
