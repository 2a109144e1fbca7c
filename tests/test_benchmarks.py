"""The benchmarks run, in their smallest size, and both sides of each give the same results. No time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

OWN_OPTIMISERS = (("ours", "fused"), ("loop", "default"))
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(name: str, folder: Path, *options: str) -> dict[str, Any]:
    """The JSON of one benchmark, run with --quick; its table is checked to be there."""
    out = folder / f"{name}.json"
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick", "--cache", str(folder), "--json", str(out)]
    done = subprocess.run([*command, *options], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok " in done.stdout and "FAILED" not in done.stdout
    result = json.loads(out.read_text())
    assert result["benchmark"] == name
    assert result["checks"] and all(result["checks"].values())
    assert result["machine"]["cores"] >= 1 and result["versions"]["cardiozoo"]
    return result


def ratio_of(case: dict[str, Any], numerator: str, denominator: str) -> float:
    times = case.get("seconds") or case["batches_per_second"]
    return times[numerator]["median"] / times[denominator]["median"]


def test_prepare_beside_pandas(tmp_path: Path):
    pytest.importorskip("pandas", reason="the baseline is pandas, which cardiozoo itself does not need")
    result = run("prepare", tmp_path)
    assert len(result["checks"]) == 3
    assert result["rows"]["chartevents"] > 10_000 and result["rows"]["labevents"] > 1000
    sides, rows = result["sides"], sum(result["rows"].values())
    assert set(sides) == {"prepare", "events", "pandas"}
    for side in sides.values():
        assert side["rows_per_second"] == pytest.approx(rows / side["seconds"]["median"])
        assert 0.01 < side["peak_gb"] < 100
    expected = sides["pandas"]["seconds"]["median"] / sides["events"]["seconds"]["median"]
    assert result["ratio"]["events"] == pytest.approx(expected)


def test_prepare_of_ecgs_beside_wfdb(tmp_path: Path):
    result = run("prepare_ecg", tmp_path, "--workers", "1")
    (case,) = result["cases"]
    assert case["workers"] == 1 and 10 < result["records"] < 60
    assert case["ratio"] == pytest.approx(ratio_of(case, "wfdb", "prepare"))
    speed, hours = case["records_per_second"]["prepare"], case["all_records_hours"]["prepare"]
    assert speed * hours * 3600 == pytest.approx(800_035)
    # 12 leads of 5000 samples at two bytes, and what is known of them
    assert 96.0 < case["all_records_gb"]["prepare"] < 99.0


def test_loader_beside_a_plain_dataset(tmp_path: Path, mini_store: Path):
    result = run("loader", tmp_path, "--store", str(mini_store), "--batch-size", "4")
    assert [case["workers"] for case in result["cases"]] == [0, 2]
    for case in result["cases"]:
        assert case["ratio"] == pytest.approx(ratio_of(case, "store", "plain"))
    assert result["cohort"]["with_radiograph"] > 0


def test_ecg_loader_beside_wfdb(tmp_path: Path):
    result = run("ecg_loader", tmp_path)
    assert [(case["recipe"], case["workers"]) for case in result["cases"]] == [
        ("millivolt", 0),
        ("millivolt", 2),
        ("recipe", 0),
    ]
    for case in result["cases"]:
        speeds = case["records_per_second"]
        assert case["ratio"] == pytest.approx(speeds["store"]["median"] / speeds["plain"]["median"])


def test_missing_radiographs_beside_black_images(tmp_path: Path):
    result = run("missing_cxr", tmp_path)
    assert [case["model"] for case in result["cases"]] == ["drfuse", "medfuse"]
    for case in result["cases"]:
        assert (case["present"], case["batch_size"]) == (3, 16)
        assert case["ratio"] == pytest.approx(ratio_of(case, "black", "present"))
        assert min(case["peak_gb"].values()) > 0.01


def test_steps_of_ls_emvae_beside_a_loop_over_leads(tmp_path: Path):
    result = run("ls_emvae_step", tmp_path)
    assert len(result["checks"]) == 2
    for case in result["cases"]:
        medians = {side: {part: s["median"] for part, s in parts.items()} for side, parts in case["seconds"].items()}
        ours, loop = (medians[side]["gradients"] + medians[side][kind] for side, kind in OWN_OPTIMISERS)
        assert case["ratio"] == pytest.approx(loop / ours)
        assert case["gflops"]["ours"] < case["gflops"]["loop"]
        assert min(case["peak_gb"].values()) > 0.01


def test_frozen_encoder_with_cache_beside_without(tmp_path: Path):
    result = run("finetune_cache", tmp_path)
    seconds, ratio = result["seconds"], result["ratio"]
    assert set(seconds) == {"without", "first", "again"} and result["largest_difference"] <= 1e-6
    assert ratio["again"] == pytest.approx(seconds["without"]["median"] / seconds["again"]["median"])
    assert result["records"]["train"] > result["records"]["val"] > 0


def test_start_of_commands(tmp_path: Path):
    result = run("startup", tmp_path)
    assert "cardiozoo list" in result["seconds"] and "cardiozoo --help" in result["within_budget"]
    assert result["ratio"]['python -c "import torch"'] == 1


def test_a_baseline_that_differs_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The comparison of `prepare` is not satisfied by arrays of another value, time or number."""
    import numpy as np

    monkeypatch.syspath_prepend(BENCHMARKS)
    from prepare import ARRAYS, compare_events

    def write(side: str, **changed: np.ndarray) -> None:
        arrays = {"offsets": [0, 1, 3], "seconds": [5, 5, 9], "variable": [8, 8, 8], "value": [80.0, 70.0, 60.0]}
        (tmp_path / side).mkdir(parents=True, exist_ok=True)
        for name in ARRAYS:
            np.save(tmp_path / side / f"{name}.npy", np.array(changed.get(name, arrays[name])))

    for side in ("events", "pandas", "prepare/events"):
        write(side)
    assert list(compare_events(tmp_path).values()) == [True, True, True]
    write("pandas", value=np.array([80.0, 70.0, 60.5]))
    assert list(compare_events(tmp_path).values()) == [True, False, True]
    write("pandas", offsets=np.array([0, 2, 3]))
    assert list(compare_events(tmp_path).values()) == [False, False, True]
    write("pandas")
    write("prepare/events", seconds=np.array([5, 5, 8]))
    assert list(compare_events(tmp_path).values()) == [True, True, False]
