"""``.mat`` files beside a WFDB header that are not bare integers after 24 bytes, but MATLAB 5 files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cardiozoo.errors import RecordError

__all__ = ["read_val"]


def read_val(path: Path, channels: int) -> np.ndarray | None:
    """int16 (channels, samples) of the matrix ``val``; None when `path` is no MATLAB 5 file.

    The challenges' own containers are MATLAB 4, whose 24 bytes of header WFDB skips. Programs that write their records
    again with today's default write MATLAB 5, and the same WFDB header then points into the middle of another header.

    Raises:
        RecordError: A MATLAB file without such a matrix, or one that is damaged.
    """
    with path.open("rb") as file:
        if file.read(6) != b"MATLAB":
            return None
    from scipy.io import loadmat

    try:
        values = np.asarray(loadmat(path)["val"])
        if values.ndim == 2 and values.shape[0] == channels and np.array_equal(values, values.astype(np.int16)):
            return values.astype(np.int16)
        came = f"{path} holds {values.dtype} of shape {values.shape}, for {channels} signals of 16 bits."
    except Exception as error:  # scipy's, zlib's and KeyError, by what is damaged
        came = f"{path} cannot be read as MATLAB file: {error}."
    raise RecordError(
        came,
        "Accepted: a matrix val of integers (signals, samples).",
        "Fetch the record again, or leave it out.",
        reason="signal file unreadable",
    )
