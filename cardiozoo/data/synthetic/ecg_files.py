"""Files of one recording: a WFDB pair in format 16, with the checksums that readers verify; NPY and CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cardiozoo.data.ecg import LEADS, MISSING

MIMIC_ORDER = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
"""Order of the leads in the files of MIMIC-IV-ECG: aVF comes before aVL."""


def write_wfdb(
    path: Path,
    digital: np.ndarray,
    order: tuple[str, ...],
    rate: float,
    gain: float,
    moment: str | None = None,
    comments: tuple[str, ...] = (),
) -> None:
    """Write ``path``.hea and ``path``.dat.

    Args:
        path: Name of the record, without suffix.
        digital: Samples (12, T) int16 in LEADS order; -32768 is "no sample".
        order: Order of the leads in the file.
        rate: Samples a second.
        gain: Units a mV.
        moment: Start as ``HH:MM:SS DD/MM/YYYY``.
        comments: Comment lines, without the hash.
    """
    path.with_name(f"{path.name}.dat").write_bytes(interleaved(digital, order))
    path.with_name(f"{path.name}.hea").write_text(
        header(path.name, digital, order, rate, gain, moment, comments), encoding="ascii", newline="\n"
    )


def interleaved(digital: np.ndarray, order: tuple[str, ...]) -> bytes:
    """Format 16: little-endian, the leads sample by sample."""
    rows = [LEADS.index(lead) for lead in order]
    return np.ascontiguousarray(digital[rows].T.astype("<i2")).tobytes()


def header(
    name: str,
    digital: np.ndarray,
    order: tuple[str, ...],
    rate: float,
    gain: float,
    moment: str | None,
    comments: tuple[str, ...],
) -> str:
    """Text of the header; the checksum of a lead is the sum of its samples modulo 65536, without sign."""
    first = f"{name} {len(order)} {rate:g} {digital.shape[1]}" + (f" {moment}" if moment else "")
    sums = digital.sum(axis=1, dtype=np.int64) & 0xFFFF
    lines = [first]
    for lead in order:
        row = LEADS.index(lead)
        lines.append(f"{name}.dat 16 {gain:.1f}(0)/mV 16 0 {digital[row, 0]} {sums[row]} 0 {lead}")
    return "\n".join(lines + [f"# {comment}" for comment in comments]) + "\n"


def millivolt(digital: np.ndarray, gain: float) -> np.ndarray:
    """Samples in mV (12, T) float32, NaN where there is none."""
    return np.where(digital == MISSING, np.float32(np.nan), digital / np.float32(gain)).astype(np.float32)


def write_npy(path: Path, digital: np.ndarray, gain: float) -> None:
    """Write mV (12, T) float32 in LEADS order."""
    np.save(path, millivolt(digital, gain), allow_pickle=False)


def write_csv(path: Path, digital: np.ndarray, gain: float) -> None:
    """Write mV with one column a lead, its name in the first line; nothing where there is no sample."""
    text = np.char.mod("%.3f", digital.T / gain)
    text[digital.T == MISSING] = ""
    lines = [",".join(LEADS), *(",".join(row) for row in text)]
    path.write_text("\n".join(lines) + "\n", encoding="ascii", newline="\n")
