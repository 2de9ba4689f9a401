"""What an image holds, and its thumbnails: bytes in, facts and WebP bytes out.

Whatever the bytes are, an answer comes back: faulty pictures have a state and a reason. Only
a decoder that crashes, hangs or eats all memory gives none, which is why this runs in
processes of their own (`etl.runtime.sandbox`).
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass, field, replace
from functools import lru_cache, reduce
from itertools import starmap

# Each plugin by name: left to itself Pillow would load all it has, to look for WebP.
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
METHOD = 2  # of 6: a tenth more bytes than the best for a third of its time
REDUCING_GAP = 2.0
MAX_PROFILE_BYTES = 1024 * 1024
MAX_REASON = 200

_PLUGINS = (GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin)
_MAGIC = (jpeg_segments.SIGNATURE, png_chunks.SIGNATURE, b"GIF87a", b"GIF89a")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_SAMPLES = 1 << 16  # values of 16 bits
_ROWS_AT_ONCE = 64
# Data without a marker. The first bits differ from each other and from the zeros that the decoder
# makes up, and so will what it reads, wherever a code was cut.
_NOISE = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(8)).replace(b"\xff", b"Z")
_FILLERS = tuple(bytes([start]) + _NOISE for start in (0b11010000, 0b01100000))


@dataclass(frozen=True, slots=True)
class ImageMetadata:
    """What is known of one picture.

    `width` and `height` are pixels as it is to be shown, turned as its EXIF says; `mode` is
    Pillow's name for how it is stored. `reason` says why a picture is not ready.
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
    """Facts, and WebP bytes by size: the longest side in pixels, or less for a smaller picture."""

    facts: ImageMetadata
    thumbnails: dict[int, bytes] = field(default_factory=dict)


class _Faulty(Exception):
    """A picture of which no thumbnail can be made."""

    def __init__(self, state: ImageState, reason: str) -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason


def examine(content: bytes, sizes: tuple[int, ...], max_pixels: int) -> Examined:
    """Look at a picture and make a thumbnail of each size; no picture is ever enlarged.

    Nothing but pixels gets into a thumbnail: no EXIF, GPS, XMP or text. Colours are sRGB.
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
        with Image.open(io.BytesIO(source.content), formats=FORMATS) as picture:
            return _reduce(picture, source, sizes, known)
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _Faulty(
            ImageState.TOO_LARGE, f"It has more than {max_pixels:,} pixels, the most we decode."
        ) from error
    except UnidentifiedImageError as error:
        raise _unidentified(content) from error
    # Decoders of hostile bytes: besides OSError, ValueError and SyntaxError Pillow has raised
    # KeyError, IndexError, struct.error and zlib.error, and promises no closed list.
    except Exception as error:
        raise _Faulty(ImageState.CORRUPT, f"It cannot be decoded: {_said(error)}.") from error


def _unidentified(content: bytes) -> _Faulty:
    if not content:
        return _Faulty(ImageState.CORRUPT, "It has no bytes.")
    if content.startswith(_MAGIC) or webp_chunks.is_webp(content):
        return _Faulty(ImageState.CORRUPT, "It begins as a picture, but its header is damaged.")
    return _Faulty(ImageState.UNSUPPORTED, "Its bytes are no JPEG, PNG, WebP or GIF.")


def _said(error: Exception) -> str:
    """The error in its own words, if they are fit to show."""
    words = str(error).strip().rstrip(".")
    return words[:MAX_REASON] if words and words.isprintable() else type(error).__name__


# -- containers


def _without_metadata(content: bytes) -> png_chunks.Reduced:
    """The image without metadata that could make decoding fail; a GIF has none."""
    if content.startswith(png_chunks.SIGNATURE):
        return png_chunks.reduced(content, MAX_PROFILE_BYTES)
    if content.startswith(jpeg_segments.SIGNATURE):
        return png_chunks.Reduced(_with_end(jpeg_segments.reduced(content, MAX_PROFILE_BYTES)))
    if webp_chunks.is_webp(content):
        return png_chunks.Reduced(webp_chunks.reduced(content, MAX_PROFILE_BYTES))
    return png_chunks.Reduced(content)


def _with_end(content: bytes) -> bytes:
    """A JPEG that lacks only its end marker, with one; any other as it is, without padding."""
    body = jpeg_segments.without_end(content)
    if body is None:
        return content
    return body + jpeg_segments.END if _has_all_pixels(body) else body


def _has_all_pixels(body: bytes) -> bool:
    """Whether only the end is missing: then further data changes no pixel.

    The decoder makes up pixels where data is missing.
    """
    if not jpeg_segments.has_all_scans(body):
        return False
    pixels = _pixels_digest(body + jpeg_segments.END)
    others = (_pixels_digest(body + filler + jpeg_segments.END) for filler in _FILLERS)
    return all(other == pixels for other in others)


def _pixels_digest(content: bytes) -> bytes:
    digest = hashlib.sha256()
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as picture:
        picture.load()
        for top in range(0, picture.height, _ROWS_AT_ONCE):
            bottom = min(top + _ROWS_AT_ONCE, picture.height)
            digest.update(picture.crop((0, top, picture.width, bottom)).tobytes())
    return digest.digest()


# -- pixels


def _decoded(picture: Image.Image, source: png_chunks.Reduced) -> Image.Image:
    """The pixels, transparent also where Pillow ignores that."""
    picture.load()
    if source.clear:
        return (_clear_gray if len(source.clear) == 1 else _clear_rgb)(picture, source)
    if picture.mode == "I;16":
        return _shallow(picture)
    if isinstance(picture, GifImagePlugin.GifImageFile):
        return _framed(picture)
    return picture


def _shallow(picture: Image.Image) -> Image.Image:
    """16-bit gray as 8 bits; converting alone would clip it, and not every resizing takes it."""
    return picture.point(lambda value: value * (1 / 257) + 0.5).convert("L")


def _clear_gray(picture: Image.Image, source: png_chunks.Reduced) -> Image.Image:
    """16-bit gray, one shade of it clear, as 8 bits with alpha."""
    alpha = [255] * _SAMPLES
    alpha[source.clear[0]] = 0
    mask = picture.convert("I").point(alpha, "L")
    return Image.merge("LA", (_shallow(picture), mask))


def _clear_rgb(picture: Image.Image, source: png_chunks.Reduced) -> Image.Image:
    """16-bit RGB, one color of it clear, as 8 bits with alpha.

    Pillow keeps the high byte of each sample. Taken for little-endian, the low one is kept.
    """
    with Image.open(io.BytesIO(source.content), formats=("PNG",)) as low:
        low.tile = [low.tile[0]._replace(args="RGB;16L")]
        low.load()
        mask = _unlike(low, [value & 255 for value in source.clear])
    mask = ImageChops.lighter(mask, _unlike(picture, [value >> 8 for value in source.clear]))
    picture.putalpha(mask)
    return picture


def _unlike(image: Image.Image, color: list[int]) -> Image.Image:
    """A mask: 0 where a pixel has this very color."""

    def band(number: int, value: int) -> Image.Image:
        return image.getchannel(number).point([255 * (each != value) for each in range(256)])

    return reduce(ImageChops.lighter, starmap(band, enumerate(color)))


def _framed(picture: GifImagePlugin.GifImageFile) -> Image.Image:
    """A GIF with nothing around a first frame that is smaller than the picture."""
    frame = picture.dispose_extent
    if frame is None or tuple(frame) == (0, 0, *picture.size):
        return picture
    image = Image.new("RGBA", picture.size)
    image.paste(picture.convert("RGBA").crop(frame), frame)
    return image


# -- thumbnails


def _reduce(
    picture: Image.Image, source: png_chunks.Reduced, sizes: tuple[int, ...], known: ImageMetadata
) -> Examined:
    width, height, mode = *picture.size, picture.mode
    largest = max(sizes)
    picture.draft("RGB", _fit(width, height, largest))  # a JPEG decodes at an eighth, if that does
    pixels = _decoded(picture, source)
    turn = _orientation(picture.info.get("exif", b""))
    if turn in _SIDEWAYS:
        width, height = height, width
    # Turned when it is small: a square box is the same for a picture on its side.
    image = _bounded(_resizable(pixels), largest)
    image = _turned(_displayable(image, picture.info), turn)
    thumbnails = {}
    for size in sorted(sizes, reverse=True):
        image = _bounded(image, size)
        thumbnails[size] = _webp(image)
    facts = replace(known, format=picture.format, mode=mode, width=width, height=height)
    return Examined(facts, thumbnails)


def _fit(width: int, height: int, size: int) -> tuple[int, int]:
    """The size that fits a square box of `size`, not larger than the picture."""
    longest = max(width, height, size)
    return max(1, round(width * size / longest)), max(1, round(height * size / longest))


def _orientation(data: bytes) -> int:
    """The EXIF orientation; 1 (upright) if it is missing or invalid.

    Not Pillow's `getexif`, which also reads XMP; browsers do not.
    """
    exif = Image.Exif()
    try:
        exif.load(data)
        found = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - EXIF of any make; the picture is good without it
        return 1
    return found if found in _TURNS else 1


def _resizable(picture: Image.Image) -> Image.Image:
    """In a mode in which pixels can be mixed: palettes and single bits cannot."""
    if picture.has_transparency_data:
        return picture if picture.mode in ("LA", "RGBA") else picture.convert("RGBA")
    if picture.mode in ("1", "P"):
        return picture.convert("L" if picture.mode == "1" else "RGB")
    return picture


def _bounded(image: Image.Image, size: int) -> Image.Image:
    """The picture with no side longer than `size`."""
    if max(image.size) <= size:
        return image
    return image.resize(
        _fit(*image.size, size), Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP
    )


def _displayable(image: Image.Image, info: dict[str | tuple[int, int], object]) -> Image.Image:
    """8 bits a channel, sRGB, with alpha where there is any."""
    profile = info.get("icc_profile")
    if isinstance(profile, bytes) and 0 < len(profile) <= MAX_PROFILE_BYTES:
        image = _managed(image, profile)
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _managed(image: Image.Image, profile: bytes) -> Image.Image:
    """In sRGB; as it is, when the profile is unusable or for other channels."""
    if image.mode == "RGBA":
        colours = _managed(image.convert("RGB"), profile)
        colours.putalpha(image.getchannel("A"))
        return colours
    try:
        transform = _to_srgb(profile, image.mode)
        return image if transform is None else transform.apply(image)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image


@lru_cache(maxsize=16)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The conversion, made once for each camera; None where there is nothing to convert."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if "srgb" in ImageCms.getProfileDescription(source).lower():
        return None
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _webp(image: Image.Image) -> bytes:
    """The pixels as WebP, and nothing else of what was known of the picture."""
    image.info = {}
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=METHOD)
    return buffer.getvalue()
