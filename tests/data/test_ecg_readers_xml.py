"""GE MUSE and CardioSoft XML: the integers that were written, whatever the file does to hide them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from ecg_files import EIGHT, heart, muse_waveform, write_cardiosoft, write_muse

from cardiozoo.data.ecg import LEADS, MISSING
from cardiozoo.data.ecg_standard import standardise
from cardiozoo.data.readers.ecg import read_ecg
from cardiozoo.data.readers.ecg_xml import parse_xml
from cardiozoo.errors import RecordError

HEART = heart()
ROWS = HEART[[LEADS.index(lead) for lead in EIGHT]]
MEDIAN = muse_waveform(ROWS[:, :600] * 2, EIGHT, "Median")
RHYTHM = muse_waveform(ROWS, EIGHT, wrap=76)


def test_muse_rhythm_with_eight_leads_becomes_twelve(tmp_path: Path) -> None:
    record = read_ecg(write_muse(tmp_path / "a.xml", MEDIAN, RHYTHM))
    assert record.names == EIGHT and record.rate == 500 and np.array_equal(record.digital, ROWS)
    np.testing.assert_allclose(record.millivolt(), ROWS * 4.88e-3, rtol=1e-12)
    assert (record.patient, record.age, record.sex) == ("P77", 61, "F")
    assert record.time == datetime(2011, 2, 17, 9, 22, 31)
    ecg = standardise(record)
    assert np.array_equal(ecg.signal[[0, 1, 2, 6]], HEART[[0, 1, 2, 6]]) and not ecg.state.any()
    assert np.array_equal(ecg.signal[3], 2 * HEART[3]) and ecg.gain[3] == 2 * ecg.gain[0]


@pytest.mark.parametrize(
    ("base", "exponent", "per_bit", "units", "rate", "millivolt"),
    [
        (250, 0, 4.88, "MICROVOLTS", 250, 4.88e-3),
        (5, 2, 1, "microvolts", 500, 1e-3),
        (1000, 0, 0.005, "MILLIVOLTS", 1000, 5e-3),
    ],
)
def test_muse_rates_and_units(
    tmp_path: Path, base: int, exponent: int, per_bit: float, units: str, rate: int, millivolt: float
) -> None:
    options = {"base": base, "exponent": exponent, "per_bit": per_bit, "units": units}
    record = read_ecg(write_muse(tmp_path / "a.xml", muse_waveform(ROWS, EIGHT, **options)))
    assert record.rate == rate
    np.testing.assert_allclose(record.millivolt(), ROWS * millivolt, rtol=1e-12)


def test_of_several_rhythms_the_one_with_most_leads_and_then_the_longest(tmp_path: Path) -> None:
    strip, short = muse_waveform(ROWS[:1].repeat(4, 1), ("II",)), muse_waveform(ROWS[:, :2500], EIGHT)
    record = read_ecg(write_muse(tmp_path / "a.xml", strip, short, RHYTHM, MEDIAN))
    assert np.array_equal(record.digital, ROWS) and "several rhythm waveforms: one taken" in record.notes


def test_a_waveform_without_a_type_counts_when_there_is_no_rhythm(tmp_path: Path) -> None:
    bare = RHYTHM.replace("<WaveformType>Rhythm</WaveformType>", "")
    assert np.array_equal(read_ecg(write_muse(tmp_path / "a.xml", MEDIAN, bare)).digital, ROWS)


def test_lead_off_is_noted_and_missing_samples_are_missing(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[5] = MISSING
    record = read_ecg(write_muse(tmp_path / "a.xml", muse_waveform(rows, EIGHT, off=("V4",))))
    assert record.notes == ("lead off, says the file: V4",) and np.isnan(record.millivolt()[5]).all()


@pytest.mark.parametrize(
    ("declared", "written"),
    [("UTF-8", "latin-1"), ("UTF-16", "latin-1"), ("ISO-8859-1", "utf-8"), ("UTF-8", "utf-16"), ("UTF-16", "utf-16"),
     ("windows-1252", "latin-1"), ("no-such-encoding", "utf-8"), ("UTF-8", "utf-8-sig"), ("ISO8859-1", "latin-1")],
)  # fmt: skip
def test_wrong_encodings_do_not_matter(tmp_path: Path, declared: str, written: str) -> None:
    path = write_muse(tmp_path / "a.xml", RHYTHM, declared=declared, written=written)
    assert np.array_equal(read_ecg(path).digital, ROWS)


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
PARAMETER = '<!DOCTYPE x [<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;]>'


@pytest.mark.parametrize("top", [BOMB, OUTSIDE, PARAMETER], ids=["bomb", "outside", "parameter"])
def test_entities_are_refused(tmp_path: Path, top: str) -> None:
    path = write_muse(tmp_path / "a.xml", RHYTHM.replace("Rhythm", "&a;"), top=top)
    with pytest.raises(RecordError) as error:
        read_ecg(path)
    assert error.value.reason == "XML with entities or without end"


def test_endless_nesting_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<a>" * 100_000)
    with pytest.raises(RecordError, match="nests") as error:
        parse_xml(tmp_path / "a.xml")
    assert error.value.reason == "XML with entities or without end"


@pytest.mark.parametrize("written", ["utf-8", "latin-1", "utf-16"])
def test_characters_that_xml_does_not_allow_are_mended_and_noted(tmp_path: Path, written: str) -> None:
    path = write_muse(tmp_path / "a.xml", MEDIAN, RHYTHM)
    text = path.read_text(encoding="latin-1")
    for harm in (
        "<Remark>S&P, Dr. M\xfcller &amp; Co &lt;</Remark>",
        "<Remark>\x1f\x0b</Remark>",
        "<Remark>& &#228;</Remark>",
    ):
        path.write_bytes(text.replace("<RestingECG>", f"<RestingECG>{harm}", 1).encode(written))
        record = read_ecg(path)
        assert np.array_equal(record.digital, ROWS) and record.patient == "P77"
        assert record.notes == ("XML mended: characters that it does not allow",)
    path.write_bytes(text.encode() + b"\x00" * 40)
    assert np.array_equal(read_ecg(path).digital, ROWS)
    path.write_bytes(text.replace("<RestingECG>", "<RestingECG><Open>&", 1).encode())
    with pytest.raises(RecordError, match="not well-formed"):
        read_ecg(path)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("Rhythm", "Median", "no rhythm waveform"),
        ("<SampleBase>500", "<SampleBase>fast", "SampleBase missing or unreadable"),
        ("<SampleBase>500", "<SampleBase>0", "sampling rate impossible"),
        ("MICROVOLTS", "PASCALS", "unit of a lead unknown"),
        ("UnitsPerBit>4.88", "UnitsPerBit>0", "unit of a lead unknown"),
        ("<LeadSampleCountTotal>5000", "<LeadSampleCountTotal>4999", "other sample count than declared"),
        ("<LeadSampleSize>2", "<LeadSampleSize>4", "samples not of 16 bits"),
        ("<WaveFormData>\r\n", "<WaveFormData>*%*", "samples not decodable"),
        ("</RestingECG>", "", "XML not well-formed"),
        ("RestingECG>", "AnnotatedECG>", "XML of another kind"),
    ],
)
def test_damaged_muse_files(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = write_muse(tmp_path / "a.xml", RHYTHM)
    text = path.read_bytes().decode("latin-1")
    assert old in text
    path.write_bytes(text.replace(old, new).encode("latin-1"))
    with pytest.raises(RecordError) as error:
        read_ecg(path)
    assert error.value.reason == reason and error.value.came and error.value.accepted and error.value.next_step


def test_truncated_and_empty_xml(tmp_path: Path) -> None:
    path = write_muse(tmp_path / "a.xml", RHYTHM)
    content = path.read_bytes()
    for cut, reason in ((len(content) // 2, "XML not well-formed"), (0, "file empty")):
        path.write_bytes(content[:cut])
        with pytest.raises(RecordError) as error:
            read_ecg(path)
        assert error.value.reason == reason


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("resolution", ["5", "4.88"])
def test_cardiosoft_strip_with_its_own_resolution_and_leads_by_name(
    tmp_path: Path, nested: bool, resolution: str
) -> None:
    order = np.random.default_rng(3).permutation(12)
    names = tuple(LEADS[i].upper() for i in order)
    record = read_ecg(write_cardiosoft(tmp_path / "1_20205_2_0.xml", HEART[order], names, resolution, nested=nested))
    assert record.rate == 500 and (record.patient, record.age, record.sex) == ("1234567", 58, "M")
    assert record.time == datetime(2015, 11, 3, 9, 5, 1) and "the device says: poor data quality" in record.notes
    np.testing.assert_allclose(record.millivolt(), HEART[order] * float(resolution) / 1000, rtol=1e-12)
    ecg = standardise(record)
    assert np.array_equal(ecg.signal, HEART) and ecg.gain[0] == np.float32(1000 / float(resolution))


def test_cardiosoft_with_eleven_leads_has_one_absent(tmp_path: Path) -> None:
    record = read_ecg(write_cardiosoft(tmp_path / "a.xml", HEART[:11], LEADS[:11]))
    assert "fewer leads than announced" in record.notes
    assert standardise(record).state.tolist() == [0] * 11 + [1]


def test_damaged_cardiosoft_files(tmp_path: Path) -> None:
    short = write_cardiosoft(tmp_path / "a.xml", HEART[:, :4990], count=5000)
    text = write_cardiosoft(tmp_path / "b.xml", HEART).read_text()
    cases = {
        "other sample count than declared": short.read_text(),
        "no rhythm waveform": text.replace("StripData", "Other"),
        "samples not decodable": text[:-5000].rpartition(",")[0] + ",x1" + text[-5000:],
        "unit of a lead unknown": text.replace("uVperLsb", "bananas"),
        "SampleRate missing or unreadable": text.replace('<SampleRate units="Hz">500</SampleRate>', ""),
    }
    for reason, content in cases.items():
        (tmp_path / "c.xml").write_text(content)
        with pytest.raises(RecordError) as error:
            read_ecg(tmp_path / "c.xml")
        assert error.value.reason == reason
    with pytest.raises(RecordError) as error:
        read_ecg(tmp_path / "b.xml", format="muse_xml")
    assert error.value.reason == "XML of another kind"
