"""ICD-9 and ICD-10 diagnosis codes to the 25 phenotypes of the clinical time series benchmark.

A phenotype is a set of CCS groups of ICD-9 codes. An ICD-10 code belongs to the phenotypes of the ICD-9 codes that the
General Equivalence Mapping of 2018 names for it. Three rules exist for that step:

``any``
    All targets count; two codes are set by hand, because their targets are alternatives: I10 is essential
    hypertension (13) alone, R0689 other lower respiratory disease (18) alone. The default.
``first``
    The first target only. Sends I10, the most frequent code there is, to complicated hypertension (16).
``medfuse``
    The published look-up of MedFuse and DrFuse: of each ICD-9 code the last target of the *reverse* mapping. It holds
    570 of 2,135 ICD-10 codes and so under-codes recent admissions; for repeating published numbers only.

The mapping knows the codes of one year. An ICD-10 code that it lacks (younger, or since split) is shortened until the
mapping has codes that begin so; if all of those share one set of phenotypes it is given that set, else none. Codes of
7 characters are compared with codes of the same 7th character only. ``medfuse`` does without.

An ICD-9 code read as a number has lost its leading zeros (``389`` for ``0389``). It is repaired where what is left is
no code of its own and exactly one code fits; elsewhere it is left alone.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple, get_args

import numpy as np

from cardiozoo.data.ehr_vocabulary import read_table
from cardiozoo.errors import OptionError

__all__ = ["PHENOTYPES", "PHENOTYPE_TYPES", "CodeMap", "LabelRule", "code_map", "normalize_code", "phenotypes"]

LabelRule = Literal["any", "first", "medfuse"]

#: What became of a code; see ``CodeMap.look_up``.
Status = Literal["listed", "other", "family", "zeros restored", "unmapped"]

#: The 25 phenotypes in label order (alphabetical).
PHENOTYPES: tuple[str, ...] = tuple(row["name"] for row in read_table("phenotypes.csv"))

#: ``acute``, ``chronic`` or ``mixed``, aligned with ``PHENOTYPES``.
PHENOTYPE_TYPES: tuple[str, ...] = tuple(row["type"] for row in read_table("phenotypes.csv"))


def normalize_code(code: str | None) -> str:
    """A code in upper case, without blanks around it and without the dot in its usual place (``E78.5`` -> ``E785``)."""
    text = "" if code is None else str(code).strip().upper()
    head, dot, tail = text.partition(".")
    usual = len(head) == 3 or (len(head) == 4 and head[0] == "E")
    return head + tail if dot and usual and tail.isalnum() else text


class CodeMap(NamedTuple):
    """One rule's tables: what a code stands for.

    Attributes:
        listed: (version, code) -> bit mask of phenotypes, bit i = phenotype i.
        families: (ICD-10 prefix, 7th character or empty) -> bit mask; empty without the fallback.
        restored: Rest of an ICD-9 code that lost its leading zeros -> code.
        known: Every code of the sources, by version.
    """

    listed: dict[tuple[int, str], int]
    families: dict[tuple[str, str], int]
    restored: dict[str, str]
    known: dict[int, frozenset[str]]

    def look_up(self, code: str | None, version: int) -> tuple[int, Status]:
        """Bit mask of phenotypes of one code, and how it was found.

        The status is ``listed`` (in the table), ``other`` (a code of the sources, of no phenotype), ``family`` (absent,
        given the set of its family), ``zeros restored``, or ``unmapped`` (absent, and its family agrees on none).
        """
        code = normalize_code(code)
        mask = self.listed.get((version, code))
        if mask is not None:
            return mask, "listed"
        if code in self.known[version]:
            return 0, "other"
        if version == 9 and code in self.restored:
            return self.listed.get((9, self.restored[code]), 0), "zeros restored"
        seventh = code[6] if len(code) == 7 else ""
        for length in range(len(code), 2, -1) if version == 10 else ():
            mask = self.families.get((code[:length], seventh))
            if mask is not None:
                return mask, "family"
        return 0, "unmapped"


@cache
def code_map(rule: LabelRule = "any", fallback: bool = True) -> CodeMap:
    """The tables of one rule; ``fallback`` False leaves ICD-10 codes that the mapping lacks without phenotype.

    Raises:
        OptionError: A rule that does not exist.
    """
    if rule not in get_args(LabelRule):
        raise OptionError(
            f"rule={rule!r}.", f"Accepted: {', '.join(get_args(LabelRule))}.", "any is the recommended one."
        )
    rows = read_table("icd_phenotypes.csv")
    listed = {(int(row["version"]), row["code"]): _mask(row[rule]) for row in rows if row[rule]}
    families = {}
    if fallback and rule != "medfuse":
        prefixes = read_table("icd_families.csv")
        families = {(row["prefix"], row["seventh"]): _mask(row[rule]) for row in prefixes if row[rule]}
    restored = {row["left"]: row["code"] for row in read_table("icd9_lost_zeros.csv")}
    return CodeMap(listed, families, restored, _known_codes())


def phenotypes(
    codes: Sequence[str], versions: Sequence[int] | int, rule: LabelRule = "any", fallback: bool = True
) -> np.ndarray:
    """The phenotypes of each ICD diagnosis code: bool (N, 25) in the order of ``PHENOTYPES``.

    Args:
        codes: N codes without dots, as text; case and blanks around them do not matter. Empty or None has no phenotype.
        versions: 9 or 10 for each code, or one for all.
        rule: How ICD-10 codes find their group: ``any``, ``first`` or ``medfuse`` (see the module).
        fallback: Whether an ICD-10 code that the mapping lacks takes the phenotypes its family agrees on.

    Raises:
        OptionError: An unknown rule, a version that is neither 9 nor 10, or lists of unequal length.

    Source: groups of Harutyunyan et al., Scientific Data 2019; CCS 2015 (AHRQ); GEM 2018 (CMS).
    """
    numbers = [versions] * len(codes) if isinstance(versions, int | np.integer | str) else list(versions)
    if len(numbers) != len(codes):
        raise OptionError(
            f"{len(codes)} codes and {len(numbers)} versions.",
            "Accepted: one version a code, or one for all.",
            "Pass the icd_version column beside the icd_code column.",
        )
    parsed = {number: _version(number) for number in set(numbers)}
    table = code_map(rule, fallback)
    found: dict[tuple[str, int], int] = {}
    masks = np.zeros(len(codes), dtype=np.uint32)
    for row, (code, number) in enumerate(zip(codes, numbers, strict=True)):
        key = (code, parsed[number])
        if key not in found:
            found[key] = table.look_up(*key)[0]
        masks[row] = found[key]
    return unpack(masks)


def unpack(masks: np.ndarray) -> np.ndarray:
    """Bit masks (N,) -> bool (N, 25)."""
    return (np.asarray(masks, dtype=np.uint32)[:, None] >> np.arange(len(PHENOTYPES), dtype=np.uint32)) & 1 == 1


def _version(value: object) -> int:
    text = str(value).strip()
    if text not in ("9", "10"):
        raise OptionError(
            f"ICD version {value!r}.",
            "Accepted: 9 or 10.",
            "Leave the codes of other versions out.",
        )
    return int(text)


def _mask(numbers: str) -> int:
    return sum(1 << int(number) for number in numbers.split())


@cache
def _known_codes() -> dict[int, frozenset[str]]:
    """Every ICD-9 and ICD-10 code of the sources, from the front-coded table."""
    raw = files("cardiozoo.data").joinpath("tables", "icd_known.csv.gz").read_bytes()
    rows: Iterable[dict[str, str]] = csv.DictReader(gzip.decompress(raw).decode("ascii").splitlines())
    known: dict[int, set[str]] = {9: set(), 10: set()}
    last = ""
    for row in rows:
        last = last[: int(row["shared"])] + row["rest"]
        known[int(row["version"])].add(last)
    return {version: frozenset(codes) for version, codes in known.items()}
