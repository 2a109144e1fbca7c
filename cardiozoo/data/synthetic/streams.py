"""Random streams of the simulator: one a (seed, patient, modality, purpose), and the permutations behind every id."""

from __future__ import annotations

import hashlib
from enum import IntEnum

import numpy as np

ID_RANGE = 10_000_000
"""Ids of one kind differ in their last seven digits, as in MIMIC: 10,000,000 patients, 20,000,000 admissions, ..."""
_HALF_BITS = 12
_ROUNDS = 6


class Modality(IntEnum):
    """First key of a stream. Modalities to come keep their number, so that adding one changes no byte of the others."""

    PHYSIOLOGY = 0
    ICU = 1
    CXR = 2
    ECG = 3
    MRI = 4
    GENOTYPE = 5
    RECORDS = 6
    DIRT = 7


class IdKind(IntEnum):
    """What an id names; the leading digit of the number is that of MIMIC."""

    PATIENT = 1
    ADMISSION = 2
    STAY = 3
    ECG = 4
    STUDY = 5


def stream(seed: int, patient: int, modality: Modality, purpose: int, part: int = 0) -> np.random.Generator:
    """The generator of one purpose of one modality of one patient (``part``: of one of their stays or films).

    No stream is shared between patients, so a cohort of 100 is the beginning of a cohort of 1,000, and a modality
    that is skipped leaves all others unchanged.
    """
    sequence = np.random.SeedSequence((seed, patient, int(modality), purpose, part))
    return np.random.Generator(np.random.Philox(sequence))


def draws(
    seed: int,
    owners: np.ndarray,
    modality: Modality,
    purpose: int,
    normals: int,
    uniforms: int,
    parts: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Standard normals (N, normals) and uniforms (N, uniforms); row i from the stream of (owners[i], parts[i])."""
    gauss = np.empty((len(owners), normals))
    flat = np.empty((len(owners), uniforms))
    for row, patient in enumerate(owners):
        generator = stream(seed, int(patient), modality, purpose, 0 if parts is None else int(parts[row]))
        gauss[row] = generator.standard_normal(normals)
        flat[row] = generator.random(uniforms)
    return gauss, flat


def identify(seed: int, kind: IdKind, slots: np.ndarray) -> np.ndarray:
    """Ids (int64) of slot numbers 0 ... 9,999,999: a permutation keyed by the seed, so a number tells nothing.

    A balanced Feistel network over 24 bits, walked until the value falls below ten million.
    """
    keys = np.random.SeedSequence((seed, 0x1D, int(kind))).generate_state(_ROUNDS, np.uint32).astype(np.uint64)
    values = np.asarray(slots, dtype=np.uint64)
    if values.size and int(values.max()) >= ID_RANGE:
        raise ValueError(f"slot {int(values.max())} does not fit into {ID_RANGE} ids")
    values = _feistel(values, keys)
    outside = values >= ID_RANGE
    while outside.any():
        values[outside] = _feistel(values[outside], keys)
        outside = values >= ID_RANGE
    return values.astype(np.int64) + int(kind) * ID_RANGE


def _feistel(values: np.ndarray, keys: np.ndarray) -> np.ndarray:
    mask = np.uint64((1 << _HALF_BITS) - 1)
    left, right = values >> np.uint64(_HALF_BITS), values & mask
    for key in keys:
        mixed = (right + key) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        left, right = right, left ^ (mixed >> np.uint64(40) & mask)
    return (left << np.uint64(_HALF_BITS)) | right


def dicom_id(seed: int, study_id: int, number: int) -> str:
    """Name of an image in the manner of MIMIC-CXR: five groups of eight hexadecimal digits, a keyed digest."""
    digest = hashlib.blake2b(f"{seed}/{study_id}/{number}".encode(), digest_size=20).hexdigest()
    return "-".join(digest[start : start + 8] for start in range(0, 40, 8))
