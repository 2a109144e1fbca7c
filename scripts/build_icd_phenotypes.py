"""Makes the tables that turn ICD codes into the 25 phenotypes, from three public-domain sources.

    python scripts/build_icd_phenotypes.py --gem10 2018_I10gem.txt --gem9 2018_I9gem.txt --ccs ccs_2015_icd9.csv

- ``2018_I10gem.txt`` and ``2018_I9gem.txt``: General Equivalence Mappings 2018 of the US Centers for Medicare &
  Medicaid Services, ICD-10-CM to ICD-9-CM and back: code, target (or ``NoDx``), flags, no dots.
- ``ccs_2015_icd9.csv``: Clinical Classifications Software 2015 of the US Agency for Healthcare Research and Quality,
  single level, as a CSV with the columns ``ccs`` (category number) and ``icd9`` (code without dot).

Each may be gzip-compressed. Written to ``cardiozoo/data/tables`` (or ``--out``):

- ``icd_phenotypes.csv``  version, code, and the phenotype numbers under each rule; codes of no phenotype are left out
- ``icd_families.csv``    ICD-10 prefix (and 7th character) whose codes all share one non-empty set of phenotypes
- ``icd9_lost_zeros.csv`` what is left of an ICD-9 code that a spreadsheet took for a number, where only one code fits
- ``icd_known.csv.gz``    every code of the sources, each as the length it shares with the one before, and the rest
- ``icd_sources.csv``     name, size and SHA-256 of each (decompressed) source
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

TABLES = Path(__file__).resolve().parent.parent / "cardiozoo" / "data" / "tables"

# Two codes whose several ICD-9 targets are alternatives, not a combination: plain hypertension is not also a
# complicated one, and an unspecified abnormality of breathing is filed under the lower respiratory tract.
OVERRIDES = {"I10": {13}, "R0689": {18}}
# What the published look-up leaves out of one group although the reverse mapping names it there.
PUBLISHED_OMISSIONS = {("I10", 16), ("J99", 22)}

Sets = dict[str, frozenset[int]]


def read(path: Path) -> str:
    """Text of a source, decompressed where needed."""
    raw = path.read_bytes()
    return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("ascii")


def read_gem(text: str) -> dict[str, list[str]]:
    """Code -> targets in file order; a code with the target NoDx has none."""
    targets: dict[str, list[str]] = defaultdict(list)
    for line in text.splitlines():
        code, target, _flags = line.split()
        targets[code] += [target] if target != "NoDx" else []
    return dict(targets)


def icd9_phenotypes(ccs: str, groups: dict[int, int]) -> tuple[Sets, set[str]]:
    """Phenotypes of each ICD-9 code of the 25 groups, and every ICD-9 code of the classification."""
    rows = list(csv.DictReader(ccs.splitlines()))
    members = {row["icd9"]: frozenset({groups[int(row["ccs"])]}) for row in rows if int(row["ccs"]) in groups}
    return members, {row["icd9"] for row in rows}


def icd10_phenotypes(gem10: dict[str, list[str]], icd9: Sets, rule: str) -> Sets:
    """Phenotypes of every ICD-10 code of the file, through any or the first of its ICD-9 targets."""
    none: frozenset[int] = frozenset()
    kept = {code: targets[:1] if rule == "first" else targets for code, targets in gem10.items()}
    sets = {code: none.union(*(icd9.get(target, none) for target in targets)) for code, targets in kept.items()}
    if rule == "any":
        sets |= {code: frozenset(classes) for code, classes in OVERRIDES.items()}
    return sets


def published_phenotypes(gem9: dict[str, list[str]], icd9: Sets) -> Sets:
    """ICD-10 side of the published look-up: of each ICD-9 code, the last target of the reverse mapping."""
    sets: dict[str, set[int]] = defaultdict(set)
    for code, classes in icd9.items():
        for target in gem9.get(code, [])[-1:]:
            sets[target] |= {c for c in classes if (target, c) not in PUBLISHED_OMISSIONS}
    return {code: frozenset(classes) for code, classes in sets.items() if classes}


def families(sets: Sets) -> dict[tuple[str, str], frozenset[int]]:
    """(prefix, "") and (prefix, 7th character) -> the one non-empty set that all codes beginning so share."""
    found: dict[tuple[str, str], set[frozenset[int]]] = defaultdict(set)
    for code, classes in sets.items():
        for length in range(3, len(code) + 1):
            found[code[:length], ""].add(classes)
            if len(code) == 7 and length < 7:
                found[code[:length], code[6]].add(classes)
    return {key: next(iter(values)) for key, values in found.items() if len(values) == 1 and any(values)}


def prune(rows: dict[tuple[str, str], frozenset[int]]) -> dict[tuple[str, str], frozenset[int]]:
    """Leaves out a family whose next shorter prefix is in the table: it must have the same set."""
    return {key: value for key, value in rows.items() if (key[0][:-1], key[1]) not in rows}


def lost_zeros(known: set[str]) -> dict[str, str]:
    """What remains of an ICD-9 code read as a number -> the code, where it is no code itself and only one fits."""
    candidates: dict[str, list[str]] = defaultdict(list)
    for code in sorted(known):
        if code.isdigit() and code.startswith("0"):
            candidates[code.lstrip("0")].append(code)
    return {short: codes[0] for short, codes in sorted(candidates.items()) if len(codes) == 1 and short not in known}


def front_code(codes: Iterable[str]) -> list[list[str]]:
    """Each code of a sorted sequence as the number of characters it shares with the one before, and the rest."""
    rows, last = [], ""
    for code in codes:
        shared = 0
        while shared < min(len(code), len(last)) and code[shared] == last[shared]:
            shared += 1
        rows.append([str(shared), code[shared:]])
        last = code
    return rows


def write(path: Path, header: list[str], rows: Iterable[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data, 9, mtime=0) if path.suffix == ".gz" else data)


def words(classes: frozenset[int] | None) -> str:
    return " ".join(map(str, sorted(classes or ())))


def build(gem10_path: Path, gem9_path: Path, ccs_path: Path, out: Path) -> None:
    """Reads the three sources and writes the five tables to ``out``."""
    texts = {path: read(path) for path in (gem10_path, gem9_path, ccs_path)}
    with (TABLES / "phenotypes.csv").open(encoding="utf-8") as file:
        groups = {int(row["ccs"]): int(row["phenotype"]) for row in csv.DictReader(file)}
    gem10, gem9 = read_gem(texts[gem10_path]), read_gem(texts[gem9_path])
    icd9, classified = icd9_phenotypes(texts[ccs_path], groups)
    every, first = icd10_phenotypes(gem10, icd9, "any"), icd10_phenotypes(gem10, icd9, "first")
    published = published_phenotypes(gem9, icd9)
    known9 = classified | set(gem9)
    rows = [["9", code, *[words(classes)] * 3] for code, classes in sorted(icd9.items())]
    for code in sorted(set(gem10) | set(published)):
        row = [words(every.get(code)), words(first.get(code)), words(published.get(code))]
        rows += [["10", code, *row]] if any(row) else []
    write(out / "icd_phenotypes.csv", ["version", "code", "any", "first", "medfuse"], rows)
    by_any, by_first = families(every), families(first)
    kept = sorted(set(prune(by_any)) | set(prune(by_first)))
    pairs = [[*key, words(by_any.get(key)), words(by_first.get(key))] for key in kept]
    write(out / "icd_families.csv", ["prefix", "seventh", "any", "first"], pairs)
    write(out / "icd9_lost_zeros.csv", ["left", "code"], map(list, lost_zeros(known9).items()))
    known = [["9", *row] for row in front_code(sorted(known9))] + [["10", *row] for row in front_code(sorted(gem10))]
    write(out / "icd_known.csv.gz", ["version", "shared", "rest"], known)
    digests = [
        [path.name.removesuffix(".gz"), str(len(text)), hashlib.sha256(text.encode()).hexdigest()]
        for path, text in texts.items()
    ]
    write(out / "icd_sources.csv", ["source", "bytes", "sha256"], digests)


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds the ICD tables of cardiozoo from their public sources.")
    for name, meaning in (
        ("gem10", "ICD-10 to ICD-9 equivalence mapping"),
        ("gem9", "ICD-9 to ICD-10 equivalence mapping"),
        ("ccs", "clinical classification of ICD-9 codes, CSV"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=meaning)
    parser.add_argument("--out", type=Path, default=TABLES, help="folder to write to")
    args = parser.parse_args()
    build(args.gem10, args.gem9, args.ccs, args.out)


if __name__ == "__main__":
    main()
