"""`cardiozoo explain` on runs made by hand, with the store's own numbers as the truth."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from made_runs import RATE, SAMPLES, write_run
from planted_model import PlantedModel

from cardiozoo.analysis.records import split_ids
from cardiozoo.cli import main
from cardiozoo.cli.trained_run import TrainedRun, require_ecg
from cardiozoo.data.ecg import LEADS
from cardiozoo.data.ecg_cohort import EcgCohort
from cardiozoo.errors import OptionError

QUICK = ["--bootstrap", "50", "--steps", "4", "--device", "cpu"]


@pytest.fixture(scope="module")
def explained(planted_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("explained")
    command = ["explain", str(planted_run), "--cohort", "6", "--pages", "2", "--sanity", "2", "--out", str(out)]
    assert main([*command, *QUICK]) == 0
    return out


def test_attributions_are_the_weights_times_the_signal(explained: Path, ecg_store_folder: Path):
    arrays = np.load(explained / "attributions.npz")
    samples = pl.read_csv(explained / "samples.csv")
    data = EcgCohort(str(ecg_store_folder), highpass=None, powerline=None, num_workers=0)
    whole = {
        name: ecg.numpy()
        for batch in data.test_dataloader()
        for name, ecg in zip(batch["id"], batch["ecg"], strict=True)
    }
    weight = PlantedModel().weight.detach().numpy()
    for i, name in enumerate(samples["id"]):
        np.testing.assert_allclose(arrays["values"][i], whole[name] * weight, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(arrays["output"], arrays["values"].sum(axis=(1, 2)), rtol=1e-3, atol=1e-3)
    assert samples["relative_delta"].max() < 1e-3 and samples["split"].unique().to_list() == ["test"]
    assert set(samples["target"]) <= {0.0, 1.0} and arrays["leads"].tolist() == list(LEADS)


def test_planted_leads_come_first(explained: Path):
    table = pl.read_csv(explained / "lead_importance.csv")
    assert table["lead"].to_list()[:2] == ["II", "V1"]
    share = dict(zip(table["lead"], table["share"], strict=True))
    values = np.load(explained / "attributions.npz")["values"]
    shares = np.abs(values).sum(axis=2) / np.abs(values).sum(axis=(1, 2))[:, None]
    assert share["II"] == pytest.approx(shares[:, 1].mean(), rel=1e-4)
    assert sum(share.values()) == pytest.approx(1, abs=1e-3) and share["V4"] == 0
    assert table["spread"].sum() == pytest.approx(1, abs=1e-3)


def test_page_and_pictures(explained: Path, planted_run: Path):
    text = (explained / "explain.html").read_text()
    samples = pl.read_csv(explained / "samples.csv")
    assert not any(name in text for name in [*samples["id"], *samples["patient"]]), "an identifier is on the page"
    assert len(list(explained.glob("sample-*.png"))) == 2 and text.count("data:image/png;base64") >= 4
    assert "SYNTHETIC" not in text and "http" not in text
    summary = json.loads((explained / "summary.json").read_text())
    assert summary["target"] == "pulmonary hypertension" and summary["records"] == 6
    assert summary["completeness"]["largest_relative_delta"] < 1e-3
    assert summary["sanity"]["stages"][-1]["share"] == 1 and summary["checkpoint"] == "checkpoints/best.ckpt"


def test_named_samples_are_all_drawn_and_waves_may_be_known(planted_run: Path, ecg_store_folder: Path, tmp_path: Path):
    data = EcgCohort(str(ecg_store_folder), num_workers=0)
    wanted = [split_ids(data, "train")[8], split_ids(data, "test")[0]]
    truth = pl.DataFrame({"id": wanted[:1], "wave": ["QRS"], "onset": [4.0], "offset": [5.0]})
    truth.write_parquet(tmp_path / "truth.parquet")
    command = ["explain", str(planted_run), "--samples", *wanted, "--truth", str(tmp_path / "truth.parquet")]
    command += ["--sanity", "0", "--baseline", "mean", "--out", str(tmp_path / "out")]
    assert main([*command, *QUICK]) == 0
    samples = pl.read_csv(tmp_path / "out" / "samples.csv")
    assert samples["id"].to_list() == wanted and samples["split"].to_list() == ["train", "test"]
    assert samples["waves_from"][0] == "known positions"
    assert len(list((tmp_path / "out").glob("sample-*.png"))) == 2
    waves = pl.read_csv(tmp_path / "out" / "waves.csv")
    own = waves.filter((pl.col("sample") == 1) & (pl.col("lead") == "II") & (pl.col("wave") == "QRS")).to_dicts()[0]
    # The weights are in the last 1.25 s of 5 s; the window is the last second.
    assert own["time_share"] == pytest.approx(0.2) and own["share"] == pytest.approx(0.8, abs=0.15)
    assert "training records" in (tmp_path / "out" / "explain.html").read_text()


def test_an_autoencoder_is_shown_at_work(vae_run: Path, tmp_path: Path):
    assert main(["explain", str(vae_run), "--cohort", "2", "--out", str(tmp_path), *QUICK]) == 0
    by_lead = pl.read_csv(tmp_path / "reconstruction_by_lead.csv")
    assert by_lead["lead"].to_list() == list(LEADS)
    errors = pl.read_csv(tmp_path / "reconstruction_errors.csv").filter(pl.col("lead") == "V3")
    assert by_lead.filter(pl.col("lead") == "V3")["mse"][0] == pytest.approx(errors["mse"].mean())
    for name in ("traversal.png", "reconstruction-0001.png", "reconstruction_errors.png", "latent_kl.csv"):
        assert (tmp_path / name).is_file(), name
    assert "attributions.npz" not in {path.name for path in tmp_path.iterdir()}


def test_without_a_test_split_validation_records_are_taken_and_it_is_said(
    vae_run: Path, store_without_test: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from cardiozoo.models.ls_emvae import LsEmvae

    run = write_run(
        tmp_path / "run", LsEmvae(ecg_samples=SAMPLES, latent_size=8, channels=(4, 4, 4)), store_without_test,
        task="reconstruction",
    )  # fmt: skip
    assert main(["explain", str(run), "--cohort", "3", *QUICK]) == 0
    said = "no test split, so records of the validation split are taken"
    assert said in capsys.readouterr().out and said in (run / "explain" / "explain.html").read_text()
    summary = json.loads((run / "explain" / "summary.json").read_text())
    assert summary["records"] == "3 of the val split" and any(said in note for note in summary["notes"])
    assert pl.read_csv(run / "explain" / "samples.csv")["split"].unique().to_list() == ["val"]
    assert main(["explain", str(run), "--cohort", "3", "--split", "test", *QUICK]) == 2
    assert "The test split has no sample" in capsys.readouterr().err
    # Where there is a test split, it is the one.
    assert main(["explain", str(vae_run), "--cohort", "2", "--out", str(tmp_path / "out"), *QUICK]) == 0
    assert said not in capsys.readouterr().out


def test_nothing_after_the_end_of_a_short_record_counts(
    planted_run: Path, ecg_store_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from cardiozoo.analysis import explain_files

    drawn = []
    monkeypatch.setattr(explain_files, "draw_ecg", lambda signal, *_, **__: drawn.append(signal))
    monkeypatch.setattr(explain_files, "save_page", lambda _, path: (path.touch(), path)[1])
    wanted = ["r0000", split_ids(EcgCohort(str(ecg_store_folder), num_workers=0), "test")[0]]
    pl.DataFrame({"id": wanted, "wave": "QRS", "onset": 2.5, "offset": 4.75}).write_parquet(tmp_path / "truth.parquet")
    command = ["explain", str(planted_run), "--samples", *wanted, "--truth", str(tmp_path / "truth.parquet")]
    command += ["--baseline", "mean", "--sanity", "1", "--out", str(tmp_path / "out")]
    assert main([*command, *QUICK]) == 0
    samples = pl.read_csv(tmp_path / "out" / "samples.csv")
    assert samples["recorded_seconds"].to_list() == [3.5, 5.0] == samples["seen_seconds"].to_list()
    # The weights look at what follows the 350th sample, where only the whole record has a signal.
    values = np.load(tmp_path / "out" / "attributions.npz")["values"]
    assert not values[0].any() and values[1, 1, 375:].any()
    waves = pl.read_csv(tmp_path / "out" / "waves.csv").filter(pl.col("lead") == "II", pl.col("time_share") > 0)
    assert waves.sort("sample", "wave")["time_share"].to_list() == pytest.approx(
        [1 / 3.5, 2.5 / 3.5, 2.25 / 5, 2.75 / 5]
    )
    windows = pl.read_csv(tmp_path / "out" / "wave_windows.csv")
    assert windows["offset"].to_list() == [3.5, 4.75]
    assert np.isnan(drawn[0][:, 350:]).all() and np.isfinite(drawn[0][:, :350]).all() and np.isfinite(drawn[1]).all()
    notes = json.loads((tmp_path / "out" / "summary.json").read_text())["notes"]
    assert any("end before what the model is given: 1 of 2" in note for note in notes)


def test_only_files_of_an_earlier_explanation_are_replaced(planted_run: Path, tmp_path: Path):
    out = tmp_path / "out"
    command = ["explain", str(planted_run), "--pages", "3", "--sanity", "0", "--out", str(out), *QUICK]
    assert main([*command, "--cohort", "3"]) == 0
    listed = json.loads((out / "summary.json").read_text())["files"]
    assert sorted(listed) == sorted(path.name for path in out.iterdir())
    own = {"mine.png": b"1", "mine.csv": b"2", "sample-0099.png": b"3", "mine.npz": b"4"}
    for name, content in own.items():
        (out / name).write_bytes(content)
    assert main([*command, "--cohort", "1"]) == 0
    assert {name: (out / name).read_bytes() for name in own} == own
    assert sorted(path.name for path in out.glob("sample-*.png")) == ["sample-0001.png", "sample-0099.png"]


def test_a_folder_of_something_else_is_refused_before_any_work(
    planted_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    from cardiozoo.cli import trained_run

    run = tmp_path / "run"
    shutil.copytree(planted_run, run)
    (run / "loss.png").write_bytes(b"mine")
    (tmp_path / "notes.txt").write_text("a file")
    monkeypatch.setattr(trained_run, "open_run", lambda *_: pytest.fail("work has begun"))
    monkeypatch.chdir(run)
    for out, message in ((str(run), "is not empty"), (".", "is not empty"), (str(tmp_path / "notes.txt"), "is a file")):
        before = sorted(path for path in tmp_path.rglob("*"))
        assert main(["explain", str(run), "--out", out, *QUICK]) == 2
        told = capsys.readouterr().err.strip().splitlines()
        assert message in told[0] and len(told) == 3
        assert sorted(path for path in tmp_path.rglob("*")) == before


def test_a_fine_tuned_run_uses_signals_and_shows_its_encoder(vae_run: Path, ecg_store_folder: Path, tmp_path: Path):
    from cardiozoo.models.finetune import FineTune

    torch.manual_seed(1)
    model = FineTune(
        str(vae_run / "checkpoints" / "best.ckpt"), "lead_concat", mismatch="warn", ecg_leads=list(LEADS[:6]),
        ecg_samples=SAMPLES, ecg_rate=100.0, num_classes=1, class_names=["pulmonary hypertension"], task_kind="binary",
    )  # fmt: skip
    run = write_run(tmp_path / "run", model, ecg_store_folder, leads="limb")
    assert main(["explain", str(run), "--cohort", "1", "--sanity", "1", *QUICK]) == 0
    arrays = np.load(run / "explain" / "attributions.npz")
    assert arrays["values"][:, :6].any() and not arrays["values"][:, 6:].any()
    assert not arrays["present"][:, 6:].any()
    assert (run / "explain" / "traversal.png").is_file()
    layers = pl.read_csv(run / "explain" / "sanity.csv")["last"].to_list()
    assert layers[0].startswith("head") and layers[-1].startswith("encoder")


def test_where_a_model_sees_median_beats_each_wave_has_its_window_around_r(ecg_store_folder: Path, tmp_path: Path):
    from cardiozoo.models.multimodal_cnn import MultimodalCnn

    torch.manual_seed(0)
    model = MultimodalCnn(
        ecg_samples=80, ecg_rate=RATE, num_classes=1, class_names=["pulmonary hypertension"], task_kind="binary",
        latent_size=4, channels=(2, 2, 2), hidden_size=4,
    )  # fmt: skip
    run = write_run(tmp_path / "run", model, ecg_store_folder, beat=0.8)
    late = np.random.default_rng(0).uniform(0, 1, (40, 1))[:, 0]  # as the store's spikes were drawn
    rows = [
        {"id": f"r{row:04d}", "wave": wave, "onset": beat - begin - before, "offset": beat - begin - before + 0.1}
        for row, begin in enumerate(late)
        for beat in np.arange(0.4, 5.5, 0.8)
        for wave, before in (("QRS", 0.05), ("P", 0.2))
    ]
    pl.DataFrame(rows).write_parquet(tmp_path / "truth.parquet")
    command = ["explain", str(run), "--cohort", "4", "--truth", str(tmp_path / "truth.parquet"), "--pages", "1"]
    assert main([*command, "--sanity", "0", *QUICK]) == 0
    assert np.load(run / "explain" / "attributions.npz")["values"].shape[1:] == (12, 80)
    found = pl.read_csv(run / "explain" / "wave_windows.csv")
    for wave, onset in (("P", 0.2), ("QRS", 0.35)):
        own = found.filter(pl.col("wave") == wave)
        assert own.height == 4 and np.abs(own["onset"].to_numpy() - onset).max() < 0.035
        assert np.abs(own["offset"].to_numpy() - onset - 0.1).max() < 0.035
    assert len(list((run / "explain").glob("sample-*.png"))) == 1


def test_bad_input_is_told_in_words(planted_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    empty = tmp_path / "empty"
    empty.mkdir()
    without = tmp_path / "without"
    shutil.copytree(planted_run, without)
    shutil.rmtree(without / "checkpoints")
    (tmp_path / "short.npy").write_bytes(b"no array")
    for arguments, message in (
        ([str(empty)], "not a run folder"),
        ([str(without)], "has no checkpoint best.ckpt or last.ckpt"),
        ([str(planted_run), "--checkpoint", "first.ckpt"], "no checkpoint first.ckpt"),
        ([str(planted_run), "--samples", "r9999"], "There is no sample 'r9999'"),
        ([str(planted_run), "--cohort", "0"], "--cohort 0"),
        ([str(planted_run), "--class", "asthma"], "no class 'asthma'"),
        ([str(planted_run), "--baseline", str(tmp_path / "short.npy")], "cannot be read"),
        ([str(planted_run), "--truth", "none.parquet"], "no table of waves"),
        ([str(planted_run), "--steps", "0"], "--steps 0"),
    ):
        assert main(["explain", *arguments, "--device", "cpu"]) == 2, message
        assert message in capsys.readouterr().err
    assert not (planted_run / "explain").exists()


def test_a_run_without_ecg_is_refused(tmp_path: Path):
    facts = {"model": {"name": "ehr_lstm"}, "data": {"name": "mimic_cxr_ehr"}}
    data = SimpleNamespace(spec=SimpleNamespace(modalities=("ehr", "cxr")))
    with pytest.raises(OptionError, match="ehr_lstm on mimic_cxr_ehr, whose data hold ehr, cxr"):
        require_ecg(TrainedRun(tmp_path, facts, tmp_path, PlantedModel(), data, {}))
