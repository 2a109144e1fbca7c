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
