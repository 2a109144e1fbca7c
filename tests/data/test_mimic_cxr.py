from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from cardiozoo.data.readers.mimic_cxr import LABELS, image_file, open_cxr, read_cxr, study_time
from cardiozoo.errors import OptionError, RawDataError

HEADER = "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime"


def release(root: Path, rows: list[str], labels: list[str] | None = None, compressed: bool = True) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    opened: Callable = gzip.open if compressed else open
    end = ".csv.gz" if compressed else ".csv"
    with opened(root / f"mimic-cxr-2.0.0-metadata{end}", "wt") as file:
        file.write("\n".join([HEADER, *rows]) + "\n")
    if labels is not None:
        with opened(root / f"mimic-cxr-2.0.0-chexpert{end}", "wt") as file:
            file.write("\n".join([",".join(("subject_id", "study_id", *LABELS)), *labels]) + "\n")
    return root


def row(
    dicom: str = "d1",
    subject: str = "10",
    study: str = "5",
    view: str = "AP",
    date: str = "21500102",
    time: str = "93000.5",
) -> str:
    return f"{dicom},{subject},{study},CHEST,{view},3056,2544,{date},{time}"


LABELLED = "10,5,1.0,0.0,-1.0" + "," * 11


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("21500102", "93000.500", datetime(2150, 1, 2, 9, 30)),
        ("21500102", "500.0", datetime(2150, 1, 2, 0, 5)),
        ("21500102", "7", datetime(2150, 1, 2, 0, 0, 7)),
        ("21500102.0", "0.0", datetime(2150, 1, 2)),
        ("21500102", "235959.999", datetime(2150, 1, 2, 23, 59, 59)),
        ("21501302", "93000", None),
        ("21500102", "250000", None),
        ("", "93000", None),
        ("21500102", "", None),
        ("21500102", "noon", None),
    ],
)
def test_study_times_with_lost_zeros(date: str, time: str, expected: datetime | None) -> None:
    table = pl.DataFrame(
        {"StudyDate": [date or None], "StudyTime": [time or None]},
        schema={"StudyDate": pl.String, "StudyTime": pl.String},
    )
    assert table.select(study_time()).item() == expected


@pytest.mark.parametrize("compressed", [True, False])
def test_rows_that_cannot_be_used_are_counted_by_reason(tmp_path: Path, compressed: bool) -> None:
    rows = [
        row("a"),
        row("a"),  # repeated
        row("b"),
        row("b", view="PA"),  # contradicting
        row("c", subject="x"),
        row("../d"),
        row("e", date="0"),
        row("f", view="LATERAL"),
        row("g", view=""),
        row("h", view="pa", time="1.0"),
    ]
    images = read_cxr(open_cxr(release(tmp_path, rows, [LABELLED], compressed)))
    assert images.table["dicom_id"].to_list() == ["h", "a"] and images.rows == len(rows)
    assert dict(images.excluded) == {
        "no usable dicom_id": 1,
        "no number as subject_id or study_id": 1,
        "repeated metadata row": 1,
        "one dicom_id with contradicting metadata rows": 2,
        "no valid study date and time": 1,
        "view is not AP or PA": 2,
    }
    assert images.rows == images.table.height + sum(images.excluded.values())
    assert dict(images.counts) == {"view (empty)": 1, "view LATERAL": 1}
    assert images.table["file"][1] == image_file(10, 5, "a") == "files/p10/p10/s5/a.jpg"


def test_labels_are_one_zero_uncertain_or_not_mentioned(tmp_path: Path) -> None:
    labels = [LABELLED, LABELLED, "10,6,1,0,-1,maybe" + "," * 10, "10,7,1" + "," * 13, "10,7,0" + "," * 13]
    rows = [row("a"), row("b", study="6"), row("c", study="7"), row("d", study="8")]
    images = read_cxr(open_cxr(release(tmp_path, rows, labels)))
    values = images.table.sort("dicom_id").select(
        "label/Atelectasis", "label/Cardiomegaly", "label/Consolidation", "label/Edema"
    )
    assert values.rows() == [(1, 0, -1, None), (1, 0, -1, None), (None,) * 4, (None,) * 4]
    assert dict(images.counts) == {
        "label values not understood": 1,
        "studies with contradicting label rows": 1,
        "images without a row of labels": 2,
    }


def test_views_and_no_labels(tmp_path: Path) -> None:
    root = release(tmp_path, [row("a"), row("b", view="PA"), row("c", view="LL")])
    with pytest.raises(RawDataError, match="chexpert"):
        open_cxr(root)
    found = open_cxr(root, "none")
    assert found.version == "2.0.0"
    counts = {views: read_cxr(found, "none", views).table.height for views in ("AP", "AP+PA", "all")}
    assert counts == {"AP": 1, "AP+PA": 2, "all": 3}
    with pytest.raises(OptionError, match="cxr_views"):
        read_cxr(found, "none", "PA")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="cxr_labels"):
        open_cxr(root, "vis")  # type: ignore[arg-type]


def test_the_folder_may_lie_one_deeper_but_must_be_clear(tmp_path: Path) -> None:
    inner = release(tmp_path / "outer/2.0.0", [row()], [LABELLED])
    assert open_cxr(tmp_path / "outer").root == inner
    shutil.copytree(inner, tmp_path / "outer/2.1.0")
    with pytest.raises(RawDataError, match="2 sub-folders"):
        open_cxr(tmp_path / "outer")
    shutil.copy(inner / "mimic-cxr-2.0.0-metadata.csv.gz", inner / "mimic-cxr-2.1.0-metadata.csv.gz")
    with pytest.raises(RawDataError, match="2 metadata tables"):
        open_cxr(inner)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RawDataError, match="Neither"):
        open_cxr(tmp_path / "empty")
    with pytest.raises(RawDataError, match="no folder"):
        open_cxr(tmp_path / "nowhere")


def test_missing_columns_and_truncated_files_are_refused(tmp_path: Path) -> None:
    root = release(tmp_path, [row()], [LABELLED])
    path = root / "mimic-cxr-2.0.0-metadata.csv.gz"
    whole = path.read_bytes()
    path.write_bytes(gzip.compress(HEADER.replace("StudyTime", "Time").encode() + b"\n" + row().encode()))
    with pytest.raises(RawDataError, match="lacks the column StudyTime"):
        read_cxr(open_cxr(root))
    path.write_bytes(whole[:-12])
    with pytest.raises(RawDataError, match="cannot be read"):
        read_cxr(open_cxr(root))
