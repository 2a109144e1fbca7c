"""WFDB records in any format that the package ``wfdb`` knows, with skew and with several samples a frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cardiozoo.data.ecg import lead_and_sign
from cardiozoo.data.readers.wfdb_header import Header, SignalLine
from cardiozoo.errors import RecordError

__all__ = ["read_any_format"]


def read_any_format(
    path: Path, header: Header, verify: bool, notes: list[str]
) -> tuple[np.ndarray, tuple[SignalLine, ...], float]:
    """Integers (channels, samples) of the leads, their lines of the header, and their rate.

    Signals sampled at another rate than the leads are left out and noted.

    Raises:
        RecordError: Missing or truncated files, wrong checksums, leads of different rates.
    """
    signals = header.signals
    unskewed = _read(path, ignore_skew=True)
    if verify:
        _verify_all(unskewed, signals, path, notes)
    values = _read(path, ignore_skew=False) if any(signal.skew for signal in signals) else unskewed
    leads = {signal.per_frame for signal in signals if lead_and_sign(signal.name)} or {signals[0].per_frame}
    if len(leads) > 1:
        raise RecordError(
            f"{path}: leads with {sorted(leads)} samples a frame.",
            "Accepted: all leads sampled at one rate.",
            "Resample the record, or leave it out.",
            reason="leads of different rates",
        )
    per_frame = leads.pop()
    keep = [place for place, signal in enumerate(signals) if signal.per_frame == per_frame]
    if len(keep) < len(signals):
        others = " ".join(signal.name or "unnamed" for signal in signals if signal.per_frame != per_frame)
        notes.append(f"another rate: {others}")
    raw = np.stack([values[place] for place in keep])
    if not raw.shape[1]:
        raise RecordError(
            f"{path} holds no samples.", "Accepted: at least one second.", "Leave it out.", reason="no samples"
        )
    return raw, tuple(signals[place] for place in keep), header.rate * per_frame


def _read(path: Path, ignore_skew: bool) -> list[np.ndarray]:
    import wfdb  # loads pandas, which takes most of a second

    try:
        record = wfdb.rdrecord(
            str(path.with_suffix("")), physical=False, smooth_frames=False, ignore_skew=ignore_skew, return_res=32
        )
        return list(record.e_d_signal)
    except FileNotFoundError as error:
        reason, came = "signal file missing", f"{path} needs {Path(str(error.filename)).name}, which is not there."
    except Exception as error:  # wfdb raises many kinds, of its own and numpy's
        short = any(word in str(error) for word in ("samples", "reshape", "broadcast", "buffer"))
        reason = "signal file truncated" if short else "signal file unreadable"
        came = f"{path} cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}."
    accepted = "Accepted: a WFDB header and its signal files, whole."
    raise RecordError(came, accepted, "Fetch the record again, or leave it out.", reason=reason)


def _verify_all(values: list[np.ndarray], signals: tuple[SignalLine, ...], path: Path, notes: list[str]) -> None:
    stated = [signal.checksum for signal in signals]
    if None in stated or not any(stated):
        notes.append("checksums not stated")
        return
    found = [int(channel.sum(dtype=np.int64)) & 0xFFFF for channel in values]
    if found != stated:
        wrong = [signal.name for signal, sum_ in zip(signals, found, strict=True) if signal.checksum != sum_]
        raise RecordError(
            f"{path}: the checksum of {len(wrong)} of {len(found)} signals is wrong ({', '.join(wrong)}).",
            "Accepted: a WFDB header and its signal files, whole.",
            "Fetch the record again, or leave it out.",
            reason="checksum wrong",
        )
