"""Folders of a raw release: where its tables are, and whether a simulator wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cardiozoo.data.prepare.tables import one_table
from cardiozoo.data.store import sha256_of
from cardiozoo.data.synthetic.output import MARKER
from cardiozoo.errors import RawDataError


def release_folder(root: Path, table: str, layout: str) -> Path:
    """The folder that holds a release: `root`, or the single one below it (a release unpacks into a folder of its own).

    Args:
        root: What the user named.
        table: A table that tells a release, without its ending.
        layout: What is expected there, in words.

    Raises:
        RawDataError: There is none, or several.
    """
    if not root.is_dir():
        raise RawDataError(f"{root} is no folder.", f"Accepted: the folder of {layout}.", "Check the path.")
    if one_table(root, table):
        return root
    inner = sorted(path.parent for depth in ("*", "*/*") for path in root.glob(f"{depth}/{table}.csv*"))
    if len(inner) == 1:
        return inner[0]
    found = ", ".join(str(path.relative_to(root)) for path in inner) or (
        ", ".join(sorted(path.name for path in root.iterdir())[:10]) or "nothing"
    )
    raise RawDataError(
        f"{root} has no {table}.csv; it holds {found}.",
        f"Accepted: the folder of {layout}.",
        "Name the folder of one release.",
    )


def read_simulator(folders: list[Path]) -> dict[str, Any] | None:
    """What the simulator left in the first of `folders` that it wrote; None for real data.

    Raises:
        RawDataError: The mark cannot be read.
    """
    for folder in folders:
        if (folder / MARKER).is_file():
            try:
                content = json.loads((folder / MARKER).read_text())
            except ValueError as error:
                raise RawDataError(
                    f"{folder / MARKER} is no JSON ({error}).", "The mark that `synthesize` left.", "Simulate again."
                ) from error
            # what lies beside the mark differs between the folders of one simulation
            return (
                {k: v for k, v in content.items() if k != "contents"}
                if isinstance(content, dict)
                else {"mark": content}
            )
    return None


def same_origin(ecg: list[Path], others: list[Path]) -> dict[str, Any] | None:
    """`read_simulator` of the ECG's folders, after a check that the tables beside them are of the same kind.

    Raises:
        RawDataError: One of the two is synthetic and the other is not.
    """
    marker = read_simulator(ecg)
    # the simulator marks the folder that it was given, in which it makes those of the releases
    beside = [folder for other in others for folder in (other, other.absolute().parent)]
    if others and (marker is None) != (read_simulator(beside) is None):
        raise RawDataError(
            "The ECGs and the tables of patients are of different origin: one of the two is synthetic.",
            "Both real, or both of one simulation.",
            "Check the two folders.",
        )
    return marker


def same_simulation(ehr: list[Path], cxr: list[Path]) -> dict[str, Any] | None:
    """`read_simulator` of the folders of MIMIC-IV, after a check that those of MIMIC-CXR, if any, are of the same one.

    Raises:
        RawDataError: One of the two is synthetic and the other is not, or they are of different simulations.
    """
    marker = read_simulator(ehr)
    if cxr and marker != read_simulator(cxr):
        raise RawDataError(
            "MIMIC-IV and MIMIC-CXR are of different origin: one is synthetic, or they come from two simulations.",
            "Both real, or both of one simulation.",
            "Check --mimic_iv and --mimic_cxr.",
        )
    return marker


def file_facts(path: Path) -> dict[str, str]:
    """Name and checksum of a file that decides what a store holds."""
    return {"name": Path(path).name, "sha256": sha256_of(Path(path))}
