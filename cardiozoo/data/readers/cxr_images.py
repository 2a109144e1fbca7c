"""A chest radiograph file as an 8-bit grey image whose shorter side is 256 pixels.

JPEG files are decoded at a reduced scale (never below twice the final size), then resized with an antialiasing
filter: a film of 3,000 pixels costs a few milliseconds. What the file holds is believed; the size in the metadata is
    not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SHORTER_SIDE = 256
SMALLEST_SIDE = 64
LARGEST_ASPECT = 4.0
# what files named .jpg have been found to hold; trying every known format would cost more than it finds
_FORMATS = ("JPEG", "PNG")


@dataclass(frozen=True)
class DecodedImage:
    """What became of one file.

    Attributes:
        pixels: uint8 (rows, cols), shorter side 256; None when the file is excluded.
        excluded: Why it is excluded, None when it is kept.
        converted: What had to be converted (``RGB to grey``, ...), in order.
        size: (rows, columns) of the file, None when it could not be opened.
    """

    pixels: np.ndarray | None
    excluded: str | None = None
    converted: tuple[str, ...] = ()
    size: tuple[int, int] | None = None


def decode_image(path: Path, shorter_side: int = SHORTER_SIDE) -> DecodedImage:
    """Read one radiograph; a file that cannot be used is a reason, never an exception.

    Colour becomes grey by luma (ITU-R 601). More than 8 bits become 8 by mapping the darkest and the brightest pixel
    of the image to 0 and 255, because such files do not say how many of their bits are in use. Files smaller than 64
    pixels, or four times as long as wide, are no radiographs.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            size = (image.height, image.width)
            if reason := _no_radiograph(size):
                return DecodedImage(None, reason, size=size)
            grey, converted = _to_grey(image, shorter_side)
            if min(size) < shorter_side:
                converted = (*converted, "enlarged")
            return DecodedImage(_resize(grey, size, shorter_side), None, converted, size)
    except FileNotFoundError:
        return DecodedImage(None, "image file absent")
    except Exception as error:  # decoders raise many kinds (OSError, SyntaxError, ValueError, struct.error ...)
        truncated = "truncated" in str(error).lower()
        return DecodedImage(None, "image file truncated" if truncated else "image file unreadable")


def _no_radiograph(size: tuple[int, int]) -> str | None:
    if min(size) < SMALLEST_SIDE:
        return f"image smaller than {SMALLEST_SIDE} pixels"
    if max(size) > LARGEST_ASPECT * min(size):
        return f"image more than {LARGEST_ASPECT:g} times as long as wide"
    return None


def _to_grey(image: Image.Image, shorter_side: int) -> tuple[Image.Image, tuple[str, ...]]:
    """The image as mode L, and what was converted."""
    mode = image.mode
    if mode == "L":
        image.draft("L", (2 * shorter_side, 2 * shorter_side))
        return image, ()
    if mode.startswith("I") or mode == "F":
        return Image.fromarray(_eight_bits(np.asarray(image))), ("16-bit to 8-bit",)
    if mode == "1":
        return image.convert("L"), ("1-bit to 8-bit",)
    if mode == "RGB":
        image.draft("RGB", (2 * shorter_side, 2 * shorter_side))
    return image.convert("RGB").convert("L"), ("RGB to grey",)


def _eight_bits(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("pixels that are not numbers")
    low, high = values.min(), values.max()
    scaled = (values - low) * (255.0 / (high - low)) if high > low else np.zeros_like(values)
    return np.rint(scaled).astype(np.uint8)


def _resize(image: Image.Image, size: tuple[int, int], shorter_side: int) -> np.ndarray:
    rows, cols = size
    scale = shorter_side / min(rows, cols)
    target = (max(shorter_side, round(cols * scale)), max(shorter_side, round(rows * scale)))
    image.load()
    if image.size != target:
        image = image.resize(target, Image.Resampling.BICUBIC)
    return np.array(image, dtype=np.uint8)
