"""The three ECG data modules on small stores: values, masks, windows, tasks, folds, and what they refuse."""

from __future__ import annotations

import json
import math
import pickle
import shutil
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import polars as pl
import pytest
import torch
from ecg_store import (
    CONSTANT_II,
    EDGE_GAP,
    GAPS,
    NO_V1,
    SHORT,
    STATEMENTS,
    VALID,
    cohort_store,
    mimic_store,
    ptb_store,
    table,
    write_store,
)

from cardiozoo.data.ecg import LEADS
from cardiozoo.data.ecg_cohort import EcgCohort
from cardiozoo.data.ecg_datamodule import EcgDataModule
from cardiozoo.data.mimic_iv_ecg import MimicIvEcg
from cardiozoo.data.ptb_xl import PtbXl
from cardiozoo.data.store import Store
from cardiozoo.errors import OptionError, StoreError

PLAIN: dict[str, Any] = {"highpass": None, "powerline": None, "standardise": "none", "num_workers": 0}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("ecg")
    return {
        "mimic": mimic_store(folder / "mimic"),
        "cohort": cohort_store(folder / "cohort"),
        "ptb": ptb_store(folder / "ptb"),
    }


def everything(data: EcgDataModule) -> dict[str, dict[str, Any]]:
    """id -> its row in the batches of all splits, as they are evaluated."""
    found: dict[str, dict[str, Any]] = {}
    for split in ("train", "val", "test"):
        if not len(data.samples.rows_of(split)):
            continue
        for batch in data.evaluation_dataloader(split):
            for i, name in enumerate(batch["id"]):
                assert name not in found
                row = {key: batch[key][i] for key in ("patient", "ecg", "ecg_leads", "target") if key in batch}
                row |= {"split": split, "present": bool(batch["present"]["ecg"][i]), "sex": batch["groups"]["sex"][i]}
                found[name] = row | {"age": float(batch["groups"]["age"][i])}
    return found


# ---- what a batch holds ----


def test_a_batch_holds_the_samples_of_the_store_in_millivolts(stores: dict[str, Path]) -> None:
    store = Store.open(stores["mimic"])
    rows = everything(MimicIvEcg(str(stores["mimic"]), **PLAIN))
    records = store.table("records.parquet")
    assert sorted(rows) == records["id"].to_list()
    raw, gain = store.array("signals.npy"), store.array("gain.npy")
    for record in records.iter_rows(named=True):
        got, n = rows[record["id"]], record["samples"]
        assert got["split"] == record["split"] and got["patient"] == record["patient"]
        assert got["age"] == pytest.approx(record["age"]) and got["sex"] == (record["sex"] or "unknown")
        exact = np.asarray(raw[record["row"]], dtype=np.float64) / gain[record["row"]][:, None]
        if record["row"] in (GAPS, EDGE_GAP, NO_V1):
            continue
        assert torch.equal(got["ecg"][:, :n], torch.from_numpy(exact[:, :n].astype(np.float32)))
        assert not got["ecg"][:, n:].any() and got["ecg_leads"].all() and got["present"]
    assert math.isnan(rows["r0005"]["age"]) is False and rows["r0005"]["sex"] == "unknown"


def test_gaps_absent_leads_and_padding(stores: dict[str, Path]) -> None:
    rows = everything(MimicIvEcg(str(stores["mimic"]), **PLAIN))
    raw = Store.open(stores["mimic"]).array("signals.npy") / 200.0
    gap = rows[f"r{GAPS:04d}"]["ecg"][1].numpy()
    assert np.allclose(gap[249:501], np.linspace(raw[GAPS, 1, 249], raw[GAPS, 1, 500], 252), atol=1e-5)
    edge = rows[f"r{EDGE_GAP:04d}"]["ecg"][4].numpy()
    first, last = np.float32(raw[EDGE_GAP, 4, 9]), np.float32(raw[EDGE_GAP, 4, -6])
    assert (edge[:10] == first).all() and (edge[-5:] == last).all()
    lead_off = rows[f"r{NO_V1:04d}"]
    assert lead_off["ecg_leads"].tolist() == [lead != "V1" for lead in LEADS] and not lead_off["ecg"][6].any()
    assert not rows[f"r{SHORT:04d}"]["ecg"][:, int(VALID * 1000) :].any()


def test_the_published_recipe_scales_each_lead_over_its_own_samples(stores: dict[str, Path]) -> None:
    data = MimicIvEcg(str(stores["mimic"]), num_workers=0)
    rows = everything(data)
    constant = rows[f"r{CONSTANT_II:04d}"]
    assert constant["ecg_leads"].tolist() == [lead != "II" for lead in LEADS] and not constant["ecg"][1].any()
    for name, row in rows.items():
        n = int(VALID * 1000) if name == f"r{SHORT:04d}" else 1000
        shown = row["ecg"][row["ecg_leads"], :n]
        assert torch.allclose(shown.mean(-1), torch.zeros(len(shown)), atol=1e-4)
        assert torch.allclose(shown.std(-1), torch.ones(len(shown)), atol=1e-4)
        assert not row["ecg"][:, n:].any()
    said = data.cohort_summary()["processing"]
    assert said["unit"] == "none, standardised from mV" and said["rows"].startswith(
        f"12, in the order {' '.join(LEADS)}"
    )
    assert said["left_out_of_the_store"] == "none"
    assert "0.5 Hz" in said["highpass"] and "50 Hz" in said["powerline"] and "each lead" in said["standardisation"]


@pytest.mark.parametrize("leads", ["limb", "chest", "II", ["v5", "Lead I", "aVF"]])
def test_leads_are_chosen_by_name_and_the_others_are_absent(stores: dict[str, Path], leads: Any) -> None:
    everyone = everything(MimicIvEcg(str(stores["mimic"]), num_workers=0))
    data = MimicIvEcg(str(stores["mimic"]), leads=leads, num_workers=0)
    shown = [lead in data.ecg_leads for lead in LEADS]
    for name, row in everything(data).items():
        assert row["ecg"].shape == (12, 1000)
        expected = everyone[name]["ecg_leads"] & torch.tensor(shown)
        assert torch.equal(row["ecg_leads"], expected) and not row["ecg"][~expected].any()
        assert torch.allclose(row["ecg"][expected], everyone[name]["ecg"][expected], atol=1e-5)
        assert row["present"] == bool(expected.any())


def test_records_without_any_chosen_lead_are_left_out_and_counted(stores: dict[str, Path]) -> None:
    data = MimicIvEcg(str(stores["mimic"]), leads="V1", num_workers=0)
    assert len(data.samples) == 39
    assert data.cohort_summary()["excluded"] == {"none of the leads V1": 1}


# ---- scale of the training records ----


@pytest.mark.parametrize("per_lead", [False, True])
def test_the_scale_of_the_training_records_is_fitted_on_them_alone_and_kept(
    stores: dict[str, Path], tmp_path: Path, per_lead: bool
) -> None:
    store = shutil.copytree(stores["ptb"], tmp_path / "ptb")
    option = "train_lead" if per_lead else "train"
    data = PtbXl(str(store), standardise=option, num_workers=0)
    data.prepare_data()
    rows = everything(PtbXl(str(store), standardise="none", num_workers=0))
    shown = [(row["ecg"].double(), row["ecg_leads"], name) for name, row in rows.items() if row["split"] == "train"]
    values: list[list[torch.Tensor]] = [[] for _ in LEADS]
    for ecg, leads, name in shown:
        n = int(VALID * 250) if name == f"r{SHORT:04d}" else 250
        for lead in torch.nonzero(leads).flatten().tolist():
            values[lead].append(ecg[lead, :n])
    pooled = [torch.cat(v) for v in values]
    if not per_lead:
        pooled = [torch.cat(pooled)] * 12
    assert data.scale is not None
    assert np.allclose(data.scale.mean, [float(v.mean()) for v in pooled], atol=1e-7)
    assert np.allclose(data.scale.sd, [float(v.std(correction=0)) for v in pooled], rtol=1e-6)
    for name, row in everything(data).items():
        n = int(VALID * 250) if name == f"r{SHORT:04d}" else 250
        mean, sd = (torch.tensor(v, dtype=torch.float32)[:, None] for v in (data.scale.mean, data.scale.sd))
        expected = torch.where(row["ecg_leads"][:, None], (rows[name]["ecg"] - mean) / sd, 0.0)[:, :n]
        assert torch.allclose(row["ecg"][:, :n], expected, atol=1e-5) and not row["ecg"][:, n:].any()
    kept = list((store / "statistics").iterdir())
    assert len(kept) == 1
    content = json.loads(kept[0].read_text())
    kept[0].write_text(json.dumps({**content, "mean": dict.fromkeys(LEADS, 0.25)}))
    again = PtbXl(str(store), standardise=option, num_workers=0)
    again.setup()
    assert again.scale is not None and (again.scale.mean == 0.25).all()  # read, not fitted
    for other in ({"task": "form"}, {"leads": "limb"}, {"rate": 50.0}, {"highpass": 0.5}):
        changed = PtbXl(str(store), standardise=option, num_workers=0, **other)
        changed.setup()
        assert changed.scale is not None and not (changed.scale.mean == 0.25).any()
    kept[0].write_text("{")
    again = PtbXl(str(store), standardise=option, num_workers=0)
    again.setup()
    assert again.scale is not None and np.array_equal(again.scale.mean, data.scale.mean)


def test_a_lead_that_no_training_record_has_gives_no_scale(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", "mimic_iv_ecg", table(6, 100, 100.0), 100.0, 100)
    states = np.load(store / "states.npy")
    states[:, 3] = 2
    np.save(store / "states.npy", states)
    data = MimicIvEcg(str(store), standardise="train_lead", highpass=None, powerline=None, num_workers=0)
    with pytest.raises(OptionError, match="aVR"):
        data.prepare_data()
    MimicIvEcg(str(store), standardise="train", highpass=None, powerline=None, num_workers=0).prepare_data()


# ---- windows ----


def test_every_offset_of_a_window_is_drawn_and_each_follows_from_seed_epoch_and_sample(stores: dict[str, Path]) -> None:
    options = {**PLAIN, "window": 0.99, "batch_size": 8}
    whole = everything(PtbXl(str(stores["ptb"]), **{**PLAIN, "task": "all"}))
    data = PtbXl(str(stores["ptb"]), task="all", window=2.47, batch_size=8, **PLAIN)
    assert data.ecg_samples == 247 and data.record_samples == 250 and data.spec.shapes == {"ecg": (12, None)}
    training, drawn = data.train_dataloader(), set()
    for _ in range(6):
        for batch in training:
            assert batch["ecg"].shape[1:] == (12, 247)
            for name, ecg in zip(batch["id"], batch["ecg"], strict=True):
                if name == f"r{SHORT:04d}":
                    assert torch.equal(ecg[:, :175], whole[name]["ecg"][:, :175])
                    continue
                found = [k for k in range(4) if torch.equal(ecg, whole[name]["ecg"][:, k : k + 247])]
                assert len(found) == 1
                drawn.add(found[0])
    assert drawn == {0, 1, 2, 3}
    first, second = (MimicIvEcg(str(stores["mimic"]), **options).train_dataloader() for _ in range(2))
    for _ in range(2):
        for a, b in zip(first, second, strict=True):
            assert a["id"] == b["id"] and torch.equal(a["ecg"], b["ecg"])
    other = next(iter(MimicIvEcg(str(stores["mimic"]), seed=1, **options).train_dataloader()))
    assert other["id"] != next(iter(MimicIvEcg(str(stores["mimic"]), **options).train_dataloader()))["id"]


def test_evaluation_sees_the_whole_record_or_its_middle(stores: dict[str, Path]) -> None:
    whole = everything(MimicIvEcg(str(stores["mimic"]), **PLAIN))
    full = everything(MimicIvEcg(str(stores["mimic"]), window=0.5, **PLAIN))
    assert all(torch.equal(full[name]["ecg"], row["ecg"]) for name, row in whole.items())
    data = MimicIvEcg(str(stores["mimic"]), window=0.5, eval_window="center", **PLAIN)
    assert data.spec.shapes == {"ecg": (12, 250)}
    for name, row in everything(data).items():
        n = 700 if name == f"r{SHORT:04d}" else 1000
        first = (n - 250) // 2
        assert torch.equal(row["ecg"], whole[name]["ecg"][:, first : first + 250])


def test_a_lower_rate(stores: dict[str, Path]) -> None:
    data = MimicIvEcg(str(stores["mimic"]), rate=100.0, **PLAIN)
    assert (data.ecg_rate, data.ecg_samples) == (100.0, 200)
    row = everything(data)["r0010"]["ecg"]
    fast = everything(MimicIvEcg(str(stores["mimic"]), **PLAIN))["r0010"]["ecg"]
    assert row.shape == (12, 200) and float((row - fast[:, ::5]).abs().mean()) < 0.05


# ---- tasks ----


def test_mimic_targets_come_from_columns_and_missing_ones_are_counted(stores: dict[str, Path]) -> None:
    data = MimicIvEcg(str(stores["mimic"]), task="RR_Interval", num_workers=0)
    assert (data.task_kind, data.class_names, data.monitor, data.monitor_mode) == (
        "regression",
        ["rr_interval"],
        "val/rmse",
        "min",
    )
    assert data.samples.excluded == {"no value of rr_interval": 1}
    records = data.records.drop_nulls("target/rr_interval")
    training = records.filter(pl.col("split") == "train")["target/rr_interval"].to_numpy()
    assert data.target_mean == pytest.approx([training.mean()]) and data.target_std == pytest.approx([training.std()])
    rows = everything(data)
    for record in records.iter_rows(named=True):
        assert float(rows[record["id"]]["target"][0]) == pytest.approx(record["target/rr_interval"], rel=1e-6)
    sex = MimicIvEcg(str(stores["mimic"]), task="sex", num_workers=0)
    assert sex.class_names == ["female"] and sex.samples.excluded == {"no value of female": 1}
    assert all(float(row["target"][0]) == (row["sex"] == "F") for row in everything(sex).values())
    slow = MimicIvEcg(str(stores["mimic"]), task="rr_interval", threshold=800, where="Sex = F and age >= 40")
    assert slow.task_kind == "binary"
    chosen = records.filter((pl.col("sex") == "F") & (pl.col("age") >= 40))
    assert len(slow.samples) == chosen.height
    assert slow.samples.target[:, 0].tolist() == (chosen["target/rr_interval"] > 800).cast(float).to_list()
    assert MimicIvEcg(str(stores["mimic"]), task="age").task_kind == "regression"


def test_reconstruction_has_no_target(stores: dict[str, Path]) -> None:
    for data in (MimicIvEcg(str(stores["mimic"]), num_workers=0), EcgCohort(str(stores["cohort"]), "reconstruction")):
        assert (data.num_classes, data.class_names, data.task_kind) == (0, [], "unsupervised")
        assert (data.monitor, data.monitor_mode, data.target_mean) == ("val/loss", "min", None)
        data.num_workers = 0
        assert "target" not in next(iter(data.train_dataloader()))
    older = MimicIvEcg(str(stores["mimic"]), where="age > 50")
    assert len(older.samples) == (older.records["age"] > 50).sum() < 40


def test_haemodynamic_tasks_with_a_wedge_pressure_under_any_of_its_names(stores: dict[str, Path]) -> None:
    records = Store.open(stores["cohort"]).table("records.parquet")
    ph = EcgCohort(str(stores["cohort"]), num_workers=0)
    assert ph.class_names == ["pulmonary hypertension"] and ph.samples.excluded == {"no value of mPAP": 1}
    truth = {row["id"]: row for row in records.iter_rows(named=True)}
    for name, row in everything(ph).items():
        assert float(row["target"][0]) == (truth[name]["target/mPAP"] > 20)
    capillary = EcgCohort(str(stores["cohort"]), task="capillary", num_workers=0)
    assert capillary.class_names == ["post-capillary"]
    rows = everything(capillary)
    among = {n: r for n, r in truth.items() if r["target/mPAP"] is not None and r["target/mPAP"] > 20}
    wedge = {n: r["target/PAWP"] if r["target/PAWP"] is not None else r["target/mPCWP"] for n, r in among.items()}
    assert {n: v for n, v in wedge.items() if v is not None}.keys() == rows.keys()
    assert any(truth[n]["target/PAWP"] is None for n in rows)  # one that only mPCWP tells
    assert all(float(row["target"][0]) == (wedge[name] > 15) for name, row in rows.items())
    lost = capillary.samples.excluded
    assert sum(lost.values()) + len(rows) == 60 and lost["no value for the condition mPAP > 20"] == 1
    summary = capillary.cohort_summary()
    assert summary["target_columns"] == ["PAWP", "mPCWP"] and summary["where"] == "mPAP > 20"
    raised = sum(value > 15 for name, value in wedge.items() if name in rows)
    assert sum(summary["samples_per_class"]["post-capillary"].values()) == raised


def test_any_column_as_number_label_or_text(stores: dict[str, Path]) -> None:
    store = str(stores["cohort"])
    number = EcgCohort(store, "column", target="MPAP", num_workers=0)
    assert number.task_kind == "regression" and number.class_names == ["mPAP"] and number.target_mean is not None
    assert EcgCohort(store, "column", target="mPAP", threshold=25).class_names == ["mPAP > 25"]
    assert EcgCohort(store, "column", target="died").task_kind == "binary"
    text = EcgCohort(store, "column", target="Cause", num_workers=0)
    assert (text.task_kind, text.class_names) == ("multiclass", ["left", "lung", "none"])
    batch = next(iter(text.train_dataloader()))
    assert batch["target"].dtype == torch.int64
    causes = dict(zip(text.records["id"], text.records["target/cause"], strict=True))
    assert [text.class_names[code] for code in batch["target"]] == [causes[name] for name in batch["id"]]


@pytest.mark.parametrize("task", ["superclass", "subclass", "diagnostic", "form", "rhythm", "all"])
def test_ptb_xl_labels_count_whatever_the_likelihood(stores: dict[str, Path], task: str) -> None:
    data = PtbXl(str(stores["ptb"]), task=task, num_workers=0)  # type: ignore[arg-type]
    place = {"superclass": 3, "subclass": 4}
    kind = {"superclass": 0, "subclass": 0, "diagnostic": 0, "form": 1, "rhythm": 2}
    codes = [code for code, facts in STATEMENTS.items() if task == "all" or facts[kind[task]]]
    classes = sorted({STATEMENTS[code][place[task]] if task in place else code for code in codes})
    assert data.class_names == classes and data.task_kind == "multilabel"
    rows, unlabelled = everything(data), 0
    for record in data.records.iter_rows(named=True):
        stated = [code for code in codes if record[f"scp/{code}"] is not None]
        labels = {STATEMENTS[code][place[task]] if task in place else code for code in stated}
        unlabelled += not labels
        assert (record["id"] in rows) == bool(labels)
        if labels:
            assert {classes[c] for c in torch.nonzero(rows[record["id"]]["target"]).flatten().tolist()} == labels
    assert data.samples.excluded.get(f"no {task} statement", 0) == unlabelled
    kept = PtbXl(str(stores["ptb"]), task=task, unlabelled="keep")  # type: ignore[arg-type]
    assert len(kept.samples) == 40


def test_ptb_xl_with_a_least_likelihood(stores: dict[str, Path]) -> None:
    data = PtbXl(str(stores["ptb"]), task="diagnostic", min_likelihood=50, num_workers=0)
    rows = everything(data)
    for record in data.records.iter_rows(named=True):
        likely = [c for c in ("AMI", "IMI", "NDT", "NORM") if (record[f"scp/{c}"] or 0) >= 50]
        assert (record["id"] in rows) == bool(likely)
        if likely:
            assert rows[record["id"]]["target"].tolist() == [float(c in likely) for c in data.class_names]


# ---- folds, patients, validation ----


def test_each_patient_is_tested_once_in_folds_with_like_shares(stores: dict[str, Path]) -> None:
    tested: dict[str, int] = {}
    shares = []
    for fold in range(3):
        data = EcgCohort(str(stores["cohort"]), "capillary", folds=3, fold=fold, num_workers=0)
        rows = everything(data)
        assert {row["split"] for row in rows.values()} == {"train", "test"} and not data.has_validation
        assert data.val_dataloader() == [] and data.monitor == "val/auroc"
        in_test = {row["patient"] for row in rows.values() if row["split"] == "test"}
        assert not in_test & {row["patient"] for row in rows.values() if row["split"] == "train"}
        for name, row in rows.items():
            if row["split"] == "test":
                assert tested.setdefault(name, fold) == fold
        shares.append(np.mean([float(row["target"][0]) for row in rows.values() if row["split"] == "test"]))
    assert len(tested) == len(rows) and max(shares) - min(shares) < 0.2
    seeded = EcgCohort(str(stores["cohort"]), "capillary", folds=3, fold_seed=1)
    same = EcgCohort(str(stores["cohort"]), "capillary", folds=3, seed=99, standardise="none", leads="limb")
    first = EcgCohort(str(stores["cohort"]), "capillary", folds=3)
    assert np.array_equal(first.samples.split, same.samples.split)
    assert not np.array_equal(first.samples.split, seeded.samples.split)


def test_a_share_of_the_training_patients_is_set_aside(stores: dict[str, Path]) -> None:
    without = EcgCohort(str(stores["cohort"]), folds=3)
    data = EcgCohort(str(stores["cohort"]), folds=3, val_fraction=0.25, num_workers=0)
    assert np.array_equal(without.samples.split == 2, data.samples.split == 2)
    rows = everything(data)
    patients = {s: {r["patient"] for r in rows.values() if r["split"] == s} for s in ("train", "val", "test")}
    assert not patients["train"] & patients["val"]
    assert len(patients["val"]) == round(0.25 * (len(patients["val"]) + len(patients["train"])))
    share = {s: np.mean([float(r["target"][0]) for r in rows.values() if r["split"] == s]) for s in ("train", "val")}
    assert abs(share["train"] - share["val"]) < 0.15


def test_fewer_training_patients_are_some_of_the_more_with_like_shares(stores: dict[str, Path]) -> None:
    before: set[str] = set()
    for number in (4, 8, 16, 30):
        data = EcgCohort(str(stores["cohort"]), train_patients=number)
        training = data.samples.rows_of("train")
        patients = set(data.records["patient"].to_numpy()[data.samples.row[training]].tolist())
        assert len(patients) == number and before < patients
        before = patients
        share = data.samples.target[training].mean()
        assert abs(share - 0.8) < 0.2
        whole = EcgCohort(str(stores["cohort"])).samples
        lost = data.samples.excluded["training patient beyond train_patients"]
        assert len(data.samples) + lost == len(whole)
        assert len(data.samples.rows_of("test")) == len(whole.rows_of("test"))
    folded = EcgCohort(str(stores["cohort"]), folds=3, fold=1, train_patients=9, val_fraction=0.2)
    assert len(set(folded.records["patient"].to_numpy()[folded.samples.row[folded.samples.rows_of("train")]])) == 9


def test_ten_folds_of_ptb_xl_are_the_publishers_own(stores: dict[str, Path]) -> None:
    for fold in (0, 9):
        data = PtbXl(str(stores["ptb"]), task="all", folds=10, fold=fold)
        mine = data.records["fold"].to_numpy()[data.samples.row] == fold + 1
        assert np.array_equal(data.samples.split == 2, mine) and mine.any()


def test_the_folds_of_a_table_are_used_where_as_many_are_asked_for(tmp_path: Path) -> None:
    records = table(40, 100, 100.0).with_columns(pl.Series("target/mPAP", [15.0, 30.0] * 20))
    fold = records["patient"].str.slice(1).cast(pl.Int64) % 4 * 2 + 3  # 3, 5, 7 and 9
    records = records.with_columns(fold.cast(pl.Int8).alias("fold"))
    store = write_store(tmp_path / "s", "ecg_cohort", records, 100.0, 100)
    plain: dict[str, Any] = {"highpass": None, "powerline": None}
    for number in range(4):
        data = EcgCohort(str(store), folds=4, fold=number, **plain)
        mine = data.records["fold"].to_numpy()[data.samples.row] == 3 + 2 * number
        assert np.array_equal(data.samples.split == 2, mine) and mine.any()
        said = data.cohort_summary()["processing"]["split"]
        assert said == f"fold {number} of 4, the data's own number {3 + 2 * number}"
    drawn = EcgCohort(str(store), folds=3, **plain)
    said = drawn.cohort_summary()["processing"]["split"]
    assert said == "fold 0 of 3, seed 42, the data's own folds not used"


# ---- features, loading, resuming ----


def test_attached_features_stand_in_for_the_signals_which_are_not_read(stores: dict[str, Path], tmp_path: Path) -> None:
    store = shutil.copytree(stores["cohort"], tmp_path / "s")
    data = EcgCohort(str(store), leads="limb", folds=3, val_fraction=0.2, num_workers=2)
    plain = {s: list(data.evaluation_dataloader(s)) for s in ("train", "val", "test")}
    vectors = {n: np.full(5, i, np.float64) for i, n in enumerate(data.records["id"])}
    data.attach_features(vectors)
    data.store = Store.open(store)
    (store / "signals.npy").unlink()
    for split in ("train", "val", "test"):
        for batch, before in zip(data.evaluation_dataloader(split), plain[split], strict=True):
            assert "ecg" not in batch and batch["features"].dtype == torch.float32
            assert batch["features"][:, 2].tolist() == [float(vectors[n][0]) for n in batch["id"]]
            assert torch.equal(batch["target"], before["target"]) and batch["id"] == before["id"]
            assert not batch["ecg_leads"][:, 6:].any() and batch["present"]["ecg"].all()
    assert next(iter(data.train_dataloader()))["features"].shape[1] == 5
    data.attach_features({"r0001": np.zeros(5)})
    with pytest.raises(OptionError, match="no features of"):
        data.train_dataloader()


def test_workers_give_the_batches_of_one_process(stores: dict[str, Path]) -> None:
    options: dict[str, Any] = {"window": 0.6, "batch_size": 6, "rate": 250.0}
    one = list(MimicIvEcg(str(stores["mimic"]), num_workers=0, **options).train_dataloader())
    two = list(MimicIvEcg(str(stores["mimic"]), num_workers=2, **options).train_dataloader())
    assert [b["id"] for b in one] == [b["id"] for b in two]
    assert all(torch.equal(a["ecg"], b["ecg"]) for a, b in zip(one, two, strict=True))
    dataset = MimicIvEcg(str(stores["mimic"]), num_workers=0, **options).train_dataloader().dataset
    assert len(pickle.dumps(dataset)) < 100_000  # no signal travels to a worker
    assert len(dataset[(0, 3)]["id"]) == 1  # type: ignore[index]


class Mean(L.LightningModule):
    """Learns the mean of the ECG; needs neither a target nor a validation split."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.nn.Parameter(torch.zeros(12, 1))
        self.seen: list[str] = []

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        self.seen += batch["id"]
        return (batch["ecg"] - self.mean).square().mean()

    def validation_step(self, batch: Any, index: int) -> None: ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize("validation", [0.0, 0.2])
def test_a_trainer_runs_with_and_without_validation(stores: dict[str, Path], tmp_path: Path, validation: float) -> None:
    data = EcgCohort(str(stores["cohort"]), "reconstruction", folds=3, val_fraction=validation, num_workers=0)
    model = Mean()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    quiet |= {"enable_model_summary": False, "default_root_dir": tmp_path}
    L.Trainer(max_epochs=2, limit_train_batches=1, **quiet).fit(model, datamodule=data)
    assert len(model.seen) == 64 and model.mean.abs().sum() > 0 and data.has_validation == (validation > 0)


# ---- what is refused ----


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"leads": "V7"}, "V7"),
        ({"rate": 1000.0}, "at most|At most 500"),
        ({"rate": -1.0}, "rate is -1"),
        ({"window": 30.0}, "window is 30"),
        ({"window": 0.001}, "two samples"),
        ({"highpass": 250.0}, "Below 250 Hz"),
        ({"highpass": 0.0}, "highpass is 0"),
        ({"powerline": 16.7}, "50, 60"),
        ({"standardise": "median"}, "lead, train"),
        ({"eval_window": "middle"}, "full, center"),
        ({"clip": 0.0}, "clip is 0"),
        ({"fold": 1}, "folds is not given"),
        ({"val_fraction": 0.1}, "folds is not given"),
        ({"folds": 1}, "At least 2"),
        ({"folds": 5, "fold": 5}, "0 ... 4"),
        ({"folds": 5, "val_fraction": 1.0}, "share of the training patients"),
        ({"train_patients": 0}, "At least 1"),
        ({"train_patients": 500}, "1 to 32"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"predict_split": "all"}, "predict_split"),
        ({"folds": 50}, "folds is 50"),
        ({"train_patients": 1}, "absent"),
        ({"where": "mPAP"}, "no comparison"),
        ({"where": "mPAP > high"}, "holds numbers"),
        ({"where": "cause > 3"}, "holds text, for instance"),
        ({"where": "weight > 3"}, "mPAP, PAWP, mPCWP, cause, died, age, sex"),
        ({"where": "mPAP > 20"}, "one value"),
        ({"where": "mPAP > 99"}, "no record for ph_detection"),
        ({"task": "mPAP"}, "--data.task column --data.target mPAP"),
        ({"target": "mPAP"}, "task is ph_detection"),
        ({"task": "column"}, "target is not given"),
        ({"task": "column", "target": "weight"}, "no column 'weight'"),
        ({"task": "column", "target": "cause", "threshold": 1.0}, "compared with 1 and holds text"),
    ],
)
def test_wrong_options_stop_before_any_work(stores: dict[str, Path], options: dict[str, Any], words: str) -> None:
    with pytest.raises((OptionError, StoreError), match=words) as caught:
        EcgCohort(str(stores["cohort"]), **options)
    assert caught.value.accepted and caught.value.next_step


def test_a_fold_without_a_class_is_refused(tmp_path: Path) -> None:
    records = table(30, 100, 100.0).with_columns(pl.Series("target/rare", [1.0, 1.0, *[0.0] * 28]))
    store = write_store(tmp_path / "s", "ecg_cohort", records, 100.0, 100)
    plain: dict[str, Any] = {"task": "column", "target": "rare", "highpass": None, "powerline": None}
    with pytest.raises(OptionError, match=r"No sample with rare present is in the (test|training) part of fold"):
        for fold in range(5):
            EcgCohort(str(store), folds=5, fold=fold, **plain)


def test_ptb_xl_says_how_to_prepare_one_and_refuses_what_has_no_meaning(stores: dict[str, Path]) -> None:
    with pytest.raises(StoreError, match="cardiozoo prepare ptb_xl"):
        PtbXl()
    for options in ({"task": "axis"}, {"unlabelled": "zero"}, {"task": "form", "min_likelihood": 50.0}):
        with pytest.raises(OptionError):
            PtbXl(str(stores["ptb"]), **options)
    with pytest.raises(StoreError, match="store of 'ptb_xl'"):
        MimicIvEcg(str(stores["ptb"]))
    for task in ("reconstruction", "sex"):
        with pytest.raises(OptionError, match="threshold is 3"):
            MimicIvEcg(str(stores["mimic"]), task=task, threshold=3.0)


def test_a_store_of_another_form_or_with_torn_patients_is_refused(stores: dict[str, Path], tmp_path: Path) -> None:
    bad = shutil.copytree(stores["mimic"], tmp_path / "bad")
    manifest = json.loads((bad / "manifest.json").read_text())
    for ecg in (None, {"rate": 500}, {"rate": 500, "samples": 999}, {"rate": 500, "samples": 1000, "leads": ["I"]}):
        (bad / "manifest.json").write_text(json.dumps({**manifest, "ecg": ecg}))
        with pytest.raises(StoreError, match="cardiozoo prepare mimic_iv_ecg"):
            MimicIvEcg(str(bad))
    records = table(20, 100, 100.0)
    torn = records.with_columns(pl.when(pl.col("row") == 1).then(pl.lit("test")).otherwise("split").alias("split"))
    torn = torn.with_columns(pl.lit("p0").alias("patient"))
    with pytest.raises(StoreError, match="1 patients are in more than one split"):
        MimicIvEcg(str(write_store(tmp_path / "torn", "mimic_iv_ecg", torn, 100.0, 100)))
    odd = records.with_columns(pl.lit("dev").alias("split"))
    with pytest.raises(StoreError, match="dev"):
        MimicIvEcg(str(write_store(tmp_path / "odd", "mimic_iv_ecg", odd, 100.0, 100)))


def test_without_a_test_split_there_is_no_loader_and_predict_says_so(tmp_path: Path) -> None:
    records = table(20, 100, 100.0).with_columns(pl.col("split").replace("test", "val"))
    data = MimicIvEcg(str(write_store(tmp_path / "s", "mimic_iv_ecg", records, 100.0, 100)), powerline=None)
    assert data.test_dataloader() == [] and data.has_validation
    with pytest.raises(StoreError, match="test split"):
        data.predict_dataloader()
    nobody = records.with_columns(pl.lit("val").alias("split"))
    data = MimicIvEcg(str(write_store(tmp_path / "t", "mimic_iv_ecg", nobody, 100.0, 100)), powerline=None)
    with pytest.raises(StoreError, match="train split"):
        data.setup("fit")


@pytest.mark.parametrize(
    ("module", "name"), [(EcgCohort, "ecg_cohort"), (MimicIvEcg, "mimic_iv_ecg"), (PtbXl, "ptb_xl")]
)
def test_where_there_is_no_store_the_command_that_makes_one_is_named(tmp_path: Path, module: Any, name: str) -> None:
    for place in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(StoreError) as caught:
            module(str(place))
        assert f"cardiozoo prepare {name} --help" in caught.value.next_step
