"""The signs of disease and the devices that are drawn into the film of a normal chest."""

from __future__ import annotations

import numpy as np

from cardiozoo.data.synthetic.canvas import APEX, THORAX, Canvas, blob, ramp, smooth_noise
from cardiozoo.data.synthetic.chest import Chest


def vessels(canvas: Canvas, water: float) -> None:
    """Branching texture around the hila; raised pressure fills the vessels of the upper half."""
    noise = smooth_noise(canvas.generator, canvas.film.shape, 44)
    central = blob(canvas.x, canvas.y, 0.25, -0.02, 0.34, 0.55) + blob(canvas.x, canvas.y, -0.25, 0.0, 0.34, 0.55)
    upper = 1.0 + 0.8 * min(water, 2.0) * ramp(-0.05 - canvas.y, 0.25)
    canvas.film += (
        np.float32(0.075) * canvas.lungs * np.clip(noise - 0.4, 0.0, 1.6) * central * upper * (1.0 - 0.7 * canvas.heart)
    )
    canvas.film += np.float32(0.012) * canvas.lungs * smooth_noise(canvas.generator, canvas.film.shape, 14)


def lung_water(canvas: Canvas, water: float) -> None:
    """Haze from the hila outwards, and septal lines at the bases."""
    w = min(water, 3.0)
    if w <= 0.05:
        return
    wings = blob(np.abs(canvas.x), canvas.y, 0.34, 0.02, 0.26, 0.40)
    mottled = 1.0 + 0.25 * smooth_noise(canvas.generator, canvas.film.shape, 22)
    clear = 1.0 - 0.8 * canvas.heart
    canvas.film += canvas.lungs * clear * (np.float32(0.13 * w) * wings * mottled + np.float32(0.05 * w))
    if w > 0.4:
        for lung in (canvas.right, canvas.left):
            lines = []
            for step in range(6):
                height = canvas.dome - 0.03 - 0.05 * step + 0.01 * float(canvas.generator.standard_normal())
                lines.append(([(lung.side * (THORAX - 0.03), height), (lung.side * (THORAX - 0.15), height - 0.01)], 1))
            canvas.draw(0.05 * min(w, 1.5), *lines)


def consolidation(canvas: Canvas, chest: Chest, row: int) -> None:
    """A dense, blurred patch inside one lung, with dark branching airways left in it."""
    strength = float(chest.consolidation[row])
    if strength <= 0.0:
        return
    side = float(chest.consolidation_side[row])
    radius = float(chest.consolidation_radius[row])
    lung = canvas.lung(side)
    height = APEX + 0.12 + float(chest.consolidation_height[row]) * (canvas.dome - APEX - 0.2)
    noise = smooth_noise(canvas.generator, canvas.film.shape, 18)
    distance = np.sqrt((lung.across - 0.43) ** 2 + ((canvas.y - height) * 0.85) ** 2)
    patch = ramp(radius * (1.0 + 0.22 * noise) - distance, 0.09)
    airways = 1.0 - 0.35 * (np.abs(smooth_noise(canvas.generator, canvas.film.shape, 30)) < 0.18)
    canvas.film += np.float32(strength) * patch * airways * lung.mask * (1.0 - 0.8 * canvas.heart)


def pleura(canvas: Canvas, chest: Chest, row: int, veil: bool) -> None:
    """Effusions (a meniscus, or a veil in a patient who lies), encapsulated fluid, air, and the bands of a collapsed base."""
    for lung, amount in ((canvas.right, chest.effusion_right[row]), (canvas.left, chest.effusion_left[row])):
        if amount > 0.0:
            _effusion(canvas, lung, float(amount), veil)
    if chest.loculated[row] > 0.0:
        size, lung = float(chest.loculated[row]), canvas.lung(float(chest.loculated_side[row]))
        height = -0.25 + 0.45 * float(chest.texture[row, 3])
        lens = ramp(0.20 * size * (1.0 - ((canvas.y - height) / (0.34 * size)) ** 2) - lung.wall, 0.025)
        canvas.film += lens * lung.mask * np.maximum(np.float32(0.74) - canvas.film, 0.0)
    if chest.pneumothorax[row] > 0.0:
        _pneumothorax(canvas, float(chest.pneumothorax[row]), canvas.lung(float(chest.pneumothorax_side[row])))
    if chest.collapse[row] > 0.0:
        lung = canvas.lung(float(chest.collapse_side[row]))
        rise = 0.10 * (lung.across - 0.4)
        for step, tilt in ((0.07, 1.0), (0.15, -0.6), (0.22, 1.4)):
            band = ramp(0.016 - np.abs(canvas.y - (canvas.dome - 0.09 - step + tilt * rise)), 0.012)
            canvas.film += (
                np.float32(0.20 * chest.collapse[row])
                * band
                * lung.mask
                * ramp(lung.across - 0.18, 0.05)
                * ramp(0.62 - lung.across, 0.05)
            )


def _effusion(canvas: Canvas, lung, amount: float, veil: bool) -> None:
    amount = min(amount, 1.1)
    if veil:
        gradient = ramp(canvas.y + 0.1, 0.5)
        canvas.film += np.float32(0.45 * min(amount, 0.8)) * gradient * lung.mask * (1.0 - 0.8 * canvas.heart)
        amount *= 0.5
    rise = np.clip((lung.across - 0.25) / 0.45, 0.0, 1.3) ** 3 + 0.3 * np.clip((0.30 - lung.across) / 0.2, 0.0, 1.0)
    level = (canvas.dome + 0.08) - 0.75 * amount - (0.06 + 0.35 * amount) * rise
    fill = ramp(canvas.y - level, 0.03) * lung.mask
    canvas.film += fill * np.maximum(np.float32(0.78) - canvas.film, 0.0)


def _pneumothorax(canvas: Canvas, width: float, lung) -> None:
    edge = width * np.clip(1.35 - (canvas.y - APEX) / 0.95, 0.0, 1.35)
    apical = np.minimum(lung.wall, (canvas.y - APEX) * 0.8)
    beyond = ramp(edge - apical, 0.012) * lung.mask
    canvas.film = canvas.film * (1.0 - beyond) + beyond * np.minimum(canvas.film, np.float32(0.24))
    line = ramp(0.008 - np.abs(apical - edge), 0.008) * lung.mask * (edge > 0.01)
    canvas.film += np.float32(0.13) * line


def lesion(canvas: Canvas, chest: Chest, row: int) -> None:
    """A round nodule, and the step of an old rib fracture: outside all phenotypes, there to be told apart."""
    u = chest.texture[row]
    side = 1.0 if u[0] < 0.5 else -1.0
    if chest.nodule[row]:
        centre = (side * (0.30 + 0.28 * u[1]), -0.45 + 0.6 * u[2])
        radius = 0.03 + 0.03 * u[3]
        canvas.film += np.float32(0.18) * ramp(radius - np.hypot(canvas.x - centre[0], canvas.y - centre[1]), 0.015)
    if chest.fracture[row]:
        place = (-side * 0.66, -0.3 + 0.5 * u[2])
        canvas.draw(
            0.12,
            ([(place[0] - 0.06, place[1]), (place[0], place[1] + 0.03)], 3),
            ([(place[0], place[1]), (place[0] + 0.06, place[1] + 0.03)], 3),
        )


def devices(canvas: Canvas, chest: Chest, row: int) -> None:
    """Pacemaker with its lead, sternal wires, endotracheal tube, central venous line; metal saturates the film."""
    wobble = (0.02 * canvas.generator.standard_normal(6)).tolist()
    if chest.pacemaker[row]:
        px, py = 0.52 + wobble[0], -0.56 + wobble[1]
        canvas.cover(
            0.55,
            [
                (px - 0.10, py - 0.08),
                (px + 0.08, py - 0.10),
                (px + 0.11, py + 0.06),
                (px + 0.02, py + 0.10),
                (px - 0.09, py + 0.07),
            ],
        )
        tip = (0.24 + wobble[2], canvas.dome - 0.10)
        lead = [
            (px - 0.08, py),
            (0.25, -0.62),
            (0.02, -0.58),
            (-0.09, -0.42),
            (-0.10, -0.10),
            (-0.06, canvas.dome - 0.22),
            (0.08, canvas.dome - 0.12),
            tip,
        ]
        canvas.draw(0.30, (lead, 2))
    if chest.wires[row]:
        loops = []
        for step in range(5):
            height = -0.42 + 0.15 * step + 0.01 * wobble[3]
            loops += [
                ([(-0.035, height - 0.02), (0.035, height + 0.02)], 2),
                ([(-0.035, height + 0.02), (0.035, height - 0.02)], 2),
            ]
        canvas.draw(0.28, *loops)
    if chest.tube[row]:
        bend = wobble[4]
        for offset in (-0.022, 0.022):
            canvas.draw(0.16, ([(offset + bend, -1.3), (offset + 0.6 * bend, -0.7), (offset, -0.44)], 1))
        canvas.draw(0.20, ([(0.0 + bend, -1.3), (0.6 * bend, -0.7), (0.0, -0.44)], 1))
    if chest.line[row]:
        canvas.draw(0.17, ([(-0.30, -0.95), (-0.22, -0.74), (-0.12, -0.58), (-0.10 + 0.3 * wobble[5], -0.18)], 1))
