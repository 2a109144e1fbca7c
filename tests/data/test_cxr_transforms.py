from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as vision

from cardiozoo.data.cxr_transforms import ImageOptions, inverse_affine, to_model_input, transform_image
from cardiozoo.errors import OptionError


def smooth(rows: int, cols: int, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (7, 7)).astype(np.uint8)
    return np.array(Image.fromarray(small).resize((cols, rows), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    ("angle", "shift", "scale", "flip"),
    [(0, (0, 0), 1, True), (31, (20, -9), 0.9, False), (-44, (-30, 12), 1.14, True)],
)
def test_one_matrix_equals_flip_affine_crop_one_after_the_other(angle, shift, scale, flip) -> None:
    pixels = smooth(256, 310)
    image = Image.fromarray(pixels)
    staged = vision.hflip(image) if flip else image
    staged = vision.affine(staged, angle, list(shift), scale, [0.0, 0.0], InterpolationMode.BILINEAR)
    expected = np.asarray(vision.center_crop(staged, [224, 224])).astype(int)
    matrix = inverse_affine(310, 256, angle, shift, scale, flip, (43, 16))
    result = np.asarray(image.transform((224, 224), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)).astype(
        int
    )
    assert np.abs(result - expected).mean() < 0.6 and np.quantile(np.abs(result - expected), 0.99) <= 3


@pytest.mark.parametrize("shape", [(256, 256), (256, 311), (340, 256)])
def test_evaluation_is_the_central_crop(shape: tuple[int, int]) -> None:
    pixels = smooth(*shape)
    expected = np.asarray(vision.center_crop(Image.fromarray(pixels), [224, 224]))
    assert np.array_equal(transform_image(pixels, ImageOptions(augment="none")), expected)
    assert np.array_equal(transform_image(pixels, ImageOptions(augment="medfuse", crop="random")), expected)


@pytest.mark.parametrize("size", [32, 64, 299])
def test_other_sizes_show_the_same_part_of_the_film(size: int) -> None:
    pixels = smooth(256, 300)
    result = transform_image(pixels, ImageOptions(size))
    full = Image.fromarray(transform_image(pixels, ImageOptions(224))).resize((size, size), Image.Resampling.BILINEAR)
    assert result.shape == (size, size)
    # the crop starts at whole pixels, which are large in small images
    assert np.abs(result.astype(int) - np.asarray(full).astype(int)).mean() < max(4, 400 / size)


def test_augmentation_follows_from_its_generator() -> None:
    pixels, options = smooth(256, 300), ImageOptions(64, "medfuse", "random")
    draw = [transform_image(pixels, options, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(draw[0], draw[1]) and not np.array_equal(draw[0], draw[2])


def test_a_random_crop_reaches_every_corner() -> None:
    rows, cols = np.mgrid[0:256, 0:256]
    options, rng = ImageOptions(224, "none", "random"), np.random.default_rng(0)
    corners = {(int(transform_image(rows.astype(np.uint8), options, rng)[0, 0])) for _ in range(600)}
    assert corners == set(range(33))
    assert cols.shape == rows.shape


def test_model_input_is_normalised_and_absent_rows_are_zero() -> None:
    images = np.stack([np.full((4, 4), 255, np.uint8), np.zeros((4, 4), np.uint8)])
    result = to_model_input(images, np.array([2, 0]), 4)
    assert result.shape == (4, 3, 4, 4) and result.dtype == torch.float32
    expected = vision.normalize(torch.ones(3, 4, 4), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert torch.allclose(result[2], expected, atol=1e-6)
    assert result[1].abs().sum() == 0 and result[3].abs().sum() == 0 and (result[0] < -1.8).all()
    assert to_model_input(np.zeros((0, 8, 8), np.uint8), np.zeros(0, int), 2).shape == (2, 3, 8, 8)


@pytest.mark.parametrize("options", [{"size": 8}, {"size": 4000}, {"augment": "strong"}, {"crop": "left"}])
def test_options_out_of_range(options: dict) -> None:
    with pytest.raises(OptionError):
        ImageOptions(**options)
