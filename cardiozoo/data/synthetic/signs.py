"""The signs of disease and the devices that are drawn into the film of a normal chest."""

from __future__ import annotations

import numpy as np

from cardiozoo.data.synthetic.canvas import APEX, THORAX, Canvas, Lung, blob, ramp, smooth_noise
from cardiozoo.data.synthetic.chest import Chest


def vessels(canvas: Canvas, water: float) -> None:
    """Branching texture around the hila; raised pressure fills the vessels of the upper half."""
    noise = np.clip(smooth_noise(canvas.generator, canvas.film.shape, 44) - np.float32(0.4), 0.0, 1.6)
    central = blob(np.abs(canvas.x), canvas.y, 0.25, -0.02, 0.34, 0.55)
    upper = 1.0 + 0.8 * min(water, 2.0) * ramp(-0.05 - canvas.y, 0.25)
    grain = np.float32(0.012) * smooth_noise(canvas.generator, canvas.film.shape, 14)
    canvas.haze(canvas.lungs * (np.float32(0.075) * noise * central * upper * canvas.aerated + grain))


def lung_water(canvas: Canvas, water: float) -> None:
    """Haze from the hila outwards, and septal lines at the bases."""
    w = min(water, 3.0)
    if w <= 0.05:
        return
    wings = blob(np.abs(canvas.x), canvas.y, 0.36, 0.02, 0.26, 0.42)
    mottled = 1.0 + 0.25 * smooth_noise(canvas.generator, canvas.film.shape, 22)
    canvas.haze(canvas.lungs * canvas.aerated * (np.float32(0.14 * w) * wings * mottled + np.float32(0.06 * w)))
    if w > 0.4:
        for side in (-1.0, 1.0):
            lines = []
            for step in range(6):
                height = canvas.dome - 0.03 - 0.05 * step + 0.01 * float(canvas.generator.standard_normal())
                ends = [(side * (THORAX - 0.03), height), (side * (THORAX - 0.15), height - 0.01)]
                lines.append((ends, 1))
            canvas.draw(0.05 * min(w, 1.5), *lines)


def consolidation(canvas: Canvas, chest: Chest, row: int) -> None:
    """A dense, blurred patch inside one lung, with dark branching airways left in it."""
    strength = float(chest.consolidation[row])
    if strength <= 0.0:
        return
    radius = float(chest.consolidation_radius[row])
    lung = canvas.lung(float(chest.consolidation_side[row]))
    height = APEX + 0.12 + float(chest.consolidation_height[row]) * (canvas.dome - APEX - 0.2)
    noise = smooth_noise(canvas.generator, canvas.film.shape, 18)
    distance = np.hypot(lung.across - np.float32(0.43), (canvas.y - np.float32(height)) * np.float32(0.85))
    patch = ramp(radius * (1.0 + 0.22 * noise) - distance, 0.09)
    branches = np.abs(smooth_noise(canvas.generator, canvas.film.shape, 30))
    airways = 1.0 - 0.30 * ramp(0.14 - branches, 0.08)
    canvas.haze(np.float32(strength) * patch * airways * lung.mask * canvas.aerated)


def pleura(canvas: Canvas, chest: Chest, row: int, veil: bool) -> None:
    """Effusions (a meniscus, or a veil when lying), encapsulated fluid, air, and the bands of a collapsed base."""
    for lung, amount in ((canvas.right, chest.effusion_right[row]), (canvas.left, chest.effusion_left[row])):
        if amount > 0.0:
            _effusion(canvas, lung, float(amount), veil)
    if chest.loculated[row] > 0.0:
        size, lung = float(chest.loculated[row]), canvas.lung(float(chest.loculated_side[row]))
        height = -0.25 + 0.45 * float(chest.texture[row, 3])
        bulge = 0.26 * size * (1.0 - ((canvas.y - np.float32(height)) / np.float32(0.40 * size)) ** 2)
        canvas.fill(ramp(bulge - lung.wall, 0.025) * lung.whole, 0.74)
    if chest.pneumothorax[row] > 0.0:
        _pneumothorax(canvas, float(chest.pneumothorax[row]), canvas.lung(float(chest.pneumothorax_side[row])))
    if chest.collapse[row] > 0.0:
        _collapse(canvas, float(chest.collapse[row]), canvas.lung(float(chest.collapse_side[row])))


def _effusion(canvas: Canvas, lung: Lung, amount: float, veil: bool) -> None:
    amount = min(amount, 1.1)
    if veil:
        canvas.haze(np.float32(0.45 * min(amount, 0.8)) * ramp(canvas.y + 0.1, 0.5) * lung.mask * canvas.aerated)
        amount *= 0.5
    rise = np.clip((lung.across - 0.25) / 0.45, 0.0, 1.3) ** 3
    rise += 0.3 * np.clip((0.30 - lung.across) / 0.2, 0.0, 1.0)
    level = canvas.dome + 0.08 - 0.75 * amount - (0.06 + 0.35 * amount) * rise
    canvas.fill(ramp(canvas.y - level, 0.03) * lung.whole, 0.78)


def _pneumothorax(canvas: Canvas, width: float, lung: Lung) -> None:
    edge = width * np.clip(1.35 - (canvas.y - APEX) / 0.95, 0.0, 1.35)
    depth = np.minimum(lung.wall, (canvas.y - APEX) * np.float32(0.8))
    beyond = ramp(edge - depth, 0.012) * lung.mask
    canvas.haze(np.float32(0.06) * (lung.mask - beyond))  # the lung that has shrunk is denser
    canvas.film = canvas.film * (1.0 - beyond) + beyond * np.minimum(canvas.film, np.float32(0.20))
    canvas.film += np.float32(0.16) * ramp(0.010 - np.abs(depth - edge), 0.008) * lung.mask * (edge > 0.01)


def _collapse(canvas: Canvas, strength: float, lung: Lung) -> None:
    middle = ramp(lung.across - 0.18, 0.05) * ramp(0.66 - lung.across, 0.05)
    for step, tilt in ((0.05, 1.0), (0.14, -0.6), (0.22, 1.4)):
        centre = lung.dome - np.float32(step) + np.float32(0.10 * tilt) * (lung.across - np.float32(0.4))
        band = ramp(0.028 - np.abs(canvas.y - centre), 0.015)
        canvas.haze(np.float32(0.34 * strength) * band * middle * lung.mask)


def lesion(canvas: Canvas, chest: Chest, row: int) -> None:
    """A round nodule, and the step of an old rib fracture: outside all phenotypes, there to be told apart."""
    u = chest.texture[row].tolist()
    side = 1.0 if u[0] < 0.5 else -1.0
    if chest.nodule[row]:
        x, y = side * (0.30 + 0.28 * u[1]), -0.45 + 0.6 * u[2]
        distance = np.hypot(canvas.x - np.float32(x), canvas.y - np.float32(y))
        canvas.haze(np.float32(0.18) * ramp(0.03 + 0.03 * u[3] - distance, 0.015))
    if chest.fracture[row]:
        x, y = -side * 0.66, -0.3 + 0.5 * u[2]
        step = y + 0.03
        canvas.draw(0.12, ([(x - 0.06, y), (x, step)], 3), ([(x, y), (x + 0.06, step)], 3))


def devices(canvas: Canvas, chest: Chest, row: int) -> None:
    """Pacemaker with its lead, sternal wires, endotracheal tube, central venous line; metal saturates the film."""
    a, b, c, d, e, f = (0.02 * canvas.generator.standard_normal(6)).tolist()
    if chest.pacemaker[row]:
        x, y = 0.52 + a, -0.54 + b
        case = ((-0.10, -0.08), (0.08, -0.10), (0.11, 0.06), (0.02, 0.10), (-0.09, 0.07))
        canvas.cover(0.60, [(x + dx, y + dy) for dx, dy in case])
        vein = [(x - 0.08, y), (0.25, -0.62), (0.02, -0.58), (-0.09, -0.42), (-0.10, -0.10)]
        heart = [(-0.06, canvas.dome - 0.22), (0.08, canvas.dome - 0.12), (0.24 + c, canvas.dome - 0.10)]
        canvas.draw(0.34, (vein + heart, 3))
    if chest.wires[row]:
        loops = []
        for step in range(6):
            y = -0.44 + 0.14 * step + 0.2 * d
            loops += [([(-0.055, y - 0.028), (0.055, y + 0.028)], 3), ([(-0.055, y + 0.028), (0.055, y - 0.028)], 3)]
        canvas.draw(0.32, *loops)
    if chest.tube[row]:
        for offset, strength in ((-0.026, 0.20), (0.0, 0.26), (0.026, 0.20)):
            canvas.draw(strength, ([(offset + e, -1.3), (offset + 0.6 * e, -0.7), (offset, -0.38)], 2))
    if chest.line[row]:
        canvas.draw(0.24, ([(-0.30, -0.95), (-0.22, -0.74), (-0.13, -0.58), (-0.11 + 0.3 * f, -0.14)], 2))
