from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cardiozoo.data.readers.cxr_images import decode_image

RAMP = np.tile(np.linspace(10, 240, 600), (500, 1)).astype(np.uint8)


def saved(path: Path, array: np.ndarray, **options) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def test_the_shorter_side_becomes_256_and_the_grey_values_stay(tmp_path: Path) -> None:
    for shape in ((500, 600), (600, 500), (300, 300), (1400, 1333)):
        ramp = np.tile(np.linspace(10, 240, shape[1]), (shape[0], 1)).astype(np.uint8)
        result = decode_image(saved(tmp_path / "x.jpg", ramp, quality=95))
        assert result.pixels is not None and result.excluded is None and result.converted == ()
        rows, cols = result.pixels.shape
        assert min(rows, cols) == 256 and abs(cols / rows - shape[1] / shape[0]) < 0.01 and result.size == shape
        expected = np.linspace(10, 240, cols)
        assert np.abs(result.pixels[5:-5, 5:-5].mean(axis=0) - expected[5:-5]).max() < 3
        # an independent way: the full image through a box average
        full = np.asarray(Image.open(tmp_path / "x.jpg").resize((cols, rows), Image.Resampling.BOX)).astype(int)
        assert np.abs(full - result.pixels.astype(int)).mean() < 1.5


def test_colour_becomes_luma(tmp_path: Path) -> None:
    colour = np.zeros((300, 300, 3), np.uint8)
    colour[...] = (200, 100, 50)
    result = decode_image(saved(tmp_path / "x.jpg", colour, quality=100))
    assert result.converted == ("RGB to grey",) and result.pixels is not None
    assert abs(result.pixels.mean() - (0.299 * 200 + 0.587 * 100 + 0.114 * 50)) < 2


def test_sixteen_bits_become_eight_by_their_range(tmp_path: Path) -> None:
    values = (RAMP.astype(np.uint16) * 16)[:, :500]  # 12 of 16 bits in use
    result = decode_image(saved(tmp_path / "x.jpg", values, format="PNG"))
    assert result.converted == ("16-bit to 8-bit",) and result.pixels is not None
    assert result.pixels.min() <= 1 and result.pixels.max() >= 254
    flat = decode_image(saved(tmp_path / "flat.jpg", np.full((300, 300), 7, np.uint16), format="PNG"))
    assert flat.pixels is not None and flat.pixels.max() == 0


def test_small_films_are_enlarged_and_scraps_are_excluded(tmp_path: Path) -> None:
    small = decode_image(saved(tmp_path / "small.jpg", RAMP[:100, :120]))
    assert small.converted == ("enlarged",) and small.pixels is not None and min(small.pixels.shape) == 256
    tiny = decode_image(saved(tmp_path / "tiny.jpg", RAMP[:40, :300]))
    assert tiny.pixels is None and tiny.excluded == "image smaller than 64 pixels"
    strip = decode_image(saved(tmp_path / "strip.jpg", RAMP[:70, :600]))
    assert strip.excluded is not None and "as long as wide" in strip.excluded


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "image file absent"), (b"", "image file unreadable"), (b"GIF89a nonsense", "image file unreadable")],
)
def test_files_that_are_no_images_are_a_reason(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "x.jpg"
    if content is not None:
        path.write_bytes(content)
    assert decode_image(path).excluded == reason


def test_a_truncated_file_is_a_reason(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.jpg", np.random.default_rng(0).integers(0, 256, (600, 600)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = decode_image(path)
    assert result.pixels is None and result.excluded == "image file truncated"
