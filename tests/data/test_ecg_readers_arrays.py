"""CSV, NPY, NPZ and HDF5: arrays that do not say what they are."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest
from ecg_files import heart, write_wfdb

from cardiozoo.data.ecg import LEADS, MISSING, lead_and_sign
from cardiozoo.data.ecg_standard import standardise
from cardiozoo.data.readers.ecg import read_ecg
from cardiozoo.data.readers.ecg_units import stated_units
from cardiozoo.errors import OptionError, RecordError

HEART = heart()
MV = HEART / 200
SAID = {"rate": 500, "units": "mV", "leads": LEADS}


def refused(path: Path, **options: object) -> str:
    with pytest.raises(RecordError) as error:
        read_ecg(path, **options)
    assert error.value.came and error.value.accepted and error.value.next_step
    assert str(path.parent) not in error.value.reason
    return error.value.reason


def saved(tmp_path: Path, array: np.ndarray) -> Path:
    np.save(tmp_path / "a.npy", array)
    return tmp_path / "a.npy"


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("kind", ["int16", "int32", "float32", "float64", ">i2", "int64"])
def test_npy_either_way_round(tmp_path: Path, kind: str, turned: bool) -> None:
    whole = np.dtype(kind).kind == "i"
    array = (HEART if whole else MV).astype(kind)
    path = saved(tmp_path, array.T if turned else array)
    record = read_ecg(path, rate=500, units="5uV" if whole else "mV", leads=LEADS)
    np.testing.assert_allclose(record.millivolt(), MV, atol=1e-6)
    ecg = standardise(record)
    if whole:
        assert np.array_equal(ecg.signal, HEART) and (ecg.gain == 200).all()
    else:
        assert np.array_equal(ecg.signal, HEART * 5) and (ecg.gain == 1000).all()


def test_what_a_file_does_not_say_must_be_given_and_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path, MV)
    for absent in SAID:
        assert refused(path, **{k: v for k, v in SAID.items() if k != absent}) == f"{absent} not given"
    assert refused(path) == "rate, units, leads not given"
    for wrong in ({"units": "bananas"}, {"rate": 0}, {"rate": float("nan")}, {"format": "edf"}):
        with pytest.raises(OptionError):
            read_ecg(path, **{**SAID, **wrong})


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for array in (MV[:11], MV[:, :12], MV[0], np.zeros((2, 12, 50, 2))):
        assert refused(saved(tmp_path, array), **SAID) == "array of another shape"
    assert refused(saved(tmp_path, np.zeros((12, 0))), **SAID) == "no array of numbers"
    assert refused(saved(tmp_path, MV.astype(complex)), **SAID) == "no array of numbers"
    assert refused(saved(tmp_path, MV.astype(str)), **SAID) == "no array of numbers"
    assert refused(saved(tmp_path, np.array([{}], dtype=object)), **SAID) == "array file unreadable"
    single = read_ecg(saved(tmp_path, MV[1]), rate=500, units="mV", leads=["II"])
    assert standardise(single).state.tolist() == [1, 0] + [1] * 10


def test_nan_and_inf_are_missing(tmp_path: Path) -> None:
    array = MV.copy()
    array[0, ::2], array[1], array[2, 3], array[3, 4] = np.nan, np.nan, np.inf, -np.inf
    record = read_ecg(saved(tmp_path, array), **SAID)
    assert "infinite samples taken as missing" in record.notes
    ecg = standardise(record)
    assert ecg.state.tolist() == [0, 2] + [0] * 10 and ecg.signal[2, 3] == ecg.signal[3, 4] == MISSING
    assert (ecg.signal[0] == MISSING).sum() == 2500
    nothing = read_ecg(saved(tmp_path, np.full((12, 5000), np.nan)), **SAID)
    with pytest.raises(RecordError, match="No lead can be used"):
        standardise(nothing)


def test_many_records_in_one_array(tmp_path: Path) -> None:
    path = saved(tmp_path, np.stack([MV, 2 * MV]).transpose(0, 2, 1))
    np.testing.assert_allclose(read_ecg(path, index=1, **SAID).millivolt(), 2 * MV)
    for index in (None, 2, -1, "7"):
        assert refused(path, index=index, **SAID) == "no such record in the file"
    np.testing.assert_allclose(read_ecg(saved(tmp_path, MV[None]), **SAID).millivolt(), MV)


def test_npz_and_broken_array_files(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, other=np.zeros(3), ecg=MV)
    np.testing.assert_allclose(read_ecg(path, **SAID).millivolt(), MV)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert refused(path, **SAID) == "array file unreadable"
    np.savez(path, a=MV, b=MV)
    assert refused(path, **SAID) == "no array of numbers"
    whole = saved(tmp_path, MV)
    whole.write_bytes(whole.read_bytes()[:-900])
    assert refused(whole, **SAID) == "array file unreadable"
    assert refused(tmp_path / "absent.npy", **SAID) == "file missing"
    assert refused(tmp_path, **SAID) == "a folder, no file"
    (tmp_path / "a.bin").write_bytes(b"\x01\x02\x03")
    assert refused(tmp_path / "a.bin", **SAID) == "format not recognised"


def write_code(path: Path) -> np.ndarray:
    """Three tracings as CODE-15 has them: 4096 samples at 400 Hz, zero at both ends, the last record empty."""
    tracings = np.zeros((3, 4096, 12), dtype=np.float32)
    tracings[0, 48:4048] = (heart(4000, 400, seed=1).T / 200 + 1e-4).astype(np.float32)
    tracings[1, 648:3448] = (heart(2800, 400, seed=2).T / 200 + 1e-4).astype(np.float32)
    with h5py.File(path, "w") as file:
        file["tracings"], file["exam_id"] = tracings, np.array([1169160, 2873686, 0])
    return tracings


def test_code_tracings_by_row_and_by_exam(tmp_path: Path) -> None:
    path = tmp_path / "exams_part0.hdf5"
    tracings = write_code(path)
    leads = ("DI", "DII", "DIII", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
    said = {"rate": 400, "units": "mV", "leads": leads}
    for index, row, samples in ((0, 0, 5000), ("2873686", 1, 3500)):
        record = read_ecg(path, index=index, **said)
        np.testing.assert_allclose(record.millivolt(), tracings[row].T)
        ecg = standardise(record)
        assert ecg.samples == samples and "padding cut off" in ecg.notes and not ecg.state.any()
    np.testing.assert_allclose(read_ecg(path, index=0, **{**said, "units": "1e-4V"}).millivolt(), tracings[0].T / 10)
    assert refused(path, index="55", **said) == refused(path, **said) == refused(path, index=3, **said)
    with pytest.raises(RecordError, match="No lead can be used"):
        standardise(read_ecg(path, index=2, **said))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])
    assert refused(path, index=0, **said) == "array file unreadable"


def test_code_as_wfdb_equals_code_as_hdf5(tmp_path: Path) -> None:
    write_code(tmp_path / "c.hdf5")
    record = read_ecg(tmp_path / "c.hdf5", index=1, rate=400, units="mV", leads=LEADS)
    digital = np.rint(record.millivolt() * 1000).astype(np.int16)
    other = read_ecg(write_wfdb(tmp_path, "TNMG2873686_N1", digital, LEADS, 400, "1000"))
    first, second = standardise(record), standardise(other)
    assert first.samples == second.samples and np.abs(first.signal.astype(int) - second.signal).max() <= 2


def write_csv(path: Path, lines: list[str], **options: str) -> Path:
    path.write_text("\n".join(lines) + "\n", **options)
    return path


@pytest.mark.parametrize("mark", [",", ";", "\t", " "])
def test_csv_with_a_header_needs_no_leads(tmp_path: Path, mark: str) -> None:
    order = np.random.default_rng(2).permutation(12)
    lines = [mark.join(["time", *(LEADS[i].upper() for i in order), "resp"])]
    lines += [mark.join([f"{k * 0.002:.3f}", *(f"{MV[i, k]:.4f}" for i in order), "9"]) for k in range(5000)]
    record = read_ecg(write_csv(tmp_path / "a.csv", lines), rate=500, units="mV")
    assert "columns ignored: time resp" in record.notes
    ecg = standardise(record)
    np.testing.assert_allclose(ecg.millivolt(), MV, atol=6e-4)
    assert refused(tmp_path / "a.csv", rate=250, units="mV") == "time column contradicts the rate"


def timed(tmp_path: Path, name: str | None, times: list[str], mark: str = ",") -> Path:
    """A table of leads I and II with a column of times before them; without a header line where it has no name."""
    header = [] if name is None else [mark.join([name, "I", "II"])]
    lines = [mark.join([time, *map(str, pair)]) for time, pair in zip(times, HEART[:2].T, strict=False)]
    return write_csv(tmp_path / "a.csv", [*header, *lines])


def clock(step: float, form: str = "{:.6f}", start: float = 0) -> list[str]:
    return [form.format(start + k * step) for k in range(5000)]


CLOCK = "time column contradicts the rate"
PAIR = {"units": "5uV", "leads": LEADS[:2]}


@pytest.mark.parametrize(
    ("name", "step"),
    [
        *((name, 0.002) for name in ("time", "time_s", "timestamp", "Zeit", "Time (sec)", "Elapsed time", "t", "t[s]")),
        *((name, 2) for name in ("Time_ms", "zeit_ms", "t_ms", "timeMs", "TimeMS", "time [mS]", "msec", "time", "t")),
        *((name, 2000) for name in ("time_us", "t (µs)", "Time (\ufffds)", "timestamp")),
        *((name, 0.002) for name in (None, "", "Unnamed: 0", "index", "time_step")),
        *((name, 2) for name in (None, "", "index")),
    ],
)
def test_a_column_of_time_must_agree_with_the_rate(tmp_path: Path, name: str | None, step: float) -> None:
    path = timed(tmp_path, name, clock(step))
    record = read_ecg(path, rate=500, **PAIR)
    assert np.array_equal(record.digital, HEART[:2])
    for rate in (250, 480, 1000):
        assert refused(path, rate=rate, **PAIR) == CLOCK


def test_a_unit_in_the_name_of_a_time_is_believed(tmp_path: Path) -> None:
    units = (("time_ms", 1, 1000), ("time_s", 1, 1), ("time_ms", 0.004, 250_000), ("time_min", 0.002 / 60, 500))
    for name, step, fits in units:
        path = timed(tmp_path, name, clock(step, "{:.9f}"))
        assert read_ecg(path, rate=fits, **PAIR).rate == fits
        assert refused(path, rate=fits * 2, **PAIR) == CLOCK
    assert refused(timed(tmp_path, "time_ms", clock(1)), rate=500, **PAIR) == CLOCK


@pytest.mark.parametrize("name", [None, "", "index", "time_step", "sample", "timepoint"])
def test_a_column_that_numbers_the_samples_says_nothing(tmp_path: Path, name: str | None) -> None:
    for start in (0, 1, 70000):
        path = timed(tmp_path, name, clock(1, "{:.0f}", start))
        for rate in (250, 500, 1000):
            assert np.array_equal(read_ecg(path, rate=rate, **PAIR).digital, HEART[:2])


def test_times_that_are_rounded_have_gaps_or_count_from_long_ago(tmp_path: Path) -> None:
    seconds, milliseconds = clock(1 / 300, "{:.3f}"), clock(1000 / 512, "{:.0f}")
    gap = clock(0.002, "{:.3f}")[:3000] + clock(0.002, "{:.3f}", 7)[3000:]
    coarse = clock(1 / 500, "{:.2f}")
    for times, rate in ((seconds, 300), (milliseconds, 512), (gap, 500), (coarse, 500)):
        for name in ("time", None) if times is not gap else ("time",):
            path = timed(tmp_path, name, times)
            assert read_ecg(path, rate=rate, **PAIR).rate == rate
            assert refused(path, rate=rate * 1.04, **PAIR) == CLOCK
    for step, start, form in ((0.002, 1.7e9, "{:.3f}"), (2, 1.7e12, "{:.0f}"), (2000, 1.7e15, "{:.0f}")):
        path = timed(tmp_path, "timestamp", clock(step, form, start))
        assert read_ecg(path, rate=500, **PAIR).rate == 500 and refused(path, rate=1000, **PAIR) == CLOCK
    for times in (["7"] * 5000, ["nan"] * 5000, clock(-0.002), ["0", "inf"] * 2500):
        assert read_ecg(timed(tmp_path, "time", times), rate=500, **PAIR).rate == 500
    holes = clock(0.002)
    holes[5:4000:7] = [""] * len(holes[5:4000:7])
    assert refused(timed(tmp_path, "time", holes), rate=250, **PAIR) == CLOCK


def test_times_of_day_and_dates_are_compared_too(tmp_path: Path) -> None:
    start = datetime(2020, 12, 31, 23, 59, 57)
    moments = [start + timedelta(milliseconds=2 * k) for k in range(5000)]
    for text in ("%Y-%m-%dT%H:%M:%S.%fZ", "%d/%m/%Y %H:%M:%S.%f", "[%H:%M:%S.%f %d/%m/%Y]", "%H:%M:%S.%f+01:00"):
        path = timed(tmp_path, "timestamp", [moment.strftime(text) for moment in moments])
        record = read_ecg(path, rate=500, **PAIR)
        assert np.array_equal(record.digital, HEART[:2]) and record.notes == ("columns ignored: timestamp",)
        assert refused(path, rate=250, **PAIR) == refused(path, rate=1000, **PAIR) == CLOCK
    path = timed(tmp_path, "Time_ms", [f"0:{k // 500:02d},{k % 500 * 2:03d}" for k in range(5000)], ";")
    assert read_ecg(path, rate=500, **PAIR).rate == 500 and refused(path, rate=1000, **PAIR) == CLOCK
    record = read_ecg(timed(tmp_path, "time", ["today"] * 5000), rate=500, **PAIR)
    assert "column time not compared with the rate: its times are not understood" in record.notes


def test_a_time_before_columns_that_only_the_option_names(tmp_path: Path) -> None:
    lines = ["Time_ms,ch1,ch2", *(f"{k},{a},{b}" for k, (a, b) in enumerate(HEART[:2].T))]
    path = write_csv(tmp_path / "a.csv", lines)
    assert read_ecg(path, rate=1000, **PAIR).names == LEADS[:2] and refused(path, rate=500, **PAIR) == CLOCK
    lines[0] = "Nr,ch1,ch2"
    assert np.array_equal(read_ecg(write_csv(path, lines), rate=500, **PAIR).digital, HEART[:2])


SWAPPED = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")


@pytest.mark.parametrize("mark", [",", ";", "\t", " "])
def test_a_header_behind_a_hash_names_the_leads(tmp_path: Path, mark: str) -> None:
    rows = HEART[[LEADS.index(lead) for lead in SWAPPED]]
    time = np.arange(5000) * 0.002
    path = tmp_path / "a.csv"
    said = {"rate": 500, "units": "5uV", "leads": LEADS}

    def saved_text(array: np.ndarray, header: str) -> Path:
        np.savetxt(path, array, delimiter=mark, header=header, fmt="%g")
        return path

    for other in (mark, ", ", "\t"):
        names = other.join(SWAPPED)
        for array, header in (
            (rows.T, names),
            (rows.T, f"exported by hand\n{names}"),
            (np.column_stack([time, rows.T]), f"time{other}{names}"),
            (np.column_stack([time, rows.T]), names),
            (rows, names),
        ):
            record = read_ecg(saved_text(array, header), **said)
            assert record.names == SWAPPED and np.array_equal(record.digital, rows)
            assert "names of the leads taken from a comment" in record.notes
            assert np.array_equal(standardise(record).signal, HEART)
    timed = saved_text(np.column_stack([time, rows.T]), f"time{mark}{mark.join(SWAPPED)}")
    assert refused(timed, **{**said, "rate": 250}) == CLOCK
    with_units = saved_text(rows.T, ",".join(f"{lead} (uV)" for lead in SWAPPED))
    assert refused(with_units, **said) == "units contradict each other"
    np.testing.assert_allclose(read_ecg(with_units, rate=500).millivolt(), rows / 1000, atol=1e-12)


def test_a_comment_that_is_no_header_names_nothing(tmp_path: Path) -> None:
    rows = [",".join(map(str, row)) for row in HEART.T]
    said = {"rate": 500, "units": "5uV", "leads": LEADS}
    words = ",".join(["V6", *"abcdefghijk"])
    for comment in ("aVF,aVL,I", "exported I,II and others", words, "", "1,2,3,4,5,6,7,8,9,10,11,12"):
        record = read_ecg(write_csv(tmp_path / "a.csv", [f"# {comment}", *rows]), **said)
        assert record.names == LEADS and np.array_equal(record.digital, HEART) and not record.notes
    header = ",".join(LEADS)
    for lines in ([f"# {','.join(SWAPPED)}", header, *rows], [header, *rows, f"# {','.join(SWAPPED)}"]):
        assert read_ecg(write_csv(tmp_path / "a.csv", lines), **said).names == LEADS
    numbered = [f"# {','.join(SWAPPED)}", ",".join(map(str, range(12))), *rows]
    record = read_ecg(write_csv(tmp_path / "a.csv", numbered), **said)
    assert record.names == SWAPPED and np.array_equal(record.digital, HEART)


def test_a_lead_that_its_brackets_turn_over_is_turned_back(tmp_path: Path) -> None:
    header = ",".join([*LEADS[:3], "aVR(-)", *LEADS[4:9], "V4(R)", *LEADS[10:]])
    turned = HEART * np.where(np.arange(12) == 3, -1, 1)[:, None]
    path = write_csv(tmp_path / "a.csv", [header, *(",".join(map(str, row)) for row in turned.T)])
    record = read_ecg(path, rate=500, units="5uV")
    ecg = standardise(record)
    assert ecg.state.tolist() == [0] * 9 + [1, 0, 0] and "columns ignored: V4(R)" in record.notes
    np.testing.assert_array_equal(ecg.signal[3], HEART[3])


def test_csv_without_a_header_and_lying_on_its_side(tmp_path: Path) -> None:
    rows = [",".join(map(str, row)) for row in HEART.T]
    said = {"rate": 500, "units": "5 uV", "leads": LEADS}
    for lines in (rows, [",".join(map(str, row)) for row in HEART], [f"{k}," + row for k, row in enumerate(rows)]):
        record = read_ecg(write_csv(tmp_path / "a.csv", lines), **said)
        assert np.array_equal(record.digital, HEART) and record.digital.dtype == np.int16
    labelled = [f"{lead}," + ",".join(map(str, row)) for lead, row in zip(LEADS, HEART, strict=True)]
    record = read_ecg(write_csv(tmp_path / "a.csv", labelled), rate=500, units="5uV")
    assert record.names == LEADS and np.array_equal(record.digital, HEART)


def test_csv_decimal_commas_gaps_quotes_comments_and_encodings(tmp_path: Path) -> None:
    lines = ["# exported", '"I";"II (mV)"', *(f"{a:.3f};{b:.3f}".replace(".", ",") for a, b in MV[:2].T)]
    lines[10] = "NaN;"
    lines[11] = "-inf;n/a"
    for encoding in ("utf-8-sig", "utf-16", "latin-1"):
        record = read_ecg(write_csv(tmp_path / "a.csv", lines, encoding=encoding), rate=500, units="mV")
        assert record.missing is not None and record.missing.sum() == 4
        signal = record.millivolt()
        np.testing.assert_allclose(signal[:, 20:], MV[:2, 20:], atol=6e-4)


def test_csv_units_in_the_header(tmp_path: Path) -> None:
    lines = ["I (uV),II [uV]", *(f"{5 * a},{5 * b}" for a, b in HEART[:2].T)]
    path = write_csv(tmp_path / "a.csv", lines)
    np.testing.assert_allclose(read_ecg(path, rate=500).millivolt(), MV[:2], atol=1e-12)
    assert refused(path, rate=500, units="mV") == "units contradict each other"


PARTLY = "unit stated for some leads only, taken for all"


def microvolt(tmp_path: Path, header: str) -> Path:
    rows = (",".join(map(str, row)) for row in 5 * HEART[: header.count(",") + 1].T)
    return write_csv(tmp_path / "a.csv", [header, *rows])


@pytest.mark.parametrize(
    "spelling",
    "{}_uV|Lead {} uV|{} µV|{}-uV|{}_UV|{}_?V|{}/uV|{} / uV|{}.uV|{}..uV.|{} microvolts|{} (uV) (filtered)|{} {{uV}}"
    "|{} (uV/LSB)|{} [1 uV]|{} (1e-6 V)|ECG1:{}_uV".split("|"),
)
def test_csv_units_in_the_names_are_believed_and_compared(tmp_path: Path, spelling: str) -> None:
    path = microvolt(tmp_path, ",".join(spelling.format(lead) for lead in LEADS))
    for units in (None, "uV"):
        record = read_ecg(path, rate=500, units=units)
        np.testing.assert_allclose(record.millivolt(), MV, atol=1e-12)
        assert not record.notes and np.array_equal(record.digital, HEART * 5)
    for units in ("mV", "4.88uV", "V"):
        assert refused(path, rate=500, units=units) == "units contradict each other"


def test_csv_units_of_some_leads_only_are_taken_for_all_and_noted(tmp_path: Path) -> None:
    for header in ("I [uV],II,III", "I,II_uV,III", "I,II (uV),III uV"):
        path = microvolt(tmp_path, header)
        for units in (None, "uV"):
            record = read_ecg(path, rate=500, units=units)
            np.testing.assert_allclose(record.millivolt(), MV[:3], atol=1e-12)
            assert record.notes == (PARTLY,)
        assert refused(path, rate=500, units="mV") == "units contradict each other"
    # the unit of a column that is no lead says nothing of the leads
    path = microvolt(tmp_path, "I,II,III,pressure_uV")
    assert refused(path, rate=500) == "units not given"
    assert PARTLY not in read_ecg(path, rate=500, units="5uV").notes


def test_csv_leads_in_different_units_are_left_out(tmp_path: Path) -> None:
    headers = (
        "I_uV,II_mV,III_uV",
        "I (uV),II (mV),III",
        "I_uV (mV),II,III",
        "I (uV),II (adu),III (uV)",
        "I V,II mV,III",
    )
    for units in (None, "uV", "mV"):
        for header in headers:
            assert refused(microvolt(tmp_path, header), rate=500, units=units) == "units of the leads differ"
        path = microvolt(tmp_path, "I (uV/mm),II (uV/mm)")
        assert refused(path, rate=500, units=units) == "unit of a lead not understood"
    rows = [",".join(map(str, row)) for row in HEART[:2].T]
    below = write_csv(tmp_path / "a.csv", ["I_uV,II_uV", "mV,mV", *rows])
    assert refused(below, rate=500) == "units of the leads differ"
    assert read_ecg(microvolt(tmp_path, "I (adu),II (adu)"), rate=500, units="uV").digital.dtype == np.int16


def test_csv_units_in_names_that_are_no_leads_are_compared(tmp_path: Path) -> None:
    said = {"rate": 500, "leads": LEADS[:2]}
    for header in ("ch1_uV,ch2_uV", "ch 1 uV,ch 2 uV", "IuV,IIuV", "V1uV,V2uV", "uV_1,uV_2", "a (uV),b (uV)"):
        path = microvolt(tmp_path, header)
        np.testing.assert_allclose(read_ecg(path, **said).millivolt(), MV[:2], atol=1e-12)
        assert not read_ecg(path, units="uV", **said).notes
        assert refused(path, units="mV", **said) == "units contradict each other"
    counted = write_csv(tmp_path / "a.csv", ["Nr,a_uV,b_uV", *(f"{k},{a},{b}" for k, (a, b) in enumerate(HEART[:2].T))])
    assert read_ecg(counted, **said).notes == ("first column ignored: it counts up",)
    assert refused(counted, units="mV", **said) == "units contradict each other"
    sideways = write_csv(tmp_path / "a.csv", [f"{k}_uV," + ",".join(map(str, HEART[0])) for k in ("I", "II")])
    assert refused(sideways, rate=500, units="mV") == "units contradict each other"


def test_a_unit_is_read_from_every_name_that_is_a_lead_with_one() -> None:
    for lead in LEADS:
        for name in (lead, f"Lead {lead}", f"ECG1:{lead}", f"MDC_ECG_LEAD_{lead}", f"{lead} (Wilson)"):
            assert stated_units(name) == []
            for mark in (" ", "_", "-", ".", "/", " / ", ".."):
                for unit, factor in (("uV", 1e-3), ("µV", 1e-3), ("MV", 1), ("nV", 1e-6), ("millivolt", 1)):
                    assert stated_units(f"{name}{mark}{unit}") == [pytest.approx(factor)]
                    assert "(" in name or lead_and_sign(f"{name}{mark}{unit}") == (lead, 1)
    for name, factor in (
        ("I_V", 1e3),
        ("I (4.88 uV)", 4.88e-3),
        ("ch 2 uV", 1e-3),
        ("a_4.88uV", 4.88e-3),
        ("ECG V", 1e3),
    ):
        assert stated_units(name) == [pytest.approx(factor)]
    for name in ("I 1e-4V", "I (uV/mm)", "ch 1.5uV/s"):
        assert np.isnan(stated_units(name)).all() and len(stated_units(name)) == 1
    assert stated_units("time_ms") == stated_units("V") == stated_units("C1 (V1)") == []
    assert stated_units("I (adu)") == [0] and stated_units("I (4.88 uV/LSB) (adu)") == [pytest.approx(4.88e-3)]


def test_damaged_csv(tmp_path: Path) -> None:
    rows = [",".join(map(str, row)) for row in HEART[:, :600].T]
    path = tmp_path / "a.csv"
    for lines, reason in (
        ([*rows[:300], rows[300][:-12], *rows[301:]], "lines of different lengths"),
        ([*rows[:300], "1,2,3,four" + ",0" * 8, *rows[301:]], "text where a number is expected"),
        ([",".join(LEADS)], "no samples"),
        (["# nothing"], "file empty"),
        ([row[: row.rindex(",")] for row in rows], "array of another shape"),
    ):
        assert refused(write_csv(path, lines), **SAID) == reason
    path.write_bytes(b"")
    assert refused(path, **SAID) == "file empty"
    path.write_bytes(bytes(range(256)) * 10)
    refused(path, **SAID)


def test_a_header_that_only_numbers_the_columns_is_no_sample(tmp_path: Path) -> None:
    rows = [",".join(map(str, row)) for row in HEART.T]
    said = {"rate": 500, "units": "5uV", "leads": LEADS}
    for first in (0, 1):
        header = ",".join(str(first + n) for n in range(12))
        record = read_ecg(write_csv(tmp_path / "a.csv", [header, *rows]), **said)
        assert np.array_equal(record.digital, HEART) and "first line ignored: it numbers the columns" in record.notes
        beside = [f",{header}", *(f"{k},{row}" for k, row in enumerate(rows))]
        assert np.array_equal(read_ecg(write_csv(tmp_path / "a.csv", beside), **said).digital, HEART)
    # a first sample that counts only in part is one
    odd = ["0,1,2,3,4,5,6,7,8,9,10,12", *rows]
    assert read_ecg(write_csv(tmp_path / "a.csv", odd), **said).digital.shape == (12, 5001)


def test_csv_of_physionets_tools_and_of_spreadsheets(tmp_path: Path) -> None:
    numbers = [[f"{value:.3f}" for value in row] for row in MV[:3].T]
    with_units = ["'Elapsed time','I','II','III'", "'hh:mm:ss.mmm','mV','mV','mV'"]
    with_units += [f"'0:{k // 500:02d}.{k % 500 * 2:03d}'," + ",".join(row) for k, row in enumerate(numbers)]
    quoted = ['"I","II","III"', *(",".join(f'"{cell.replace(".", ",")}"' for cell in row) for row in numbers)]
    remarks = ["I,II,III,remark", *(",".join(row) + ",ok" for row in numbers)]
    for lines, units in ((with_units, None), (quoted, "mV"), (remarks, "mV")):
        record = read_ecg(write_csv(tmp_path / "a.csv", lines), rate=500, units=units)
        assert record.names[0].startswith("I")
        np.testing.assert_allclose(record.millivolt(), MV[:3], atol=6e-4)
    trailing = read_ecg(
        write_csv(tmp_path / "a.csv", [",".join(row) + "," for row in numbers]),
        rate=500,
        units="mV",
        leads=LEADS[:3],
    )
    np.testing.assert_allclose(trailing.millivolt(), MV[:3], atol=6e-4)
    assert "last column ignored: it is empty" in trailing.notes
    assert refused(write_csv(tmp_path / "a.csv", with_units), rate=500, units="uV") == "units contradict each other"


def test_a_quotation_mark_that_is_never_closed_is_refused(tmp_path: Path) -> None:
    lines = ["I,II", *(f"{a},{b}" for a, b in MV[:2].T)]
    lines[2] = f'"{lines[2]}'
    assert refused(write_csv(tmp_path / "a.csv", lines), rate=500, units="mV") in (
        "text not decodable",
        "lines of different lengths",
    )


def test_a_last_axis_of_one_is_no_pile_of_records(tmp_path: Path) -> None:
    for array in (MV[..., None], MV.T[..., None]):
        np.testing.assert_array_equal(read_ecg(saved(tmp_path, array), **SAID).millivolt(), MV)


def test_ids_of_exams_may_be_text(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["tracings"], file["exam_id"] = np.stack([MV.T, -MV.T]), ["E-1", "E-2"]
    np.testing.assert_array_equal(read_ecg(tmp_path / "a.h5", index="E-2", **SAID).millivolt(), -MV)
    assert refused(tmp_path / "a.h5", index="E-3", **SAID) == "no such record in the file"
