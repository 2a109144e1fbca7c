"""Many damaged files in every format: a record or a reason, never anything else."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from ecg_files import heart, muse_waveform, write_cardiosoft, write_mimic, write_muse
from pydicom.data import get_testdata_file

from cardiozoo.data.ecg import LEADS
from cardiozoo.data.ecg_standard import standardise
from cardiozoo.data.readers.ecg import read_ecg
from cardiozoo.errors import RecordError

HEART = heart(1000)
SAID = {"rate": 500, "units": "mV", "leads": LEADS}
WORDS = (b"-1", b"0", b"9" * 20, b"nan", b"1e308", b"/", b"(", b" ", b"\n", b"x", b"\xff", b"<", b",")


def make(folder: Path, kind: str) -> Path:
    path = folder / f"a.{kind}"
    match kind:
        case "hea" | "dat":
            return write_mimic(folder, HEART).with_suffix(f".{kind}")
        case "xml":
            return write_muse(path, muse_waveform(HEART, LEADS))
        case "cs.xml":
            return write_cardiosoft(path, HEART)
        case "dcm":
            shutil.copy(get_testdata_file("waveform_ecg.dcm"), path)
        case "npy":
            np.save(path, HEART / 200)
        case "npz":
            np.savez_compressed(path, ecg=HEART / 200)
        case "h5":
            with h5py.File(path, "w") as file:
                file["tracings"] = HEART.T[None] / 200
        case "csv":
            path.write_text("\n".join(",".join(map(str, row)) for row in [LEADS, *(HEART.T / 200).tolist()]))
    return path


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut off, bytes changed, a piece lost, a piece put in, or a number made senseless."""
    changed = bytearray(content)
    place = int(rng.integers(min(len(content), int(rng.choice([600, 3000, len(content)])))))
    match rng.integers(5):
        case 0:
            del changed[place:]
        case 1:
            for where in rng.integers(max(place, 1), size=rng.integers(1, 30)):
                changed[where] = rng.integers(256)
        case 2:
            del changed[place : place + int(rng.integers(1, 200))]
        case 3:
            changed[place:place] = rng.bytes(int(rng.integers(1, 50)))
        case _:
            changed[place : place + 1] = WORDS[rng.integers(len(WORDS))]
    return bytes(changed)


@pytest.mark.parametrize("kind", ["hea", "dat", "xml", "cs.xml", "dcm", "npy", "npz", "h5", "csv"])
def test_damage_ends_in_a_record_or_a_reason(tmp_path: Path, kind: str) -> None:
    path, rng = make(tmp_path, kind), np.random.default_rng(4)
    options = SAID if kind in ("npy", "npz", "h5", "csv") else {}
    options = {**options, "index": 0} if kind == "h5" else options
    content, outcomes = path.read_bytes(), set()
    for _ in range(250 if kind in ("hea", "dat", "npy") else 60):
        path.write_bytes(damage(content, rng))
        try:
            ecg = standardise(read_ecg(path, **options))
        except RecordError as error:
            outcomes.add(error.reason)
            assert str(tmp_path) not in error.reason and len(error.reason) < 60
            assert error.came and error.accepted and error.next_step
            continue
        outcomes.add("read")
        assert ecg.signal.shape == (12, 5000) and ecg.signal.dtype == np.int16 and not ecg.state.all()
        assert np.isfinite(ecg.gain).all() and (ecg.gain > 0).all() and 0 < ecg.samples <= 5000
    assert len(outcomes) > 1
    path.write_bytes(content)
    assert not standardise(read_ecg(path, **options)).state.any()
