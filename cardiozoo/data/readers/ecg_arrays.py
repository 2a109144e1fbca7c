"""Plain arrays: NPY, NPZ and HDF5, and the way from any array to a record. They do not say rate, unit or leads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from cardiozoo.data.ecg import MISSING
from cardiozoo.data.ecg_record import EcgRecord, check_units
from cardiozoo.errors import RecordError

__all__ = ["array_record", "read_array_file"]

_NAMES = ("tracings", "ecg", "signal", "signals", "data", "x")
_IDS = ("exam_id", "id_exam", "id")


def read_array_file(
    path: Path,
    kind: str,
    *,
    rate: float | None,
    units: str | None,
    leads: Sequence[str] | None,
    index: int | str | None,
) -> EcgRecord:
    """A record of a CSV, NPY, NPZ or HDF5 file. See :func:`cardiozoo.data.readers.ecg.read_ecg` for the arguments.

    Raises:
        RecordError: The file does not say what it is and no option does, or it does not hold such an array.
    """
    if kind == "csv":
        from cardiozoo.data.readers.ecg_csv import read_csv

        return read_csv(path, rate=rate, units=units, leads=leads)
    array = _from_hdf5(path, index) if kind == "hdf5" else _from_npy(path, index)
    rate, units, leads = required(path, rate, units, leads)
    return array_record(oriented(array, len(leads), path), leads, rate, units, path)


def refuse(path: Path, came: str, reason: str, accepted: str, next_step: str) -> NoReturn:
    raise RecordError(f"{path} {came}.", accepted, next_step, reason=reason)


def required(
    path: Path, rate: float | None, units: str | None, leads: Sequence[str] | None
) -> tuple[float, str, tuple[str, ...]]:
    """The three options, all of them there."""
    given = {"rate": rate, "units": units, "leads": leads or None}
    absent = [name for name, value in given.items() if value is None]
    if absent:
        refuse(
            path,
            f"does not say its {' and '.join(absent)}",
            f"{', '.join(absent)} not given",
            "Accepted: rate (samples per second), units (mV, uV, 4.88uV ...) and leads (the channels' names in order).",
            f"Give {', '.join(absent)}.",
        )
    assert rate is not None and units is not None and leads is not None
    return rate, units, tuple(str(lead) for lead in leads)


def oriented(array: np.ndarray, count: int, path: Path) -> np.ndarray:
    """(channels, samples): the axis that is as long as there are leads is the channels'."""
    array = array.reshape([size for size in array.shape if size != 1] or [1]) if array.ndim > 2 else array
    if array.ndim == 1 and count == 1:
        return array[None]
    if array.ndim != 2 or count not in array.shape or array.shape == (count, count):
        refuse(
            path,
            f"holds an array of shape {array.shape} for {count} leads",
            "array of another shape",
            f"Accepted: ({count}, samples) or (samples, {count}), of which only one axis may be {count} long.",
            "Give the leads of this file, in its order, and an index where it holds many records.",
        )
    return array if array.shape[0] == count else array.T


def array_record(
    array: np.ndarray, leads: Sequence[str], rate: float, units: str, path: Path, notes: tuple[str, ...] = ()
) -> EcgRecord:
    """(channels, samples) of integers or floats in `units` as a record; NaN and Inf are missing samples."""
    factor = check_units(units)
    if array.dtype.kind in "iu" and array.size and np.abs(array.astype(np.float64)).max() < 1 << 31:
        narrow = array.min() >= MISSING and array.max() < 1 << 15
        digital = np.ascontiguousarray(array, dtype=np.int16 if narrow else np.int32)
        missing = digital == MISSING
        missing = missing if missing.any() else None
        return EcgRecord(tuple(leads), digital, np.full(len(leads), 1.0 / factor), rate, missing, notes=notes)
    if array.dtype.kind not in "iuf" or not array.size:
        refuse(
            path,
            f"holds {array.dtype} of shape {array.shape}",
            "no array of numbers",
            "Accepted: integers or floats, at least one sample.",
            "Leave it out.",
        )
    with np.errstate(invalid="ignore", over="ignore"):  # some NaN are of the kind that warns
        values = np.ascontiguousarray(array, dtype=np.float64) * factor
    missing = ~np.isfinite(values)
    if np.isinf(values).any():
        notes = (*notes, "infinite samples taken as missing")
    values[missing] = np.nan
    gain = np.ones(len(leads))
    return EcgRecord(tuple(leads), values, gain, rate, missing if missing.any() else None, notes=notes)


def _from_npy(path: Path, index: int | str | None) -> np.ndarray:
    try:
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                file.seek(0)
                arrays = np.load(file, allow_pickle=False)
                return _pick(arrays[_only(list(arrays.files), path)], index, None, path)
        return _pick(np.load(path, mmap_mode="r", allow_pickle=False), index, None, path)
    except RecordError:
        raise
    except FileNotFoundError:
        _unreadable(path, "does not exist", "file missing")
    except Exception as error:  # numpy's, zipfile's and zlib's, by what is damaged
        _unreadable(path, f"cannot be read: {error}", "array file unreadable")


def _from_hdf5(path: Path, index: int | str | None) -> np.ndarray:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            found: list[str] = []
            file.visititems(lambda name, item: _collect(found, name, item, h5py))
            name = _only(found, path)
            folder = file[name].parent
            ids = next((folder[key] for key in _IDS if key in folder), None)
            if ids is not None and h5py.check_string_dtype(ids.dtype) is not None:
                ids = ids.asstr()
            return _pick(file[name], index, ids, path)
    except RecordError:
        raise
    except FileNotFoundError:
        _unreadable(path, "does not exist", "file missing")
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError ... by what is damaged
        _unreadable(path, f"cannot be read: {error}", "array file unreadable")


def _collect(found: list[str], name: str, item: Any, h5py: Any) -> None:
    if isinstance(item, h5py.Dataset) and item.ndim >= 2:
        found.append(name)


def _unreadable(path: Path, came: str, reason: str) -> NoReturn:
    accepted = "Accepted: NPY, NPZ or HDF5 with an array of numbers."
    refuse(path, came, reason, accepted, "Fetch it again, or leave it out.")


def _only(names: list[str], path: Path) -> str:
    """The array to take: one with a usual name, or the only one."""
    for usual in _NAMES:
        if matches := [name for name in names if name.rpartition("/")[2] == usual]:
            return matches[0]
    if len(names) != 1:
        came = f"holds the arrays {', '.join(names) or '(none)'}, and none is called tracings"
        _unreadable(path, came, "no array of numbers")
    return names[0]


def _pick(array: Any, index: int | str | None, ids: Any, path: Path) -> np.ndarray:
    """One record: the row `index`, or the one whose id is that text."""
    if index is None:
        if array.ndim == 3 and array.shape[-1] == 1:  # (leads, samples, 1), as two-dimensional convolutions take it
            return np.asarray(array[..., 0])
        if array.ndim == 3 and array.shape[0] > 1:
            _no_index(path, f"holds {array.shape[0]} records and no index says which")
        return np.asarray(array[...])
    if isinstance(index, str):
        rows = [] if ids is None else _rows_of(np.asarray(ids[...]), index)
        if len(rows) != 1:
            _no_index(path, f"holds {len(rows)} records of the id {index}")
        index = int(rows[0])
    if array.ndim != 3 or not 0 <= index < array.shape[0]:
        _no_index(path, f"has the shape {tuple(array.shape)} and no record {index}")
    return np.asarray(array[index])


def _rows_of(ids: np.ndarray, wanted: str) -> np.ndarray:
    # a file of the CODE cohorts has some 20,000 ids and is asked for each of them: numbers are compared as numbers
    if ids.dtype.kind in "iu" and wanted.isdigit():
        return np.flatnonzero(ids == int(wanted))
    return np.flatnonzero(ids.astype(str) == wanted)


def _no_index(path: Path, came: str) -> NoReturn:
    accepted = "Accepted: the row of a record, from 0, or its id as text."
    refuse(path, came, "no such record in the file", accepted, "Give index.")
