"""The statements of PTB-XL beside the release's own table, read here with nothing of cardiozoo."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cardiozoo.data.scp import SCP_TASKS, ScpStatements, read_scp_statements
from cardiozoo.errors import OptionError, RawDataError

RAW = Path(__file__).parent / "ptbxl_sample" / "scp_statements.csv"


def rows() -> list[dict[str, str]]:
    with RAW.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def records(*stated: dict[str, float]) -> pl.DataFrame:
    codes = read_scp_statements(RAW).codes
    return pl.DataFrame(
        {f"scp/{code}": [row.get(code) for row in stated] for code in codes},
        schema={f"scp/{code}": pl.Float32 for code in codes},
    )


def test_classes_are_those_of_the_table() -> None:
    statements, raw = read_scp_statements(RAW), rows()
    assert statements.codes == tuple(row[""] for row in raw)
    for kind in ("diagnostic", "form", "rhythm"):
        assert statements.classes(kind) == tuple(sorted(row[""] for row in raw if row[kind] == "1.0"))
    for task, column in (("superclass", "diagnostic_class"), ("subclass", "diagnostic_subclass")):
        expected = defaultdict(list)
        for row in raw:
            if row["diagnostic"] == "1.0":
                expected[row[column]].append(row[""])
        assert {name: list(codes) for name, codes in statements.members(task).items()} == expected
    # as the paper counts them
    assert [len(statements.classes(task)) for task in SCP_TASKS] == [5, 23, 44, 19, 12, 71]


def test_a_class_is_present_when_any_code_of_it_is_stated_whatever_the_likelihood() -> None:
    statements = read_scp_statements(RAW)
    table = records({"NORM": 15.0, "SR": 0.0}, {"IMI": 0.0, "IRBBB": 100.0, "AFIB": 0.0}, {"PACE": 0.0}, {"NDT": 35.0})
    labels = statements.labels(table, "superclass")
    names = np.array(statements.classes("superclass"))
    assert [names[row].tolist() for row in labels] == [["NORM"], ["CD", "MI"], [], ["STTC"]]
    assert np.array(statements.classes("rhythm"))[statements.labels(table, "rhythm")[1]].tolist() == ["AFIB"]
    assert np.array(statements.classes("form"))[statements.labels(table, "form")[3]].tolist() == ["NDT"]
    certain = statements.labels(table, "superclass", min_likelihood=50)
    assert [names[row].tolist() for row in certain] == [[], ["CD"], [], []]
    assert statements.labels(table, "all").sum() == 7


def test_a_table_written_and_read_again_is_the_same(tmp_path: Path) -> None:
    statements = read_scp_statements(RAW)
    statements.table.write_parquet(tmp_path / "scp.parquet")
    again = ScpStatements(pl.read_parquet(tmp_path / "scp.parquet"))
    assert all(again.members(task) == statements.members(task) for task in SCP_TASKS)


def test_what_is_not_the_release_s_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scp_statements.csv"
    with pytest.raises(RawDataError, match="cannot be read"):
        read_scp_statements(path)
    path.write_text(RAW.read_text().replace("\n1AVB,", "\n1.0AVB,"))
    with pytest.raises(RawDataError, match=r"1\.0AVB: a spreadsheet"):
        read_scp_statements(path)
    path.write_text(RAW.read_text().replace("diagnostic_class,", "class,", 1))
    with pytest.raises(RawDataError, match="no column diagnostic_class"):
        read_scp_statements(path)
    path.write_text(RAW.read_text() + RAW.read_text().splitlines()[-1] + "\n")
    with pytest.raises(RawDataError, match="twice"):
        read_scp_statements(path)
    table = read_scp_statements(RAW).table
    with pytest.raises(RawDataError, match="no diagnostic_class"):
        ScpStatements(table.with_columns(pl.lit(None, pl.String).alias("superclass")))
    with pytest.raises(RawDataError, match="lacks subclass"):
        ScpStatements(table.drop("subclass"))
    with pytest.raises(OptionError):
        read_scp_statements(RAW).members("superclasses")  # type: ignore[arg-type]
