"""The normal chest of the radiograph phantom: trunk, lungs, heart, mediastinum and ribs on a grid of attenuation.

Coordinates: X to the image right (the patient's left), Y downwards; the shorter side of the image spans [-1, 1].
Proportions are those of an adult chest whose thorax is 1.6 units wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from cardiozoo.data.synthetic.chest import Chest

SHORT_SIDE = 256
THORAX = 0.80
APEX = -0.82
AP_MAGNIFICATION = 1.10
"""A bedside film enlarges the heart; Chon et al. 2011 measured 1.12 at one metre."""


@dataclass
class Lung:
    """One lung on the grid: ``across`` is X towards its own side, ``wall`` the distance from its outer wall."""

    side: float
    across: np.ndarray
    wall: np.ndarray
    mask: np.ndarray
    dome: np.ndarray  # Y of the diaphragm

    @property
    def whole(self) -> np.ndarray:
        """The lung with its soft edge included, for what fills it up."""
        return np.minimum(self.mask * np.float32(4.0), np.float32(1.0))


@dataclass
class Pose:
    """How the patient lies on the detector: rotation, shift, scale."""

    angle: float
    shift: float
    scale: float
    shape: tuple[int, int]

    def to_pixel(self, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        """Pixel coordinates (column, row) of points of the body."""
        height, width = self.shape
        short = min(height, width)
        pixels = []
        for px, py in points:
            px, py = px / self.scale + self.shift, py / self.scale
            x = px * np.cos(self.angle) + py * np.sin(self.angle)
            y = -px * np.sin(self.angle) + py * np.cos(self.angle)
            pixels.append((float((x * short + width - 1) / 2.0), float((y * short + height - 1) / 2.0)))
        return pixels


@dataclass
class Canvas:
    """One film under construction; all arrays are float32 (H, W)."""

    x: np.ndarray
    y: np.ndarray
    film: np.ndarray
    heart: np.ndarray  # 0 to 1
    right: Lung
    left: Lung
    dome: float  # Y of the left dome
    pose: Pose
    generator: np.random.Generator

    def lung(self, side: float) -> Lung:
        return self.left if side > 0 else self.right

    @property
    def lungs(self) -> np.ndarray:
        return self.right.mask + self.left.mask

    @property
    def aerated(self) -> np.ndarray:
        """1 in free lung, .3 where the heart covers it: texture shows little through the heart."""
        return np.float32(1.0) - np.float32(0.7) * self.heart

    def haze(self, amount: np.ndarray) -> None:
        """Add attenuation that fades out where the film is nearly white, so that shadows do not pile up beyond bone."""
        self.film += amount * np.clip((np.float32(0.80) - self.film) * np.float32(3.0), 0.0, 1.0)

    def fill(self, share: np.ndarray, level: float) -> None:
        """Raise the film to ``level`` where ``share`` is 1."""
        self.film += share * np.maximum(np.float32(level) - self.film, 0.0)

    def draw(self, strength: float, *lines: tuple[list[tuple[float, float]], int]) -> None:
        """Add polylines in body coordinates, each with its width in pixels."""
        image = Image.new("L", (self.film.shape[1], self.film.shape[0]))
        pen = ImageDraw.Draw(image)
        for points, width in lines:
            pen.line(self.pose.to_pixel(points), fill=255, width=width, joint="curve")
        self.film += np.asarray(image, dtype=np.float32) * np.float32(strength / 255.0)

    def cover(self, strength: float, corners: list[tuple[float, float]]) -> None:
        """Add a filled polygon in body coordinates."""
        image = Image.new("L", (self.film.shape[1], self.film.shape[0]))
        ImageDraw.Draw(image).polygon(self.pose.to_pixel(corners), fill=255)
        self.film += np.asarray(image, dtype=np.float32) * np.float32(strength / 255.0)


@cache
def grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres of an image, the shorter side spanning [-1, 1]."""
    short = min(height, width)
    y = ((np.arange(height) + 0.5) * 2.0 - height) / short
    x = ((np.arange(width) + 0.5) * 2.0 - width) / short
    columns, rows = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    return columns, rows


def ramp(distance: np.ndarray, width: float) -> np.ndarray:
    """0 to 1 across a soft edge: .5 at distance 0, ``width`` wide on either side."""
    t = np.clip(distance * np.float32(0.5 / width) + np.float32(0.5), 0.0, 1.0)
    return t * t * (np.float32(3.0) - np.float32(2.0) * t)


def smooth_noise(generator: np.random.Generator, shape: tuple[int, int], cells: int) -> np.ndarray:
    """Smooth noise of about unit variance: normals on a coarse grid, enlarged."""
    coarse = generator.standard_normal((cells, cells), dtype=np.float32)
    return np.array(Image.fromarray(coarse).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)) * np.float32(1.3)


def blob(x: np.ndarray, y: np.ndarray, cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    """A Gaussian spot of height 1."""
    return np.exp(-(((x - np.float32(cx)) / np.float32(rx)) ** 2 + ((y - np.float32(cy)) / np.float32(ry)) ** 2))


def ellipse(
    x: np.ndarray, y: np.ndarray, centre: tuple[float, float], half: tuple[float, float], tilt: float, edge: float
) -> np.ndarray:
    """A filled ellipse with a soft edge; ``tilt`` in degrees from the X axis, positive downwards."""
    cosine, sine = np.float32(np.cos(np.radians(tilt))), np.float32(np.sin(np.radians(tilt)))
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    along, across = dx * cosine + dy * sine, dy * cosine - dx * sine
    radius = np.sqrt((along / np.float32(half[0])) ** 2 + (across / np.float32(half[1])) ** 2)
    return ramp((np.float32(1.0) - radius) * np.float32(min(half)), edge)


def pose_grid(shape: tuple[int, int], generator: np.random.Generator) -> tuple[Pose, np.ndarray, np.ndarray]:
    """A random pose (sd: .03 rad, .03 units, 3 %) and the body coordinates of every pixel."""
    angle, shift, scale = (generator.standard_normal(3) * 0.03).tolist()
    pose = Pose(angle, shift, 1.0 + scale, shape)
    x, y = grid(*shape)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    body_x = (x * cosine - y * sine - np.float32(shift)) * np.float32(pose.scale)
    body_y = (x * sine + y * cosine) * np.float32(pose.scale)
    return pose, body_x, body_y


def normal_chest(
    chest: Chest, row: int, shape: tuple[int, int], bedside: bool, generator: np.random.Generator
) -> Canvas:
    """Trunk, lungs, heart and great vessels of one patient, with the heart size and inflation of the state."""
    pose, x, y = pose_grid(shape, generator)
    inflation = float(np.clip(chest.hyperinflation[row], -2.5, 3.5))
    dome = (0.42 if bedside else 0.50) + 0.045 * inflation + 0.025 * float(generator.standard_normal())
    shoulder = 0.10 * np.exp(-(((y + 0.62) / 0.22) ** 2)) - 1.5 * np.maximum(-0.66 - y, 0.0)
    trunk_half = np.maximum(0.95 + shoulder - 0.04 * np.maximum(y - 0.2, 0.0), 0.34)
    film = np.float32(0.80) * ramp(trunk_half - np.abs(x), 0.03).astype(np.float32)
    outer = THORAX * np.sqrt(np.maximum(1.0 - (np.maximum(-0.05 - y, 0.0) / 0.80) ** 2.4, 0.0))
    inner = 0.10 + 0.03 * np.cos(3.0 * y)
    lungs = {}
    for side in (-1.0, 1.0):
        across = x * np.float32(side)
        raised = 0.13 * float(chest.collapse[row]) if chest.collapse_side[row] == side else 0.0
        curvature = 0.13 * max(0.15, 1.0 - 0.30 * inflation)
        base = dome - raised - (0.04 if side < 0 else 0.0) + curvature * ((across - 0.40) / 0.40) ** 2
        wall = outer - across
        mask = ramp(across - inner, 0.025) * ramp(wall, 0.02) * ramp(y - APEX, 0.04) * ramp(base - y, 0.018)
        thickness = np.sqrt(np.maximum(1.0 - ((across - 0.43) / 0.46) ** 2, 0.0))
        film -= mask * (np.float32(0.20 + 0.015 * inflation) + np.float32(0.33) * thickness)
        lungs[side] = Lung(side, across, wall, mask, base)
    canvas = Canvas(x, y, film, np.zeros_like(film), lungs[-1.0], lungs[1.0], dome, pose, generator)
    _heart(canvas, chest, row, bedside, inflation)
    return canvas


def _heart(canvas: Canvas, chest: Chest, row: int, bedside: bool, inflation: float) -> None:
    x, y, dome = canvas.x, canvas.y, canvas.dome
    ratio = float(chest.ctr[row]) - 0.015 * inflation
    c = ratio * THORAX * (AP_MAGNIFICATION if bedside else 1.0)
    ventricle = ellipse(x, y, (0.30 * c, dome - 0.20), (1.08 * c, 0.74 * c), 32.0, 0.02)
    atrium = ellipse(x, y, (-0.20 * c, dome - 0.22), (0.52 * c, 0.62 * c), 90.0, 0.02)
    canvas.heart = np.maximum(ventricle, atrium)
    band = float(chest.band[row])
    middle = ramp(band + 0.05 * ramp(y + 0.1, 0.3) - np.abs(x), 0.025) * ramp(dome - y, 0.05)
    size = float(np.clip(chest.left_atrium[row], -0.4, 1.4))
    bulge = ellipse(
        x, y, (0.13 + 0.10 * size, dome - 0.20 - 0.80 * c), (0.09 + 0.08 * size, 0.07 + 0.05 * size), 60.0, 0.02
    )
    radius = float(np.clip(0.085 + 0.022 * chest.knob[row], 0.03, 0.19))
    knob = ellipse(x, y, (0.10 + 0.35 * radius, -0.33), (radius, radius), 0.0, 0.02)
    hila = blob(x, y, 0.19, -0.02, 0.07, 0.12) + blob(x, y, -0.19, 0.02, 0.07, 0.12)
    shadow = np.maximum(np.maximum(canvas.heart, middle), np.maximum(bulge, knob))
    inside = canvas.lungs
    canvas.film += inside * (np.float32(0.40) * shadow + np.float32(0.12) * hila * (1.0 - shadow))
    canvas.film += np.float32(0.05 * max(size, 0.0)) * ellipse(x, y, (-0.06, dome - 0.34), (0.17, 0.14), 0.0, 0.03)
    canvas.film += np.float32(0.05) * ramp(0.075 - np.abs(x), 0.02)
    canvas.heart *= ramp(dome + 0.10 - y, 0.03)


def bones(canvas: Canvas, inflation: float) -> None:
    """Nine pairs of ribs, their anterior ends, and the clavicles."""
    x, y = np.abs(canvas.x), canvas.y
    spacing = 0.150 * (1.0 + 0.025 * inflation)
    posterior = (y + 0.83 - 0.42 * (x - 0.10) * (1.0 - 0.35 * x)) / spacing
    anterior = (y + 0.62 + 0.40 * (x - 0.80)) / spacing
    inside = ramp(THORAX + 0.02 - x, 0.02) * ramp(x - 0.10, 0.03) * ramp(y + 0.86, 0.03) * ramp(0.75 - y, 0.05)
    band = np.abs(posterior - np.floor(posterior) - np.float32(0.5))
    canvas.film += np.float32(0.055) * inside * ramp(0.16 - band, 0.07)
    band = np.abs(anterior - np.floor(anterior) - np.float32(0.5))
    canvas.film += np.float32(0.025) * inside * ramp(0.18 - band, 0.07) * ramp(x - 0.42, 0.10) * ramp(y + 0.6, 0.05)
    clavicle = np.abs(y + 0.60 + 0.16 * x + 0.05 * np.sin(5.0 * x))
    canvas.film += np.float32(0.09) * ramp(0.028 - clavicle, 0.012) * ramp(x - 0.08, 0.03) * ramp(0.85 - x, 0.05)


def measured_ratio(canvas: Canvas) -> float:
    """Cardiothoracic ratio as a reader would measure it: widest heart over widest lungs, in columns of the film."""
    heart = np.flatnonzero((canvas.heart > 0.5).any(axis=0))
    chest = np.flatnonzero((canvas.lungs > 0.5).any(axis=0))
    return float((heart[-1] - heart[0] + 1) / (chest[-1] - chest[0] + 1))
