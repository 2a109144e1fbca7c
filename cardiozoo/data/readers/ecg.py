"""One function that reads an electrocardiogram from any of the formats in which they are handed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cardiozoo.data.ecg_record import EcgRecord, check_units
from cardiozoo.errors import OptionError, RecordError

__all__ = ["FORMATS", "read_ecg"]

FORMATS = ("wfdb", "dicom", "muse_xml", "cardiosoft_xml", "csv", "npy", "hdf5")

_TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".asc")
_MAGIC = {b"\x93NUMPY": "npy", b"PK\x03\x04": "npy", b"\x89HDF\r\n\x1a\n": "hdf5"}
_ROOTS = {"RestingECG": "muse_xml", "CardiologyXML": "cardiosoft_xml"}
_ACCEPTED = (
    "Accepted: WFDB (.hea with its .dat or .mat), DICOM waveforms, GE MUSE XML, CardioSoft XML, CSV, NPY, NPZ and HDF5."
)


def read_ecg(
    path: str | Path,
    *,
    format: str | None = None,
    rate: float | None = None,
    units: str | None = None,
    leads: Sequence[str] | None = None,
    index: int | str | None = None,
    verify: bool = True,
) -> EcgRecord:
    """Reads one record; what the file is follows from its content.

    Args:
        path: The file; of a WFDB record its header, its name without a suffix, or its signal file.
        format: One of ``FORMATS`` to insist on it.
        rate: Samples per second of a CSV, NPY or HDF5 file, which do not say it. Other formats say it themselves.
        units: What one unit of such a file is: ``mV``, ``uV``, ``V``, ``4.88uV`` ...; also for DICOM without a
            sensitivity.
        leads: Names of the channels of such a file, in its order; a CSV with a header line does not need them.
        index: Which record of a file with many: its row, or in HDF5 of the CODE cohorts its exam id as text.
        verify: Compare the checksums of a WFDB header with the samples.

    Raises:
        RecordError: The file cannot be used; its ``reason`` says why in words that can be counted.
        OptionError: An option that no file could satisfy.
    """
    _check_options(format, rate, units)
    path = Path(path)
    kind = format or _recognise(path)
    try:
        return _read(kind, path, rate, units, leads, index, verify)
    except MemoryError as error:
        raise RecordError(
            f"{path} announces more samples than fit into memory.", _ACCEPTED, "Leave it out.", reason="file too large"
        ) from error


def _check_options(format: str | None, rate: float | None, units: str | None) -> None:
    if format is not None and format not in FORMATS:
        raise OptionError(
            f"format={format!r} is unknown.", f"Accepted: {', '.join(FORMATS)}.", "Omit it to have it recognised."
        )
    if rate is not None and not 0 < rate < 1e6:
        raise OptionError(f"rate={rate!r}.", "Accepted: samples per second, above 0.", "Correct the option.")
    if units is not None:
        check_units(units)


def _read(
    kind: str,
    path: Path,
    rate: float | None,
    units: str | None,
    leads: Sequence[str] | None,
    index: int | str | None,
    verify: bool,
) -> EcgRecord:
    # each reader brings its own library along, and most users need one of them
    match kind:
        case "wfdb":
            from cardiozoo.data.readers.wfdb_record import read_wfdb

            return read_wfdb(path, verify)
        case "dicom":
            from cardiozoo.data.readers.dicom_waveform import read_dicom

            return read_dicom(path, units)
        case "xml" | "muse_xml" | "cardiosoft_xml":
            return _read_xml(path, kind)
        case _:
            from cardiozoo.data.readers.ecg_arrays import read_array_file

            return read_array_file(path, kind, rate=rate, units=units, leads=leads, index=index)


def _read_xml(path: Path, kind: str) -> EcgRecord:
    from cardiozoo.data.readers.cardiosoft_xml import cardiosoft_record
    from cardiozoo.data.readers.ecg_xml import parse_xml
    from cardiozoo.data.readers.muse_xml import muse_record

    root, notes = parse_xml(path)
    found = _ROOTS.get(root.tag)
    if found is None or kind not in ("xml", found):
        raise RecordError(
            f"{path} is XML whose root is {root.tag}.",
            f"Accepted: {', '.join(_ROOTS)}.",
            "Convert it to WFDB or CSV, or leave it out.",
            reason="XML of another kind",
        )
    record = muse_record(root, path) if found == "muse_xml" else cardiosoft_record(root, path)
    return replace(record, notes=(*record.notes, *notes)) if notes else record


def _recognise(path: Path) -> str:
    """The format, by the first bytes where they tell, else by the suffix."""
    suffix = path.suffix.lower()
    if suffix in (".hea", ".dat", ".mat"):
        return "wfdb"
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except (FileNotFoundError, IsADirectoryError) as error:
        if path.with_name(f"{path.name}.hea").exists():
            return "wfdb"
        what, reason = ("is a folder", "a folder, no file") if path.is_dir() else ("does not exist", "file missing")
        raise RecordError(f"{path} {what}.", _ACCEPTED, "Correct the path.", reason=reason) from error
    except OSError as error:
        came = f"{path} cannot be read: {error.strerror}."
        raise RecordError(came, _ACCEPTED, "Check its permissions.", reason="file unreadable") from error
    if not head:
        raise RecordError(f"{path} is empty.", _ACCEPTED, "Fetch it again, or leave it out.", reason="file empty")
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[128:132] == b"DICM" or suffix in (".dcm", ".dicom"):
        return "dicom"
    start = head.replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    if start.startswith(b"<"):
        return "xml"
    if suffix in _TEXT_SUFFIXES:
        return "csv"
    raise RecordError(
        f"{path} is in no format that is known by its first bytes or its suffix.",
        _ACCEPTED,
        f"Name it with format: {', '.join(FORMATS)}.",
        reason="format not recognised",
    )
