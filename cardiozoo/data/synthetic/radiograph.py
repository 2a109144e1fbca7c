"""From a state of the chest to a film in grey levels: the frontal phantom, a plain lateral one, exposure and file."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

from cardiozoo.data.synthetic import signs
from cardiozoo.data.synthetic.canvas import (
    SHORT_SIDE,
    bones,
    ellipse,
    measured_ratio,
    normal_chest,
    pose_grid,
    ramp,
    smooth_noise,
)
from cardiozoo.data.synthetic.chest import Chest

COMMENT = b"synthetic radiograph of a virtual patient (cardiozoo simulator)"
LETTERS = {
    "A": ("01110", "10001", "10001", "11111", "10001", "10001", "10001"),
    "P": ("11110", "10001", "10001", "11110", "10000", "10000", "10000"),
    "L": ("10000", "10000", "10000", "10000", "10000", "10000", "11111"),
}


def image_shape(aspect: float, short_side: int = SHORT_SIDE) -> tuple[int, int]:
    """(H, W) of an image with this width over height and shorter side."""
    if aspect <= 1.0:
        return round(short_side / aspect), short_side
    return short_side, round(short_side * aspect)


def render(
    chest: Chest, row: int, view: str, aspect: float, generator: np.random.Generator
) -> tuple[np.ndarray, float]:
    """One film, uint8 (H, W) with shorter side 256, and the cardiothoracic ratio measured on it (NaN if lateral).

    Args:
        chest: States of the chest.
        row: The row of ``chest`` that is shown.
        view: ``AP`` (lying, at the bedside), ``PA`` (standing) or ``LATERAL``.
        aspect: Width over height.
        generator: Stream of this film: position, texture, exposure, noise. Nothing of it depends on a condition.
    """
    shape = image_shape(aspect)
    # the signs draw from a stream of their own, so that pose and exposure are the same whatever the state
    taking, drawing = generator.spawn(2)
    if view == "LATERAL":
        return _expose(_lateral(shape, taking), taking, view), float("nan")
    canvas = normal_chest(chest, row, shape, view == "AP", taking)
    ratio = measured_ratio(canvas)
    veil = bool(view == "AP" and taking.random() < 0.4)
    canvas.generator = drawing
    signs.vessels(canvas, float(chest.water[row]))
    signs.lung_water(canvas, float(chest.water[row]))
    signs.consolidation(canvas, chest, row)
    signs.pleura(canvas, chest, row, veil)
    bones(canvas, float(np.clip(chest.hyperinflation[row], -2.5, 3.5)))
    signs.lesion(canvas, chest, row)
    signs.devices(canvas, chest, row)
    return _expose(canvas.film, taking, view), ratio


def _lateral(shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """A side view without any sign of disease: it only has to be told from a frontal film."""
    _, x, y = pose_grid(shape, generator)
    film = np.float32(0.80) * ellipse(x, y, (0.0, 0.15), (0.72, 1.5), 0.0, 0.04)
    lung = ellipse(x, y, (0.02, -0.10), (0.52, 0.74), 8.0, 0.04)
    film -= np.float32(0.46) * lung
    film += np.float32(0.30) * lung * ellipse(x, y, (-0.22, 0.16), (0.30, 0.40), 35.0, 0.03)
    spine = x - 0.48 - 0.10 * np.sin(1.6 * y)
    film += np.float32(0.12) * ramp(0.09 - np.abs(spine), 0.02) * (0.8 + 0.2 * np.cos(45.0 * y))
    film += np.float32(0.02) * lung * smooth_noise(generator, shape, 40)
    return film


def _expose(film: np.ndarray, generator: np.random.Generator, view: str) -> np.ndarray:
    """Exposure, contrast, noise, collimation and letters; grey = 255 clip((attenuation - .15) / .95)."""
    offset, contrast = 0.04 * float(generator.standard_normal()), float(generator.uniform(0.85, 1.15))
    film = (film - np.float32(0.5)) * np.float32(contrast) + np.float32(0.5 + offset)
    film += generator.standard_normal(film.shape, dtype=np.float32) * (
        np.float32(0.012) * (np.float32(1.4) - np.minimum(film, 1.0))
    )
    margins = (generator.random(4) * 0.035 * (generator.random(4) < 0.3) * min(film.shape)).astype(int)
    marker, corner = generator.random(2)
    grey = np.clip((film - np.float32(0.15)) * np.float32(255.0 / 0.95), 0.0, 255.0).astype(np.uint8)
    picture = np.array(Image.fromarray(grey).filter(ImageFilter.GaussianBlur(0.6)))
    if marker < 0.5:
        _letters(picture, "AP" if view == "AP" else "P", top=8, left=8 if corner < 0.5 else picture.shape[1] - 40)
    elif marker < 0.8:
        _letters(picture, "L", top=10, left=picture.shape[1] - 28)
    top, bottom, left, right = margins
    picture[:top], picture[picture.shape[0] - bottom :] = 0, 0
    picture[:, :left], picture[:, picture.shape[1] - right :] = 0, 0
    return picture


def _letters(picture: np.ndarray, text: str, top: int, left: int) -> None:
    for position, letter in enumerate(text):
        glyph = np.array([[int(dot) for dot in line] for line in LETTERS[letter]], dtype=bool).repeat(2, 0).repeat(2, 1)
        place = picture[top : top + glyph.shape[0], left + 14 * position : left + 14 * position + glyph.shape[1]]
        place[glyph] = 245


def encode(picture: np.ndarray, short_side: int, quality: int, colour: bool = False) -> bytes:
    """JPEG bytes of a film enlarged to ``short_side``; its comment says that it is synthetic."""
    image = Image.fromarray(picture)
    if min(picture.shape) != short_side:
        factor = short_side / min(picture.shape)
        size = (round(picture.shape[1] * factor), round(picture.shape[0] * factor))
        image = image.resize(size, Image.Resampling.BILINEAR)
    if colour:
        image = image.convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, comment=COMMENT)
    return buffer.getvalue()


def encode_deep(picture: np.ndarray) -> bytes:
    """A 16-bit picture (a PNG stream) such as a careless conversion leaves behind under the name of a JPEG."""
    deep = Image.fromarray(picture.astype(np.uint16) * 257)
    buffer = io.BytesIO()
    deep.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
