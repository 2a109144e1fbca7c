"""The radiograph phantom: signs change the film where they should, and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest

from cardiozoo.data.synthetic import block, canvas, chest, radiograph
from cardiozoo.data.synthetic.calibrated import load_coefficients
from cardiozoo.data.synthetic.chest import CARDIOMEGALY_FROM, Chest
from cardiozoo.data.synthetic.tables import CHEXPERT_LABELS

RIGHT, LEFT = slice(30, 110), slice(146, 226)  # image columns of the patient's lungs in a square film


@pytest.fixture(scope="module")
def normal() -> Chest:
    """A chest without any sign, twice."""
    part = block.draw_block(0, np.arange(2), load_coefficients(), False, scale=0.0)
    fields = {name: np.zeros_like(getattr(part.now, name)) for name in Chest.__dataclass_fields__}
    fields |= {"ctr": np.full_like(part.now.ctr, 0.45), "band": np.full_like(part.now.ctr, 0.13)}
    fields |= {name: np.ones_like(part.now.ctr) for name in fields if name.endswith("_side")}
    return Chest(**fields)


def film(state: Chest, view: str = "AP", seed: int = 1, aspect: float = 1.0):
    picture, ratio = radiograph.render(state, 0, view, aspect, np.random.default_rng(seed))
    return picture.astype(float), ratio


def with_(state: Chest, **values) -> Chest:
    return replace(state, **{name: np.full_like(getattr(state, name), value) for name, value in values.items()})


def test_the_lungs_are_dark_and_the_middle_is_bright(normal):
    picture, _ = film(normal)
    assert picture.shape == (256, 256)
    lungs = np.concatenate([picture[80:150, 50:90], picture[80:150, 170:210]])
    heart = picture[150:170, 135:160]
    assert lungs.mean() < 90
    assert heart.mean() > 140
    assert picture[:4, :4].mean() < 20  # air beside the neck


@pytest.mark.parametrize("aspect", [0.8, 0.832, 1.0, 1.2, 1.25])
def test_shape_follows_the_aspect(normal, aspect):
    picture, _ = film(normal, aspect=aspect)
    assert min(picture.shape) == 256
    assert picture.shape[1] / picture.shape[0] == pytest.approx(aspect, abs=0.01)


def test_the_measured_ratio_follows_the_heart_and_the_view(normal):
    ratios = [film(with_(normal, ctr=value))[1] for value in (0.40, 0.46, 0.52, 0.58)]
    assert np.all(np.diff(ratios) > 0.03)
    standing, lying = film(normal, "PA")[1], film(normal, "AP")[1]
    assert 1.05 < lying / standing < 1.15
    assert abs(standing - 0.45) < 0.06
    assert np.isnan(film(normal, "LATERAL")[1])


def test_water_whitens_both_lungs(normal):
    dry, wet = film(normal)[0], film(with_(normal, water=1.5))[0]
    for side in (RIGHT, LEFT):
        assert wet[70:150, side].mean() - dry[70:150, side].mean() > 10


def test_an_effusion_fills_its_base_only(normal):
    dry, wet = film(normal)[0], film(with_(normal, effusion_right=0.5))[0]
    change = wet - dry
    assert change[130:180, RIGHT].mean() > 25
    assert abs(change[60:90, RIGHT].mean()) < 12
    assert abs(change[100:180, LEFT].mean()) < 3


def test_air_darkens_the_upper_wall_of_its_side(normal):
    aired = film(with_(normal, pneumothorax=0.3, pneumothorax_side=1.0))[0] - film(normal)[0]
    assert aired[45:80, 190:215].mean() < -8
    assert abs(aired[45:80, 40:65].mean()) < 3


def test_a_patch_lies_in_its_lung(normal):
    state = with_(
        normal, consolidation=0.45, consolidation_radius=0.25, consolidation_side=-1.0, consolidation_height=0.6
    )
    change = film(state)[0] - film(normal)[0]
    assert change[:, RIGHT].mean() > 5 * abs(change[:, LEFT].mean())
    assert change[:, RIGHT].mean() > 3


@pytest.mark.parametrize(
    ("device", "rows", "columns"),
    [
        ("pacemaker", slice(40, 80), slice(175, 215)),
        ("wires", slice(60, 150), slice(115, 140)),
        ("tube", slice(0, 70), slice(115, 140)),
        ("line", slice(0, 110), slice(85, 125)),
    ],
)
def test_devices_are_bright_where_they_lie(normal, device, rows, columns):
    change = film(with_(normal, **{device: True}))[0] - film(normal)[0]
    inside = change[rows, columns].clip(0)
    assert inside.max() > 40
    assert inside.sum() > 0.3 * change.clip(0).sum()


def test_inflation_lowers_and_flattens_the_domes(normal):
    full, empty = with_(normal, hyperinflation=2.0), with_(normal, hyperinflation=-1.0)
    domes = []
    for state in (full, empty):
        drawn = canvas.normal_chest(state, 0, (256, 256), True, np.random.default_rng(0))
        low = drawn.left.dome
        domes.append((drawn.dome, float(low.max() - low.min())))
    assert domes[0][0] - domes[1][0] > 0.1
    assert domes[0][1] < domes[1][1]


def test_same_stream_same_film(normal):
    first, second, other = film(normal)[0], film(normal)[0], film(normal, seed=2)[0]
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_labels_follow_the_state(normal):
    chance = np.full((2, 4, 14), 0.99)
    chance[:, 3] = 0.5  # the reader's threshold, no offset
    chance[:, 2] = 0.1

    def labels(**values):
        clean, noisy = chest.chexpert(with_(normal, **values), chance)
        return dict(zip(CHEXPERT_LABELS, clean[0], strict=True)), dict(zip(CHEXPERT_LABELS, noisy[0], strict=True))

    clean, noisy = labels()
    assert clean["No Finding"] == 1
    assert sum(clean.values()) == 1
    assert noisy["Edema"] == 0
    assert labels(water=1.0)[0]["Edema"] == 1
    assert labels(water=0.62)[1]["Edema"] == -1
    assert labels(ctr=CARDIOMEGALY_FROM + 0.06)[0]["Cardiomegaly"] == 1
    assert labels(effusion_left=0.3)[0]["Pleural Effusion"] == 1
    sick, _ = labels(consolidation=0.3)
    assert sick["Pneumonia"] == sick["Consolidation"] == sick["Lung Opacity"] == 1
    assert sick["No Finding"] == 0
    only_device, _ = labels(pacemaker=True)
    assert only_device["Support Devices"] == only_device["No Finding"] == 1
    chance[:, 0] = 0.0
    assert labels(water=1.0)[1]["Edema"] == 0  # flipped
    chance[:, 0], chance[:, 1] = 0.99, 0.0
    assert np.isnan(labels()[1]["Edema"])  # not mentioned
