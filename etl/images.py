"""What an image holds, and its thumbnails: bytes in, facts and WebP bytes out.

Whatever the bytes are, an answer comes back: faulty pictures have a state and a reason. Only
a decoder that crashes, hangs or eats all memory gives none, which is why this runs in
processes of their own (`etl.sandbox`).
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass, field, replace
from functools import lru_cache

# Each plugin by name: left to itself Pillow would load all it has, to look for WebP.
from PIL import (
    ExifTags,
    GifImagePlugin,
    Image,
    ImageCms,
    JpegImagePlugin,
    PngImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from etl.model import ImageState

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
QUALITY = 80
METHOD = 2  # of 6: a tenth more bytes than the best for a third of its time
REDUCING_GAP = 2.0
MAX_PROFILE_BYTES = 1024 * 1024
MAX_REASON = 200

_PLUGINS = (GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin)
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
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


@dataclass(frozen=True, slots=True)
class Facts:
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

    facts: Facts
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
    known = Facts(ImageState.READY, len(content), hashlib.sha256(content).hexdigest())
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _examine(content, sizes, max_pixels, known)
    except _Faulty as fault:
        return Examined(replace(known, state=fault.state, reason=fault.reason))


def _examine(content: bytes, sizes: tuple[int, ...], max_pixels: int, known: Facts) -> Examined:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            return _reduce(picture, sizes, known)
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
    if content.startswith(_MAGIC) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP"):
        return _Faulty(ImageState.CORRUPT, "It begins as a picture, but its header is damaged.")
    return _Faulty(ImageState.UNSUPPORTED, "Its bytes are no JPEG, PNG, WebP or GIF.")


def _said(error: Exception) -> str:
    """The error in its own words, if they are fit to show."""
    words = str(error).strip().rstrip(".")
    return words[:MAX_REASON] if words and words.isprintable() else type(error).__name__


# -- thumbnails


def _reduce(picture: Image.Image, sizes: tuple[int, ...], known: Facts) -> Examined:
    width, height, mode = *picture.size, picture.mode
    largest = max(sizes)
    picture.draft("RGB", _fit(width, height, largest))  # a JPEG decodes at an eighth, if that does
    picture.load()
    turn = _orientation(picture)
    if turn in _SIDEWAYS:
        width, height = height, width
    # Turned when it is small: a square box is the same for a picture on its side.
    image = _bounded(_resizable(picture), largest)
    image = _turned(_displayable(image, picture.info), turn)
    thumbnails = {}
    for size in sorted(sizes, reverse=True):
        image = _bounded(image, size)
        thumbnails[size] = _webp(image)
    picture_format = "JPEG" if picture.format == "MPO" else picture.format  # several JPEGs in one
    facts = replace(known, format=picture_format, mode=mode, width=width, height=height)
    return Examined(facts, thumbnails)


def _fit(width: int, height: int, size: int) -> tuple[int, int]:
    """The size that fits a square box of `size`, not larger than the picture."""
    longest = max(width, height, size)
    return max(1, round(width * size / longest)), max(1, round(height * size / longest))


def _orientation(picture: Image.Image) -> int:
    """How EXIF says the camera was held; 1, upright, where it says nothing that makes sense."""
    try:
        found = picture.getexif().get(ExifTags.Base.Orientation, 1)
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
    if image.mode.startswith("I"):  # 16 bits of grey; converting alone would clip them
        image = image.point(lambda value: value * (1 / 256)).convert("L")
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
