"""Do the ECG models find what was planted? Synthetic cohorts with known truth, LS-EMVAE and its controls.

    python examples/planted_truth_ecg.py --work WORK          # or: make truth_ecg

Synthesises unlabelled records for pre-training and three cohorts with invasive pressures: `full` (pulmonary
hypertension shows in limb and chest leads), `right_atrium` (only in the P wave, which limb leads show) and `chest`
(only in a force that no limb lead sees). Pre-trains, fine-tunes and explains through the command line. Claims are
judged on the same test patients with paired bootstrap draws of patients. What does not hold is reported so; the truth
is not tuned. Finished steps are not repeated.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from planted_truth import Claim, report, zoo

from cardiozoo.evaluation.bootstrap import confidence_interval
from cardiozoo.evaluation.metrics import auroc

# Small networks for two CPU cores, the same size for every model of a claim. They see the median beat of each record,
# 0.8 s at 100 Hz, on one scale a lead, because the plants are voltages. A beat has some sixtieth of the samples of the
# paper's records, so each sample weighs more against the divergence.
SIGNALS = [
    "--data.beat",
    "0.8",
    "--data.standardise",
    "train_lead",
    "--data.batch_size",
    "64",
    "--data.num_workers",
    "0",
]
LATENT = ["--model.latent_size", "64", "--model.channels", "[8, 16, 32]"]
PRETRAINING = [*LATENT, "--model.reconstruction_weight", "0.5"]
# Epochs of each; the best one on the validation split is judged, the last one where labels are few.
EPOCHS = {"pretraining": 20, "head": 60, "network": 40}
# Labelled patients, and how many times so many are drawn: with fifty, it matters which.
LABELS = {50: 5, 200: 5, 800: 2}
ABLATIONS = {"without alignment": "alignment", "without product": "poe", "without mixture": "moe"}
INFERIOR, SEPTAL = ("II", "III", "aVF"), ("V1", "V2", "V3")


@dataclass(frozen=True)
class Lab:
    """Where everything lies, and how much of it there is."""

    work: Path
    patients: int
    unlabelled: int
    seed: int
    records: int

    def run(self, name: str) -> Path:
        return self.work / "runs" / name

    def store(self, plant: str) -> Path:
        return self.work / "stores" / plant

    def raw(self, plant: str) -> Path:
        return self.work / "raw" / plant


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for cohorts, stores and runs")
    parser.add_argument("--patients", type=int, default=3000, help="of each labelled cohort")
    parser.add_argument("--unlabelled", type=int, default=3000, help="patients with records for pre-training")
    parser.add_argument("--records", type=int, default=300, help="records that are explained")
    parser.add_argument("--seed", type=int, default=0, help="seed of the cohorts and of the training")
    parser.add_argument("--out", type=Path, help="folder for truth.json and truth.md; WORK by default")
    options = parser.parse_args()
    began = time.monotonic()
    options.work.mkdir(parents=True, exist_ok=True)
    lab = Lab(options.work, options.patients, options.unlabelled, options.seed, options.records)
    cohorts(lab)
    pretrain(lab)
    claims = [*few_labels(lab), *six_and_twelve(lab), *attribution(lab), *distinct_leads(lab), *ablations(lab)]
    report(claims, options, time.monotonic() - began, EPOCHS)
    return 0


def cohorts(lab: Lab) -> None:
    for plant in ("full", "right_atrium", "chest"):
        raw, store = lab.raw(plant), lab.store(plant)
        if not raw.exists():
            size = ["--patients", lab.patients, "--seed", lab.seed]
            zoo("synthesize", "ecg_cohort", "--plant", plant, *size, "--out", raw)
        if not store.exists():
            zoo("prepare", "ecg_cohort", "--cohort", raw / "cohort.csv", "--out", store, "--rate", 100)
    raw, store = lab.raw("unlabelled"), lab.store("unlabelled")
    # Another seed, so that nobody in the labelled cohorts has been seen in pre-training.
    if not raw.exists():
        zoo("synthesize", "mimic_iv_ecg", "--patients", lab.unlabelled, "--seed", lab.seed + 1000, "--out", raw)
    if not store.exists():
        zoo("prepare", "mimic_iv_ecg", "--mimic_iv_ecg", raw, "--out", store, "--rate", 100)


def fit(lab: Lab, name: str, model: str, data: str, *options: object) -> Path:
    """One run by the command line, unless it is there already."""
    run = lab.run(name)
    if not any(run.glob("report*.html")):
        shutil.rmtree(run, ignore_errors=True)  # of an attempt that was stopped
        typed = ["--recipe", "none", "--run_dir", run, "--seed_everything", lab.seed, "--patience", 0]
        zoo("fit", "--model", model, "--data", data, *SIGNALS, *typed, *options)
    return run


def pretrain(lab: Lab) -> None:
    """LS-EMVAE, its ablations, one that draws a single signal for all leads, and one that is not trained."""
    variants = {"ls_emvae": [], "single": ["--model.decoder", "single"]}
    variants |= {name: [f"--model.{option}", "false"] for name, option in ABLATIONS.items()}
    common = ["--data.store", lab.store("unlabelled"), *PRETRAINING]
    budget = ["--trainer.max_epochs", EPOCHS["pretraining"], "--model.annealing_epochs", 10]
    budget += ["--model.learning_rate", 1e-3]
    clip = ["--trainer.gradient_clip_val", 1.0]
    for name, chosen in variants.items():
        fit(lab, name, "ls_emvae", "mimic_iv_ecg", *common, *budget, *clip, *chosen)
    still = ["--trainer.max_epochs", 1, "--trainer.limit_train_batches", 1, "--model.learning_rate", 1e-12]
    fit(lab, "untrained", "ls_emvae", "mimic_iv_ecg", *common, *still)


def head(lab: Lab, name: str, encoder: str, plant: str, *options: object) -> Path:
    """A linear head on an encoder, frozen unless said otherwise; all leads' means side by side, as published."""
    chosen = ["--model.encoder", lab.run(encoder), "--model.representation", "lead_concat", "--model.hidden", 0]
    budget = [] if "--trainer.max_epochs" in options else ["--trainer.max_epochs", EPOCHS["head"]]
    budget += ["--model.learning_rate", 1e-3]
    return fit(lab, name, "finetune", "ecg_cohort", "--data.store", lab.store(plant), *chosen, *budget, *options)


def few(lab: Lab, kind: str, labels: int) -> list[Path]:
    """Runs with so many labelled patients, one for each time that they are drawn.

    No validation split chooses an epoch, as published: whoever has fifty labels has no two hundred others for that.
    """
    runs = []
    for draw in range(LABELS[labels]):
        name, drawn = f"{kind} {labels} {draw}", ["--data.train_patients", labels, "--data.fold_seed", 42 + draw]
        drawn += ["--trainer.limit_val_batches", 0]
        if kind == "scratch":
            options = ["--data.store", lab.store("full"), *LATENT, *drawn, "--model.learning_rate", 1e-3]
            budget = ["--trainer.max_epochs", EPOCHS["network"]]
            runs.append(fit(lab, name, "multimodal_cnn", "ecg_cohort", *options, *budget))
        elif kind == "going on":
            free = ["--model.freeze", "false", "--model.encoder_learning_rate", 3e-4]
            runs.append(head(lab, name, "ls_emvae", "full", *drawn, *free, "--trainer.max_epochs", EPOCHS["network"]))
        else:
            runs.append(head(lab, name, kind.removeprefix("frozen "), "full", *drawn))
    return runs


def few_labels(lab: Lab) -> list[Claim]:
    """Encoders trained before against the same encoders from the beginning, and against encoders left as drawn."""
    claims = []
    for labels, draws in LABELS.items():
        kinds = ("frozen ls_emvae", "going on", "scratch", "frozen untrained")
        frozen, going_on, scratch, untrained = (few(lab, kind, labels) for kind in kinds)
        expected = {50: "> 0", 200: "reported", 800: "about 0"}[labels]
        which = f"{labels} labels, mean of {draws} draws of them"
        claims += [
            difference(f"{which}: pre-trained and frozen minus from the beginning", expected, frozen, scratch),
            difference(f"{which}: pre-trained, then trained on, minus from the beginning", expected, going_on, scratch),
            difference(f"{which}: pre-trained minus not trained, both frozen", "> 0", frozen, untrained),
        ]
    return claims


def network(lab: Lab, plant: str, leads: str) -> Path:
    options = ["--data.store", lab.store(plant), "--data.leads", leads]
    options += ["--model.layers", "[1, 1, 1, 1]"]
    options += ["--model.widths", "[32, 32, 32, 32]", "--model.learning_rate", "2e-3", "--model.schedule", "one_cycle"]
    return fit(lab, f"xresnet1d {plant} {leads}", "xresnet1d101", "ecg_cohort", *options,
               "--trainer.max_epochs", EPOCHS["pretraining"])  # fmt: skip


def six_and_twelve(lab: Lab) -> list[Claim]:
    claims = []
    for plant, words, expected in (
        ("right_atrium", "the signal sits in the limb leads", "at most 0.03"),
        ("chest", "the signal sits where limb leads see nothing", "> 0.08"),
    ):
        heads = [head(lab, f"head {plant} {n}", "ls_emvae", plant, "--data.leads", n) for n in ("all", "limb")]
        networks = [network(lab, plant, n) for n in ("all", "limb")]
        for title, runs in (("LS-EMVAE", heads), ("xresnet1d", networks)):
            all_leads, limb = ([run] for run in runs)
            claims.append(difference(f"{title}, twelve minus six leads: {words}", expected, all_leads, limb))
    return claims


def attribution(lab: Lab) -> list[Claim]:
    """Two measures: where attribution differs between records as the model's answer does, and where it is large.

    The path begins at the mean beat of training records: beginning at zero, attribution follows the size of the waves.
    """
    claims = []
    for plant, wave, leads in (("right_atrium", "P", INFERIOR), ("chest", "QRS", SEPTAL)):
        runs = {"xresnet1d": network(lab, plant, "all")}
        runs["LS-EMVAE"] = head(lab, f"head {plant} all", "ls_emvae", plant, "--data.leads", "all")
        for model, run in runs.items():
            waves, shares = explained(lab, run, plant)
            own = waves.filter((pl.col("lead") == "all") & (pl.col("wave") == wave))
            title = f"{model}, {plant}: the {wave} wave's part in what tells records apart"
            claims.append(part(title, "> 0.5", own, shares))
            title = f"{model}, {plant}: the part of {', '.join(leads)} in it"
            claims.append(part(title, "> 0.5", shares.filter(pl.col("lead").is_in(leads)), shares))
            title = f"{model}, {plant}: the {wave} wave's share of absolute attribution beside its share of the time"
            claims.append(mean(title, "reported", own["enrichment"].to_numpy()))
    return claims


def part(claim: str, expected: str, rows: pl.DataFrame, shares: pl.DataFrame) -> Claim:
    """cov(attribution of these rows, attribution of all leads) / var(the latter), over records."""
    total = shares.group_by("sample").agg(total=pl.col("signed_sum").sum())
    both = rows.group_by("sample").agg(own=pl.col("signed_sum").sum()).join(total, on="sample").sort("sample")

    def slope(own: np.ndarray, whole: np.ndarray) -> float:
        return float(np.cov(own, whole)[0, 1] / np.var(whole, ddof=1))

    found = confidence_interval(slope, both["own"].to_numpy(), both["total"].to_numpy(), seed=0)
    return Claim(claim, f"part {expected}", found.value, found.low, found.high,
                 verdict(expected, found.value, found.low, found.high))  # fmt: skip


def explained(lab: Lab, run: Path, plant: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables of the waves and of the leads, one row a record and lead."""
    folder = run / "explain"
    if not (folder / "explain.html").exists():
        truth = lab.raw(plant) / "truth" / "beats.parquet"
        how = ["--baseline", "mean", "--steps", 200, "--pages", 4, "--seed", lab.seed]
        zoo("explain", run, "--cohort", lab.records, "--truth", truth, *how)
    return pl.read_csv(folder / "waves.csv"), pl.read_csv(folder / "leads.csv")


def distinct_leads(lab: Lab) -> list[Claim]:
    """Reconstructions against the mean of the leads, lead by lead; the single decoder is bound to fail."""
    claims = []
    for name, words, expected in (
        ("ls_emvae", "reconstruction", "> 0"),
        ("single", "reconstruction of the decoder that draws one signal for all", "< 0"),
    ):
        errors = reconstruction_errors(lab, name)
        for column in ("least", "mean"):
            which = "the lead that gains least" if column == "least" else "all leads"
            claims.append(mean(f"{words}: error of the mean of the leads minus its own, {which}",
                               expected if column == "least" else "reported", errors[column]))  # fmt: skip
    return claims


def reconstruction_errors(lab: Lab, name: str) -> dict[str, np.ndarray]:
    run = lab.run(name)
    if not (run / "explain" / "explain.html").exists():
        zoo("explain", run, "--cohort", 300, "--split", "val", "--pages", 2, "--seed", lab.seed)
    table = pl.read_csv(run / "explain" / "reconstruction_errors.csv")
    gain = table.with_columns(gain=pl.col("mse_of_mean") - pl.col("mse"))
    by_lead = gain.group_by("lead").agg(pl.col("gain").mean()).sort("gain")
    worst = gain.filter(pl.col("lead") == by_lead["lead"][0])
    return {
        "least": worst["gain"].to_numpy(),
        "mean": gain.group_by("sample").agg(pl.col("gain").mean())["gain"].to_numpy(),
    }


def ablations(lab: Lab) -> list[Claim]:
    """Reported, whichever way they fall."""
    full, most = few(lab, "frozen ls_emvae", max(LABELS)), max(LABELS)
    claims = []
    for name in ABLATIONS:
        other = few(lab, f"frozen {name}", most)
        claims.append(difference(f"LS-EMVAE minus LS-EMVAE {name}, {most} labels", "reported", full, other))
    return claims


def difference(claim: str, expected: str, a: list[Path], b: list[Path]) -> Claim:
    """AUROC of the runs A minus that of the runs B, the mean over pairs of runs, on the same test patients."""
    tables = [[pl.read_parquet(run / "predictions.parquet").sort("id") for run in runs] for runs in (a, b)]
    first = tables[0][0]
    if any(not table["id"].equals(first["id"]) for side in tables for table in side):
        raise SystemExit(f"{claim}: the runs were not tested on the same records.")
    name = next(column for column in first.columns if column.startswith("score/"))
    score = np.stack([[table[name].to_numpy() for table in side] for side in tables], axis=-1)  # (runs, N, 2)
    target = first[name.replace("score/", "target/")].to_numpy()

    def both(target: np.ndarray, score: np.ndarray) -> np.ndarray:
        return np.mean([[auroc(target, score[:, k, side]) for side in (0, 1)] for k in range(len(a))], axis=0)

    def apart(target: np.ndarray, score: np.ndarray) -> float:
        means = both(target, score)
        return float(means[0] - means[1])

    score = score.transpose(1, 0, 2)
    found = confidence_interval(apart, target, score, seed=0, groups=first["patient"].to_numpy())
    means = both(target, score)
    claim = f"{claim} ({means[0]:.3f}, {means[1]:.3f})"
    return Claim(claim, f"AUROC difference {expected}", found.value, found.low, found.high,
                 verdict(expected, found.value, found.low, found.high))  # fmt: skip


def mean(claim: str, expected: str, values: np.ndarray) -> Claim:
    """Mean over records with its bootstrap interval."""
    values = values[np.isfinite(values)]
    found = confidence_interval(lambda _, v: float(v.mean()), values, values, seed=0)
    return Claim(claim, f"mean {expected}", found.value, found.low, found.high,
                 verdict(expected, found.value, found.low, found.high))  # fmt: skip


def verdict(expected: str, value: float, low: float, high: float) -> bool | None:
    """Whether the interval lies where it was expected; None where nothing was."""
    sides = {
        "> 0": low > 0,
        "< 0": high < 0,
        "> 0.5": low > 0.5,
        "> 0.08": low > 0.08,
        "about 0": low <= 0 <= high,
        "at most 0.03": value <= 0.03,
        "reported": None,
    }
    return sides[expected]


if __name__ == "__main__":
    sys.exit(main())
