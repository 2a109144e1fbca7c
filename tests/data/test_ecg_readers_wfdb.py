"""WFDB records as published and damaged, each against the package wfdb or against the integers that were written."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import wfdb
from ecg_files import heart, write_mimic, write_wfdb
from scipy.io import savemat

from cardiozoo.data.ecg import LEADS, MISSING
from cardiozoo.data.ecg_standard import standardise
from cardiozoo.data.readers.ecg import read_ecg
from cardiozoo.data.readers.wfdb_files import files_of_record
from cardiozoo.errors import RecordError

SAMPLE = Path(__file__).parent / "ptbxl_sample"
REAL = sorted(SAMPLE.glob("records*/*/*.hea"))
HEART = heart()


def same_as_wfdb(header: Path) -> None:
    """Integers and mV equal the package's."""
    expected = wfdb.rdrecord(str(header.with_suffix("")))
    record = read_ecg(header)
    assert record.names == tuple(expected.sig_name) and record.rate == expected.fs
    np.testing.assert_allclose(record.millivolt(), expected.p_signal.T, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("header", REAL, ids=lambda path: path.stem)
def test_real_records_are_what_wfdb_reads(header: Path) -> None:
    same_as_wfdb(header)
    digital = wfdb.rdrecord(str(header.with_suffix("")), physical=False).d_signal.T
    record = read_ecg(header)
    assert record.digital.dtype == np.int16 and np.array_equal(record.digital, digital) and record.missing is None
    ecg = standardise(record, rate=record.rate)
    assert np.array_equal(ecg.signal, digital) and not ecg.state.any() and (ecg.gain == 1000).all() and ecg.notes == ()
    if record.rate == 500:  # not every record obeys to the unit: some are stored rounded
        one, two, three, avr, avl, avf = ecg.signal[:6].astype(int)
        assert np.abs(three - (two - one)).max() <= 2 and np.abs(2 * avr + one + two).max() <= 4
        assert np.abs(2 * avl - 2 * one + two).max() <= 4 and np.abs(2 * avf - 2 * two + one).max() <= 4


def test_any_way_to_name_a_record_leads_to_it(tmp_path: Path) -> None:
    header = write_wfdb(tmp_path, "a.1", HEART)
    for path in (header, header.with_suffix(".dat"), tmp_path / "a.1", str(header)):
        assert np.array_equal(read_ecg(path).digital, HEART)


def test_a_linked_header_finds_its_signals_where_it_lies_itself(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    write_wfdb(tmp_path, "a", heart(), LEADS)
    link = tmp_path / "links" / "b.hea"
    link.symlink_to(tmp_path / "a.hea")
    whole = read_ecg(tmp_path / "a.hea").digital
    assert np.array_equal(read_ecg(link).digital, whole)
    (tmp_path / "a.dat").rename(tmp_path / "links" / "a.dat")
    assert np.array_equal(read_ecg(link).digital, whole)


def test_mimic_order_is_not_the_projects_and_leads_go_by_name(tmp_path: Path) -> None:
    record = read_ecg(write_mimic(tmp_path, HEART))
    assert record.names[4:6] == ("aVF", "aVL") and np.array_equal(record.digital[4], HEART[LEADS.index("aVF")])
    assert record.time == datetime(2182, 9, 22, 12, 4) and record.patient == "12177274"
    assert np.array_equal(standardise(record).signal, HEART)


@pytest.mark.parametrize("rate", [257, 500, 1000])
@pytest.mark.parametrize(
    ("form", "gain"), [("16x1+24", "1000.0(0)/mV"), ("16+24", "1000/mv"), ("16x1+24", "4880(0)/mv")]
)
def test_challenge_containers(tmp_path: Path, rate: int, form: str, gain: str) -> None:
    comments = ("#Age: 74", "#Sex: Male", "#Dx: 426783006,59118001", "#Rx: Unknown")
    digital = heart(rate * 10, rate)
    header = write_wfdb(tmp_path, "A0001", digital, LEADS, rate, gain, form, "mat", comments=comments)
    record = read_ecg(header)
    assert np.array_equal(record.digital, digital) and record.gain[0] == float(gain.split("(")[0].split("/")[0])
    assert (record.age, record.sex, record.rate) == (74, "M", rate)
    assert np.array_equal(read_ecg(header.with_suffix(".mat")).digital, digital)
    same_as_wfdb(header)
    assert standardise(record).samples == 5000


def test_headers_of_the_2020_challenge_and_containers_of_todays_matlab(tmp_path: Path) -> None:
    date = "05-Feb-2020 11:39:16"
    header = write_wfdb(tmp_path, "A0001", HEART, LEADS, 500, "1000/mV", "16+24", "mat", start=date)
    record = read_ecg(header)
    assert record.time == datetime(2020, 2, 5, 11, 39, 16) and np.array_equal(record.digital, HEART)
    savemat(header.with_suffix(".mat"), {"val": HEART})
    assert np.array_equal(read_ecg(header).digital, HEART)
    for wrong in ({"val": HEART[:8]}, {"other": HEART}, {"val": HEART / 7}):
        savemat(header.with_suffix(".mat"), wrong)
        with pytest.raises(RecordError) as error:
            read_ecg(header)
        assert error.value.reason == "signal file unreadable"


def test_fifteen_signals_of_which_three_are_no_leads(tmp_path: Path) -> None:
    names = ("i", "ii", "iii", "avr", "avl", "avf", "v1", "v2", "v3", "v4", "v5", "v6", "vx", "vy", "vz")
    digital = np.concatenate((heart(38400, 1000, gain=2000), heart(38400, 1000, seed=5)[:3]))
    header = write_wfdb(tmp_path, "s0010_re", digital, names, 1000, "2000", comments=("# age: 81", "# sex: female"))
    lines = header.read_text().splitlines()  # the three lie in a file of their own
    header.write_text("\n".join([*lines[:13], *(line.replace(".dat", ".xyz") for line in lines[13:])]))
    (tmp_path / "s0010_re.dat").write_bytes(digital[:12].T.tobytes())
    (tmp_path / "s0010_re.xyz").write_bytes(digital[12:].T.tobytes())
    same_as_wfdb(header)
    record = read_ecg(header)
    assert (record.age, record.sex) == (81, "F") and len(record.names) == 15
    ecg = standardise(record)
    assert "channels ignored: vx vy vz" in ecg.notes and not ecg.state.any() and ecg.samples == 5000
    # every second sample of a signal without anything above 250 Hz but noise
    assert np.abs(ecg.signal[1] / 1000 - digital[1, :10000:2] / 2000).max() < 0.08


@pytest.mark.parametrize(
    ("comments", "patient", "age", "sex"),
    [
        (("# <subject_id>: 12",), "12", None, None),
        (("#<age>: 65 <sex>: F <diagnoses> Coronary artery disease", "#patient 1"), None, 65, "F"),
        (("#Age: NaN", "#Sex: Unknown"), None, None, None),
        (("# Age: 89+", "# Gender=male"), None, None, "M"),
    ],
)
def test_what_comments_say_of_a_person(
    tmp_path: Path, comments: tuple[str, ...], patient: str | None, age: float | None, sex: str | None
) -> None:
    record = read_ecg(write_wfdb(tmp_path, "a", HEART, comments=comments))
    assert (record.patient, record.age, record.sex) == (patient, age, sex)


def test_several_files_gains_baselines_and_units(tmp_path: Path) -> None:
    gains = ["200(0)/mV", "1000(-50)/mV", "0.4(7)/uV", "100/mV", "0/mV", "-200(0)/mV"] * 2
    header = write_wfdb(tmp_path, "x", HEART, gains=gains, files=3, zero=12)
    expected = wfdb.rdrecord(str(header.with_suffix("")))
    units = np.array([1, 1, 1e-3, 1, 1, 1] * 2)[:, None]
    record = read_ecg(header)
    np.testing.assert_allclose(record.millivolt(), expected.p_signal.T * units, atol=1e-12)
    assert (record.gain > 0).all() and record.gain[2] == 400 and record.gain[4] == 200
    assert "gain not stated: 200 per mV taken, the default of WFDB" in record.notes
    # gain 100 has no baseline of its own: it is the ADC's zero
    assert np.array_equal(record.digital[3], HEART[3] - 12) and np.array_equal(record.digital[5], -HEART[5])


def test_minus_32768_is_no_sample_whatever_the_baseline(tmp_path: Path) -> None:
    digital = HEART.copy()
    digital[1, 100:200] = MISSING
    digital[7] = MISSING
    record = read_ecg(write_wfdb(tmp_path, "x", digital, gains="200(-90)/mV"))
    assert record.missing is not None and np.array_equal(record.missing, digital == MISSING)
    assert np.isnan(record.millivolt()[7]).all() and record.millivolt()[0, 0] == (digital[0, 0] + 90) / 200
    ecg = standardise(record)
    assert (ecg.signal[1, 100:200] == MISSING).all() and ecg.signal[1, 99] == digital[1, 99] + 90
    assert ecg.state.tolist() == [0] * 7 + [2] + [0] * 4


@pytest.mark.parametrize("form", ["212", "80", "24", "32", "516"])
def test_other_formats_through_wfdb(tmp_path: Path, form: str) -> None:
    small = np.clip(HEART // 4, -100, 100) if form == "80" else HEART
    if form == "516":
        pytest.importorskip("soundfile")
    wfdb.wrsamp(
        "x", 500, ["mV"] * 12, list(LEADS), d_signal=small.T.astype(np.int64), fmt=[form] * 12,
        adc_gain=[200.0] * 12, baseline=[0] * 12, write_dir=str(tmp_path),
    )  # fmt: skip
    record = read_ecg(tmp_path / "x.hea")
    assert np.array_equal(record.digital, small) and np.array_equal(standardise(record).signal, small)
    same_as_wfdb(tmp_path / "x.hea")
    for file in [*tmp_path.glob("x*.dat"), *tmp_path.glob("x*.flac")]:
        file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(RecordError) as error:
        read_ecg(tmp_path / "x.hea")
    assert error.value.reason in ("signal file truncated", "signal file unreadable")


@pytest.mark.parametrize("form", ["61", "160"])
def test_sixteen_bits_in_other_orders(tmp_path: Path, form: str) -> None:
    header = write_wfdb(tmp_path, "x", HEART, form=form)
    stored = HEART.astype(">i2") if form == "61" else (HEART.astype(int) + 32768).astype("<u2")
    header.with_suffix(".dat").write_bytes(stored.T.tobytes())
    assert np.array_equal(read_ecg(header).digital, HEART)


def test_skew_and_several_samples_a_frame(tmp_path: Path) -> None:
    header = write_wfdb(tmp_path, "skewed", HEART, form="16:3")
    assert np.array_equal(read_ecg(header).digital[:, :-3], HEART[:, 3:])
    frames = [HEART[0], HEART[1], HEART[6, ::4]]
    wfdb.wrsamp(
        "frames", 125, ["mV", "mV", "mmHg"], ["I", "II", "ABP"], e_d_signal=[x.astype(np.int64) for x in frames],
        fmt=["16"] * 3, adc_gain=[200.0] * 3, baseline=[0] * 3, samps_per_frame=[4, 4, 1], write_dir=str(tmp_path),
    )  # fmt: skip
    record = read_ecg(tmp_path / "frames.hea")
    assert record.rate == 500 and record.names == ("I", "II") and np.array_equal(record.digital, HEART[:2])
    assert "another rate: ABP" in record.notes


@pytest.mark.parametrize("other_gain", ["200.0(0)/mV", "400.0(0)/mV"])
def test_segments_are_joined_and_gaps_are_missing(tmp_path: Path, other_gain: str) -> None:
    factor = 2 if other_gain.startswith("4") else 1
    write_wfdb(tmp_path, "m_1", HEART[:, :2000])
    write_wfdb(tmp_path, "m_2", HEART[:11, 2500:] * factor, LEADS[:11], gains=other_gain)
    (tmp_path / "m.hea").write_text("m/3 12 500 5000\nm_1 2000\n~ 500\nm_2 2500\n# <subject_id>: 9\n")
    record = read_ecg(tmp_path / "m")
    assert record.names == LEADS and record.patient == "9" and record.missing is not None
    expected = HEART / 200
    expected[:, 2000:2500] = np.nan
    expected[11, 2000:] = np.nan
    np.testing.assert_allclose(record.millivolt(), expected, atol=1e-12)
    ecg = standardise(record)
    assert ecg.state.tolist() == [0] * 11 + [5]
    if factor == 1:
        assert np.array_equal(ecg.signal[:11, :2000], HEART[:11, :2000]) and (ecg.signal[:, 2000:2500] == MISSING).all()
    for text in ("m/2 12 500 5000\nm_1 2000\nm_2 2500\n", "m/1 12 500\n../m_1 2000\n", "m/1 12 250\nm_1 2000\n"):
        (tmp_path / "m.hea").write_text(text)
        with pytest.raises(RecordError) as error:
            read_ecg(tmp_path / "m")
        assert error.value.reason == "segments do not fit"


def test_a_variable_layout_begins_with_a_segment_of_no_samples(tmp_path: Path) -> None:
    layout = [f"~ 0 200/mV 16 0 0 0 0 {lead}" for lead in LEADS]
    (tmp_path / "v_layout.hea").write_text("\n".join(["v_layout 12 500 0", *layout]) + "\n")
    write_wfdb(tmp_path, "v_1", HEART[6:], LEADS[6:])
    (tmp_path / "v.hea").write_text("v/2 12 500 5000\nv_layout 0\nv_1 5000\n")
    assert np.array_equal(read_ecg(tmp_path / "v.hea").digital, HEART[6:])


def broken(tmp_path: Path, kind: str) -> Path:
    header = write_wfdb(tmp_path, "b", HEART)
    text, signal = header.read_text(), header.with_suffix(".dat")
    match kind:
        case "header missing":
            header.unlink()
        case "header empty":
            header.write_text("\n# only a comment\n")
        case "header unreadable":
            header.write_bytes(b"\x89PNG\x00\x00")
        case "signal file missing":
            signal.unlink()
        case "signal file truncated":
            signal.write_bytes(signal.read_bytes()[:-100])
        case "no samples":
            header.write_text(text.replace("12 500 5000", "12 500"))
            signal.write_bytes(b"")
        case "checksum wrong":
            content = bytearray(signal.read_bytes())
            content[24 * 700] ^= 1
            signal.write_bytes(content)
        case "no signals":
            header.write_text("b 0 500 0\n")
        case "unit of a lead unknown":
            header.write_text(text.replace("/mV", "/mmHg", 1))
        case "no lead in the file":
            header.write_text("\n".join(line.rsplit(" ", 1)[0] + " resp" if "dat" in line else line
                                        for line in text.replace("/mV", "/mmHg").splitlines()))  # fmt: skip
    return header


REASONS = [
    "header missing", "header empty", "header unreadable", "signal file missing", "signal file truncated", "no samples",
    "checksum wrong", "no signals", "unit of a lead unknown", "no lead in the file",
]  # fmt: skip


@pytest.mark.parametrize("reason", REASONS)
def test_broken_records_say_what_is_wrong_without_naming_the_record(tmp_path: Path, reason: str) -> None:
    header = broken(tmp_path, reason)
    with pytest.raises(RecordError) as error:
        standardise(read_ecg(header))
    assert error.value.reason == reason and str(tmp_path) not in reason
    assert error.value.came and error.value.accepted and error.value.next_step


@pytest.mark.parametrize(
    "line",
    [
        "b",
        "b twelve 500 5000",
        "b 12 0 5000",
        "b 12 -500 5000",
        "b 12 nan 5000",
        "b 13 500 5000",
        "b 12 500 -1",
        "b 12 5e2x",
    ],
)
def test_record_lines_that_make_no_sense(tmp_path: Path, line: str) -> None:
    header = write_wfdb(tmp_path, "b", HEART)
    header.write_text("\n".join([line, *header.read_text().splitlines()[1:]]))
    with pytest.raises(RecordError, match=r"b\.hea") as error:
        read_ecg(header)
    assert error.value.reason == "header unreadable"


@pytest.mark.parametrize("name", ["../b.dat", "/etc/passwd", "..", "a\\b.dat"])
def test_a_header_cannot_reach_out_of_its_folder(tmp_path: Path, name: str) -> None:
    header = write_wfdb(tmp_path, "b", HEART)
    header.write_text(header.read_text().replace("b.dat", name))
    with pytest.raises(RecordError, match="header"):
        read_ecg(header)


def test_a_huge_announcement_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    header = write_wfdb(tmp_path, "b", HEART)
    text = header.read_text()
    for announced in (10**12, 10**25):
        header.write_text(text.replace("12 500 5000", f"12 500 {announced}"))
        with pytest.raises(RecordError) as error:
            read_ecg(header)
        assert error.value.reason == "signal file truncated"


def test_wrong_checksums_can_be_let_pass_and_absent_ones_are_noted(tmp_path: Path) -> None:
    header = broken(tmp_path, "checksum wrong")
    assert read_ecg(header, verify=False).digital.shape == (12, 5000)
    lines = header.read_text().splitlines()
    short = [lines[0], *(" ".join(line.split()[:3] + line.split()[8:]) for line in lines[1:])]
    header.write_text("\n".join(short))
    record = read_ecg(header)
    assert record.names == LEADS and "checksums not stated" in record.notes
    header.write_text("\n".join([lines[0], *(line.rsplit(" ", 4)[0] + " 0 0 0 X" for line in lines[1:])]))
    assert "checksums not stated" in read_ecg(header).notes


def test_a_header_without_length_or_rate(tmp_path: Path) -> None:
    header = write_wfdb(tmp_path, "b", HEART)
    text = header.read_text()
    header.write_text(text.replace("b 12 500 5000", "b 12"))
    record = read_ecg(header)
    assert record.rate == 250 and record.digital.shape == (12, 5000) and len(record.notes) == 2
    header.write_text(text.replace("b 12 500 5000", "b 12 500/500(0) 5000 25:61:00 31/02/2020"))
    assert read_ecg(header).rate == 500 and read_ecg(header).time is None


def test_all_files_of_a_record_are_known_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "m.hea").write_text("m/3 2 500 2000\n# a comment\nm_1 1000\n~ 500\nm_2 500\n")
    (tmp_path / "m_1.hea").write_text("m_1 2 500 1000\nother.dat 16 200 16 0 0 0 0 I\nmore.xyz 16 200 16 0 0 0 0 vx\n")
    names = {Path(path).name for path in files_of_record(str(tmp_path / "m.hea"))}
    assert {"m_1.hea", "other.dat", "more.xyz", "m_2.hea"} <= names
    from_data = {Path(path).name for path in files_of_record(str(tmp_path / "m_1.dat"))}
    assert from_data == {"m_1.hea", "other.dat", "more.xyz"}
    assert files_of_record(str(tmp_path / "x.xml")) == [] and files_of_record(str(tmp_path / "none.dat")) == [
        str(tmp_path / "none.hea")
    ]
