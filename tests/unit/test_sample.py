"""data/src is what data/make_sample.py makes, byte for byte, and images pixel for pixel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageChops

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "data/src"
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif"}


def files_below(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("._")


def largest_difference(one: Path, other: Path) -> int:
    """The largest difference of any channel of any pixel."""
    with Image.open(one) as left, Image.open(other) as right:
        assert left.size == right.size
        assert left.format == right.format
        difference = ImageChops.difference(left.convert("RGB"), right.convert("RGB"))
    return max(difference.tobytes())


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    script = ROOT / "data/make_sample.py"
    subprocess.run([sys.executable, script, folder], check=True)
    return folder


def test_script_generates_exactly_the_sample_files(generated: Path):
    assert files_below(generated) == files_below(COMMITTED)


def test_text_files_equal_the_generated_ones(generated: Path):
    for path in files_below(generated):
        if not is_image(path):
            assert (generated / path).read_bytes() == (COMMITTED / path).read_bytes(), path


def test_generated_images_have_the_same_pixels(generated: Path):
    # Encoder versions produce different bytes, and for JPEG slightly different shades.
    images = [path for path in files_below(generated) if is_image(path)]
    assert images
    for path in images:
        assert largest_difference(generated / path, COMMITTED / path) <= 8, path


def test_the_sample_is_small(generated: Path):
    sizes = {path: (COMMITTED / path).stat().st_size for path in files_below(generated)}
    assert max(sizes.values()) < 4096
    assert sum(sizes.values()) < 300_000
