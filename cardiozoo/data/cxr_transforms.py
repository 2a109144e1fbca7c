"""From a stored radiograph (uint8, shorter side 256) to the square a model sees.

Training follows MedFuse (Hayat et al., MLHC 2022): shorter side 256, horizontal flip, random affine map, 224 x 224
crop. Flip, affine map and crop are composed into one matrix, so the image is resampled once. For another
``image_size`` all lengths scale by the same factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cardiozoo.errors import OptionError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)

# 224 of 256 pixels, the usual relation of crop and resize
_RESIZE_TO_CROP = 256 / 224
_LARGEST_IMAGE = 512

Augment = Literal["medfuse", "none"]
Crop = Literal["center", "random"]


@dataclass(frozen=True)
class ImageOptions:
    """How images are cut and augmented.

    Attributes:
        size: Side of the square result in pixels, 32 to 512.
        augment: ``medfuse``: flip with probability 0.5, rotation within 45 degrees, shift within 15 %, scale 0.85 to
            1.15; ``none``.
        crop: ``center`` (as the released code) or ``random`` (as the paper) in training; evaluation crops the centre.

    Raises:
        OptionError: A value is out of its range.
    """

    size: int = 224
    augment: Augment = "medfuse"
    crop: Crop = "center"

    def __post_init__(self) -> None:
        if not 32 <= self.size <= _LARGEST_IMAGE:
            raise OptionError(
                f"image_size is {self.size}.", f"32 to {_LARGEST_IMAGE} pixels.", "The papers use 224 (the default)."
            )
        for name, kinds in (("augment", Augment), ("crop", Crop)):
            if getattr(self, name) not in get_args(kinds):
                raise OptionError(
                    f"{name} is '{getattr(self, name)}'.", f"{' or '.join(get_args(kinds))}.", "Choose one."
                )


def transform_image(pixels: np.ndarray, options: ImageOptions, rng: np.random.Generator | None = None) -> np.ndarray:
    """Resize, augment and crop one image.

    Args:
        pixels: uint8 (rows, cols).
        options: Size and augmentation.
        rng: Source of the augmentation; None in evaluation: no augmentation, central crop.

    Returns:
        uint8 (size, size).
    """
    image = _shorter_side(pixels, round(options.size * _RESIZE_TO_CROP))
    rows, cols = image.height, image.width
    size = options.size
    top, left = round((rows - size) / 2), round((cols - size) / 2)
    if rng is not None and options.crop == "random":
        top, left = int(rng.integers(0, rows - size + 1)), int(rng.integers(0, cols - size + 1))
    if rng is None or options.augment == "none":
        return np.array(image.crop((left, top, left + size, top + size)))
    flip = bool(rng.random() < 0.5)
    angle = float(rng.uniform(-45.0, 45.0))
    shift = (float(rng.uniform(-0.15, 0.15)) * cols, float(rng.uniform(-0.15, 0.15)) * rows)
    scale = float(rng.uniform(0.85, 1.15))
    matrix = inverse_affine(cols, rows, angle, shift, scale, flip, (left, top))
    return np.array(image.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR))


def inverse_affine(
    cols: int,
    rows: int,
    angle: float,
    shift: tuple[float, float],
    scale: float,
    flip: bool,
    corner: tuple[int, int],
) -> tuple[float, float, float, float, float, float]:
    """The map from pixels of the result to points of the image, for flip, then rotation and scale about the centre,
    then shift, then a crop whose upper left corner is `corner`.

    Args:
        cols: Width of the image.
        rows: Height of the image.
        angle: Degrees, clockwise on the screen.
        shift: Right and down, in pixels.
        scale: Above 1 enlarges.
        flip: Mirror left and right first.
        corner: (left, top) of the crop.

    Returns:
        (a, b, c, d, e, f) with x_in = a x + b y + c and y_in = d x + e y + f, in coordinates where the first pixel
        covers [0, 1).
    """
    centre = np.array([cols / 2, rows / 2])
    turn = np.deg2rad(angle)
    backwards = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / scale
    offset = backwards @ (np.array(corner) - centre - np.array(shift)) + centre
    if flip:
        backwards[0] *= -1
        offset[0] = cols - offset[0]
    (a, b), (d, e) = backwards.tolist()
    return a, b, float(offset[0]), d, e, float(offset[1])


def to_model_input(images: np.ndarray, rows: np.ndarray, batch_size: int) -> Tensor:
    """Normalise images and put them into their rows of the batch; the other rows are 0.

    Args:
        images: uint8 (P, size, size).
        rows: int (P,), the row of each image.
        batch_size: Rows of the batch.

    Returns:
        float32 (batch_size, 3, size, size): grey on three channels, ImageNet mean and standard deviation.
    """
    size = images.shape[-1]
    result = torch.zeros(batch_size, 3, size, size)
    if len(images):
        grey = torch.from_numpy(images).to(torch.float32).div_(255.0)
        index = torch.from_numpy(np.asarray(rows, dtype=np.int64))
        for channel, (mean, sd) in enumerate(zip(IMAGENET_MEAN, IMAGENET_SD, strict=True)):
            result[index, channel] = (grey - mean) / sd
    return result


def _shorter_side(pixels: np.ndarray, side: int) -> Image.Image:
    image = Image.fromarray(pixels)
    shorter = min(image.size)
    if shorter == side:
        return image
    size = tuple(max(side, round(length * side / shorter)) for length in image.size)
    return image.resize(size, Image.Resampling.BILINEAR)
