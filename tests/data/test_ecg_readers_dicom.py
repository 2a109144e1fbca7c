"""DICOM waveforms: pydicom's own example against pydicom's own decoding, and objects made to differ from it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from ecg_files import heart, write_dicom
from pydicom.data import get_testdata_file

from cardiozoo.data.ecg import LEADS, MISSING
from cardiozoo.data.ecg_standard import standardise
from cardiozoo.data.readers.ecg import read_ecg
from cardiozoo.errors import RecordError

HEART = heart()
EXAMPLE = get_testdata_file("waveform_ecg.dcm")
RHYTHM = {"samples": HEART, "names": LEADS}


def test_the_example_of_pydicom() -> None:
    record = read_ecg(EXAMPLE)
    microvolt = pydicom.dcmread(EXAMPLE).waveform_array(0)
    np.testing.assert_allclose(record.millivolt(), microvolt.T / 1000, atol=1e-12)
    assert record.rate == 1000 and record.digital.shape == (12, 10000) and record.gain[0] == 800
    assert (record.age, record.sex, record.time) == (42, "F", datetime(2013, 1, 25, 10, 59, 19))
    ecg = standardise(record)
    assert ecg.samples == 5000 and not ecg.state.any()
    one, two, three, avr, avl, avf = ecg.millivolt()[:6]
    assert np.abs(three - (two - one)).max() < 0.003 and np.abs(avr + (one + two) / 2).max() < 0.003
    assert np.abs(avl - (one - two / 2)).max() < 0.003 and np.abs(avf - (two - one / 2)).max() < 0.003


def test_the_rhythm_is_found_wherever_it_stands_and_whatever_it_is_called(tmp_path: Path) -> None:
    median = {"samples": HEART[:, :600], "names": LEADS, "label": "MEDIAN BEAT", "originality": "DERIVED"}
    long = {"samples": np.tile(HEART[:3], 9), "names": LEADS[:3]}
    for label in ("RHYTHM", "", "12 LEAD"):
        record = read_ecg(write_dicom(tmp_path / "a.dcm", median, long, {**RHYTHM, "label": label}))
        assert np.array_equal(record.digital, HEART) and "multiplex groups: one of 3 taken" in record.notes
    with pytest.raises(RecordError, match="median beats") as caught:
        read_ecg(write_dicom(tmp_path / "c.dcm", median))
    assert caught.value.reason == "no rhythm waveform"
    derived = {**RHYTHM, "originality": "DERIVED"}
    assert np.array_equal(read_ecg(write_dicom(tmp_path / "b.dcm", derived)).digital, HEART)


@pytest.mark.parametrize(
    ("options", "step", "zero"),
    [
        ({"sensitivity": 2.5, "correction": 2}, 5e-3, 0),
        ({"sensitivity": 0.005, "units": "mV"}, 5e-3, 0),
        ({"sensitivity": 5, "baseline": 40}, 5e-3, 0.04),
        ({"sensitivity": 5, "baseline": 2}, 5e-3, 0.002),
        ({"sensitivity": 0.000005, "units": "V"}, 5e-3, 0),
        ({"sensitivity": -5}, -5e-3, 0),
    ],
)
def test_sensitivity_correction_baseline_and_units(tmp_path: Path, options: dict, step: float, zero: float) -> None:
    record = read_ecg(write_dicom(tmp_path / "a.dcm", {**RHYTHM, **options}))
    np.testing.assert_allclose(record.millivolt(), HEART * step + zero, atol=1e-12)
    assert (record.gain > 0).all() and record.age == 1.5 and record.sex == "M"
    if zero == 0.04:
        assert np.array_equal(record.digital, HEART + 8)


@pytest.mark.parametrize(("coding", "bits"), [("US", 16), ("SB", 8), ("UB", 8), ("SL", 32)])
def test_other_sample_codings(tmp_path: Path, coding: str, bits: int) -> None:
    samples = np.clip(HEART, -120, 120) + (128 if coding.startswith("U") else 0)
    group = {"samples": samples, "names": LEADS, "coding": coding, "bits": bits}
    np.testing.assert_allclose(read_ecg(write_dicom(tmp_path / "a.dcm", group)).millivolt(), samples * 5e-3, atol=1e-12)


def test_padding_values_are_missing(tmp_path: Path) -> None:
    samples = HEART.copy()
    samples[2, 50:90] = -9999
    samples[3, :5] = MISSING
    record = read_ecg(write_dicom(tmp_path / "a.dcm", {"samples": samples, "names": LEADS, "padding": -9999}))
    missing = np.isnan(record.millivolt())
    assert missing[2, 50:90].all() and missing[3, :5].all() and missing.sum() == 45
    assert (standardise(record).signal == MISSING).sum() == 45


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("coding", "bits", "vr"), [("SS", 16, "OW"), ("US", 16, "OW"), ("SB", 8, "OB"), ("SB", 8, "OW"), ("UB", 8, "OW")]
)
def test_both_byte_orders_give_the_same_samples(tmp_path: Path, coding: str, bits: int, vr: str, big: bool) -> None:
    samples = np.clip(HEART, -99, 120) if bits == 8 else HEART.astype(int)
    samples = samples + {"US": 3000, "UB": 100}.get(coding, 0)
    padding = 255 if coding == "UB" else -100 if coding == "SB" else 30000
    samples[4, 7:30] = padding
    group = {"samples": samples, "names": LEADS, "coding": coding, "bits": bits, "vr": vr, "padding": padding}
    path = write_dicom(tmp_path / "a.dcm", group, big=big)
    record = read_ecg(path)
    missing = samples == padding
    assert missing.sum() == 23 and np.array_equal(np.isnan(record.millivolt()), missing)
    assert np.array_equal(record.digital[~missing], samples[~missing]) and record.rate == 500
    # without the preamble and the group that names the byte order, pydicom finds it out
    content = path.read_bytes()
    body = content.index(b"\x00\x08\x00\x16UI" if big else b"\x08\x00\x16\x00UI")
    (tmp_path / "b.dcm").write_bytes(content[body:])
    assert np.array_equal(read_ecg(tmp_path / "b.dcm").digital, record.digital)


@pytest.mark.parametrize(("coding", "bits", "vr"), [("SS", 16, "OB"), ("SL", 32, "OW")])
def test_samples_of_a_byte_order_that_no_standard_fixes(tmp_path: Path, coding: str, bits: int, vr: str) -> None:
    group = {**RHYTHM, "coding": coding, "bits": bits, "vr": vr}
    assert np.array_equal(read_ecg(write_dicom(tmp_path / "a.dcm", group)).digital, HEART)
    with pytest.raises(RecordError) as error:
        read_ecg(write_dicom(tmp_path / "a.dcm", group, big=True))
    assert error.value.reason == "samples not decodable"


def threes(**options: object) -> list[dict]:
    """The twelve leads in four groups of three, as carts write that print them in columns."""
    return [{"samples": HEART[k : k + 3], "names": LEADS[k : k + 3], **options} for k in (0, 3, 6, 9)]


def test_leads_recorded_at_one_time_in_several_groups_are_one_record(tmp_path: Path) -> None:
    one, two, three, four = threes(offset=0)
    median = {"samples": HEART[:, :600], "names": LEADS, "label": "MEDIAN BEAT", "offset": 0}
    pressure = {"samples": HEART[:1], "names": ("ABP",), "offset": 0}
    strip = {"samples": HEART[1:2], "names": ("II",), "offset": 0}
    three = {**three, "baseline": 40, "padding": -9999, "samples": HEART[6:9].copy()}
    three["samples"][0, 9:12] = -9999
    four = {**four, "sensitivity": 0.005, "units": "mV"}
    record = read_ecg(write_dicom(tmp_path / "a.dcm", median, pressure, strip, one, two, three, four))
    assert record.names == LEADS and record.rate == 500 and "multiplex groups: 4 of 7 joined" in record.notes
    expected = HEART * 5e-3
    expected[6:9] += 0.04
    expected[6, 9:12] = np.nan
    np.testing.assert_allclose(record.millivolt(), expected, atol=1e-12)
    codings = [one, {**two, "samples": HEART[3:6].astype(int) + 9000, "coding": "US", "baseline": -45000}]
    record = read_ecg(write_dicom(tmp_path / "a.dcm", *codings))
    assert record.names == LEADS[:6] and np.array_equal(record.digital, HEART[:6])


def test_leads_of_other_times_are_not_joined(tmp_path: Path) -> None:
    together = threes(offset=0)
    columns = [{**group, "offset": 2500 * place} for place, group in enumerate(threes())]
    shorter = {**together[1], "samples": HEART[3:6, :4000]}
    slower = {**together[1], "rate": 250}
    derived = {**together[1], "originality": "DERIVED"}
    for groups in (columns, threes(), [together[0], *threes()[1:]], [together[0], shorter], [together[0], derived]):
        record = read_ecg(write_dicom(tmp_path / "a.dcm", *groups))
        assert record.names == LEADS[:3] and np.array_equal(record.digital, HEART[:3])
        assert f"multiplex groups: one of {len(groups)} taken" in record.notes
    assert read_ecg(write_dicom(tmp_path / "a.dcm", together[0], slower)).names == LEADS[3:6]  # the longer


def test_channels_that_are_not_described_are_not_guessed(tmp_path: Path) -> None:
    data = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", RHYTHM))
    del data.WaveformSequence[0].ChannelDefinitionSequence[3]
    data.save_as(tmp_path / "a.dcm")
    with pytest.raises(RecordError) as error:
        read_ecg(tmp_path / "a.dcm")
    assert error.value.reason == "channels contradict each other"


def test_channels_without_sensitivity_need_units(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", {**RHYTHM, "sensitivity": None})
    with pytest.raises(RecordError, match="units") as error:
        read_ecg(path)
    assert error.value.reason == "unit of a lead unknown"
    np.testing.assert_allclose(read_ecg(path, units="5uV").millivolt(), HEART * 5e-3, atol=1e-12)


def test_damaged_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    content = Path(EXAMPLE).read_bytes()
    path = tmp_path / "a.dcm"
    for size in (0, 100, 140, 5_000, 50_000, len(content) // 2):
        path.write_bytes(content[:size])
        with pytest.raises(RecordError) as error:
            read_ecg(path)
        assert error.value.accepted and str(tmp_path) not in error.value.reason
    image = get_testdata_file("CT_small.dcm")
    for file, reason in ((image, "no rhythm waveform"), (write_dicom(path, {**RHYTHM, "coding": "SS"}), None)):
        if reason is not None:
            with pytest.raises(RecordError) as error:
                read_ecg(file)
            assert error.value.reason == reason
    data = pydicom.dcmread(path)
    data.WaveformSequence[0].WaveformSampleInterpretation = "MB"
    data.save_as(path)
    with pytest.raises(RecordError) as error:
        read_ecg(path)
    assert error.value.reason == "samples not decodable"
    assert np.array_equal(read_ecg(write_dicom(path, RHYTHM)).digital, HEART)
