"""The page is measured: sizes in mm, positions of traces, marks of absent leads, colours of attributions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from known_beats import record
from matplotlib.figure import Figure

from cardiozoo.analysis.ecg_highlight import AGAINST, FOR, Highlight
from cardiozoo.analysis.ecg_layout import PULSE
from cardiozoo.analysis.ecg_paper import draw_ecg, save_page
from cardiozoo.data.ecg import LEADS
from cardiozoo.errors import OptionError


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def traces(figure: Figure, least: int = 50) -> list[np.ndarray]:
    """(n, 2) points in mm of every long line: the leads, not the pulses."""
    return [line.get_xydata() for line in figure.axes[0].lines if len(line.get_xdata()) > least]


def test_scale_is_true():
    ramp = np.zeros((12, 5000))
    ramp[:, 2500:] = 1.0  # a step of 1 mV at 5 s
    figure = draw_ecg(ramp, 500, layout="12x1")
    axes = figure.axes[0]
    width, height = figure.get_size_inches() * 25.4
    assert axes.get_xlim() == (0, pytest.approx(width)) and axes.get_ylim() == (0, pytest.approx(height))
    assert tuple(axes.get_position().bounds) == (0, 0, 1, 1)
    for trace in traces(figure):
        assert np.ptp(trace[:, 1]) == pytest.approx(10)  # 10 mm/mV
        assert trace[-1, 0] - trace[0, 0] == pytest.approx(25 * 4999 / 500)  # 25 mm/s
        assert trace[2500, 0] - trace[0, 0] == pytest.approx(125)


def test_pulse_is_one_millivolt_over_a_fifth_of_a_second():
    pulse = draw_ecg(record()[0], 500).axes[0].lines[0].get_xydata()
    assert np.ptp(pulse[:, 1]) == pytest.approx(10)
    assert pulse[3, 0] - pulse[2, 0] == pytest.approx(5)


@pytest.mark.parametrize("rate", [500, 250, 100])
def test_time_goes_on_from_column_to_column(rate: int):
    samples = 10 * rate
    signal = np.tile(np.arange(samples) / samples, (12, 1))  # each sample says when it is
    figure = draw_ecg(signal, rate, layout="4x3")
    found = traces(figure, 20)
    assert len(found) == 13
    left = min(trace[0, 0] for trace in found)
    median = np.median(signal[0])
    strip = found[-1]
    assert len(strip) == samples
    for trace in found[:-1]:
        begin = round((trace[0, 0] - left) / 25 * rate)
        same_time = strip[begin : begin + len(trace)]
        np.testing.assert_allclose(trace[:, 0], same_time[:, 0], atol=1e-6)
        baseline = trace[0, 1] - 10 * (signal[0, begin] - median)
        np.testing.assert_allclose(trace[:, 1] - baseline, 10 * (signal[0, begin : begin + len(trace)] - median))
    starts = sorted({round(trace[0, 0] - left) for trace in found})
    assert starts == [0, 62, 125, 188]
    assert left == pytest.approx(11 + PULSE)


def test_every_lead_is_named_and_absent_ones_are_marked():
    signal = record()[0]
    signal[8] = np.nan
    present = np.ones(12, dtype=bool)
    present[3] = False
    found = words(draw_ecg(signal, 500, present=present))
    assert [found.count(lead) for lead in LEADS] == [1, 2, *[1] * 10]  # lead II also is the rhythm strip
    assert found.count("no signal") == 2


def test_six_leads_have_a_page_of_their_own():
    signal = record()[0]
    signal[6:] = np.nan
    figure = draw_ecg(signal, 500)
    assert len(traces(figure)) == 7 and not {"V1", "no signal"} & set(words(figure))
    assert len(traces(draw_ecg(signal, 500, layout="12x1"))) == 6
    signal[1] = np.nan
    assert words(draw_ecg(signal, 500)).count("I") == 2  # another lead takes the strip


def test_units_gain_and_synthetic_are_said():
    signal = record()[0]
    said = " ".join(words(draw_ecg(signal, 500, title="Sample 1", synthetic=True)))
    assert "SYNTHETIC · Sample 1" in said and "25 mm/s" in said and "10 mm/mV" in said and "1 mV" in said
    said = " ".join(words(draw_ecg(signal, 500, unit="sd")))
    assert "mm/sd" in said and "4 sd" in said and "mV" not in said


def test_gaps_leave_the_paper_white_and_the_signal_is_not_changed():
    signal = record()[0]
    signal[1, 1000:1300] = np.nan
    before = signal.copy()
    strip = traces(draw_ecg(signal, 500))[-1]
    assert np.isnan(strip[1000:1300, 1]).all() and np.isfinite(strip[:1000, 1]).all()
    np.testing.assert_array_equal(signal, before)


@pytest.mark.parametrize(("layout", "columns"), [("4x3", 4), ("2x3", 2), ("12x1", 1)])
def test_the_trace_ends_with_the_record(layout: str, columns: int):
    signal = record()[0]
    signal[:, 3750:] = np.nan
    waves = {"QRS": np.arange(5000) > 3600}
    figure = draw_ecg(signal, 500, layout=layout, attribution=np.ones_like(signal), waves=waves)
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(297)  # paper as for the whole record
    assert "end of record, 7.5 s" in words(figure)
    left = 11 + PULSE
    for trace in traces(figure):
        assert np.isfinite(trace).all() and trace[-1, 0] <= left + 7.5 * 25 + 1e-6
    # Every column shows its part of what there is, at true speed.
    starts = sorted({round(trace[0, 0] - left, 1) for trace in traces(figure)})
    np.testing.assert_allclose(starts, np.arange(columns) * 7.5 * 25 / columns, atol=0.1)
    bars = [patch for patch in figure.axes[0].patches if patch.get_height() == 0.9]
    assert bars and max(bar.get_x() + bar.get_width() for bar in bars) == pytest.approx(left + 7.5 * 25)
    assert not any("end of record" in word for word in words(draw_ecg(record()[0], 500, layout=layout)))


def test_an_end_is_told_by_the_leads_that_are_there_and_only_on_its_page():
    signal, present = record(seconds=14)[0], np.ones(12, dtype=bool)
    signal[1, 5500:] = np.nan  # one lead alone falls silent
    assert not any("end of record" in word for word in words(draw_ecg(signal, 500, start=3)))
    signal[:, 6000:] = np.nan
    signal[3], present[3] = 0.0, False
    assert not any("end of record" in word for word in words(draw_ecg(signal, 500, present=present)))
    assert "end of record, 12 s" in words(draw_ecg(signal, 500, present=present, start=3))
    with pytest.raises(OptionError, match="lasts 12 s"):
        draw_ecg(signal, 500, present=present, start=12.5)


def test_a_record_too_short_for_columns_has_a_row_for_each_lead():
    signal = record()[0]
    signal[:, 1500:] = np.nan
    assert len(traces(draw_ecg(signal, 500))) == 12 and len(traces(draw_ecg(signal, 500, layout="4x3"))) == 13
    signal[6:] = np.nan
    assert len(traces(draw_ecg(signal, 500))) == 7  # six limb leads in two columns of 1.5 s
    signal[:, 900:] = np.nan
    assert len(traces(draw_ecg(signal, 500))) == 6


def test_words_under_narrow_paper_do_not_meet():
    figure = draw_ecg(record(seconds=2.5)[0], 500, attribution=np.ones((12, 1250)), target="pulmonary hypertension")
    figure.draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in figure.axes[0].texts}
    legend, scale = boxes["against pulmonary hypertension"], boxes["25 mm/s    10 mm/mV    500 Hz"]
    assert not legend.overlaps(scale) and legend.x0 >= 0 and not legend.overlaps(boxes["for it"])


def test_colours_say_sign_and_strength():
    attribution = np.zeros((12, 500))
    attribution[1, 100:110], attribution[1, 200:210], attribution[5, 300:310] = 0.1, -0.1, 0.05
    present = np.ones(12, dtype=bool)
    present[7] = False
    attribution[7] = 99
    highlight = Highlight.of(attribution, 500, present, "PH", 1.0)
    assert highlight.size == 10 and highlight.sums[1, 10] == pytest.approx(1.0)
    fullest = np.percentile(np.abs(highlight.sums[present]), 99.5)
    assert Highlight.of(attribution, 500, present, "PH", None).scale == pytest.approx(fullest)
    assert not highlight.sums[7].any()
    colors = highlight.colors(1, np.array([10, 20, 30]))
    np.testing.assert_allclose(colors[0], [*FOR, 0.9])
    np.testing.assert_allclose(colors[1], [*AGAINST, 0.9])
    assert colors[2, 3] == 0 and highlight.colors(5, np.array([30]))[0, 3] == pytest.approx(0.45)


def test_attribution_is_drawn_with_its_legend():
    signal = record()[0]
    lit = draw_ecg(signal, 500, attribution=signal, target="hypertension")
    dark = draw_ecg(signal, 500, attribution=np.zeros_like(signal), target="hypertension")
    assert "against hypertension" in words(lit) and "for it" in words(lit)
    assert "attribution: 0 everywhere" in words(dark)
    assert len(lit.axes[0].collections) > len(dark.axes[0].collections)


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_files_have_the_true_size(tmp_path: Path, suffix: str):
    figure = draw_ecg(record()[0], 500)
    path = save_page(figure, tmp_path / f"page{suffix}")
    if suffix == ".png":
        from PIL import Image

        with Image.open(path) as image:
            assert image.width / image.info["dpi"][0] * 25.4 == pytest.approx(297, abs=0.5)
    if suffix == ".svg":
        assert 'width="841.889' in path.read_text()  # points: 297 mm
    assert path.stat().st_size > 10_000


def test_bad_input_is_refused(tmp_path: Path):
    signal = record()[0]
    for arguments, message in (
        ({"signal": signal[:6]}, "shape"),
        ({"rate": 0}, "rate"),
        ({"unit": "V"}, "unit"),
        ({"layout": "3x5"}, "layout"),
        ({"rhythm": "V9"}, "rhythm"),
        ({"start": 10.0}, "lasts 10 s"),
        ({"gain": -1.0}, "above 0"),
        ({"attribution": signal[:, :10]}, "attribution"),
    ):
        with pytest.raises(OptionError, match=message):
            draw_ecg(**{"signal": signal, "rate": 500, **arguments})
    with pytest.raises(OptionError, match="kind of picture"):
        save_page(draw_ecg(signal, 500), tmp_path / "page.bmp")
