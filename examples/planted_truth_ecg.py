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
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
from planted_truth import Claim, report, zoo

from cardiozoo.evaluation.bootstrap import confidence_interval
from cardiozoo.evaluation.comparison import compare

# Small networks for two CPU cores, the same size for every model of a claim. 2.56 s at 100 Hz: random cuts in training,
# the middle of the record in evaluation. A record has a twentieth of the samples of the paper's, so each sample weighs
# twenty times as much against the divergence.
SIGNALS = ["--data.window", "2.56", "--data.batch_size", "64", "--data.num_workers", "0"]
LATENT = ["--model.latent_size", "64", "--model.channels", "[8, 16, 32]"]
PRETRAINING = [*LATENT, "--model.reconstruction_weight", "0.5"]
EPOCHS = {"pretraining": 20, "head": 60, "network": 40}
LABELS = (50, 200, 800)
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
    parser.add_argument("--records", type=int, default=60, help="records that are explained")
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
    common = ["--data.store", lab.store("unlabelled"), "--data.eval_window", "center", *PRETRAINING]
    budget = ["--trainer.max_epochs", EPOCHS["pretraining"], "--model.annealing_epochs", 10]
    budget += ["--model.learning_rate", 1e-3]
    clip = ["--trainer.gradient_clip_val", 1.0]
    for name, chosen in variants.items():
        fit(lab, name, "ls_emvae", "mimic_iv_ecg", *common, *budget, *clip, *chosen)
    still = ["--trainer.max_epochs", 1, "--trainer.limit_train_batches", 1, "--model.learning_rate", 1e-12]
    fit(lab, "untrained", "ls_emvae", "mimic_iv_ecg", *common, *still)


def head(lab: Lab, name: str, encoder: str, plant: str, *options: object) -> Path:
    """A head on a frozen encoder; all leads' means side by side, as the published table has it."""
    chosen = ["--model.encoder", lab.run(encoder), "--model.representation", "lead_concat"]
    budget = [] if "--trainer.max_epochs" in options else ["--trainer.max_epochs", EPOCHS["head"]]
    budget += ["--model.learning_rate", 1e-3, "--data.eval_window", "center"]
    return fit(lab, name, "finetune", "ecg_cohort", "--data.store", lab.store(plant), *chosen, *budget, *options)


def few_labels(lab: Lab) -> list[Claim]:
    """Encoders trained before against the same encoders from the beginning, and against encoders left as drawn.

    Both sides see a new random cut of each record in every epoch.
    """
    claims = []
    for labels in LABELS:
        few = ["--data.train_patients", labels]
        frozen = head(lab, f"frozen {labels}", "ls_emvae", "full", *few)
        untrained = head(lab, f"frozen untrained {labels}", "untrained", "full", *few)
        free = ["--model.freeze", "false", "--trainer.max_epochs", EPOCHS["network"]]
        going_on = head(lab, f"going on {labels}", "ls_emvae", "full", *few, *free)
        network = ["--data.store", lab.store("full"), "--data.eval_window", "center", *LATENT, *few]
        network += ["--trainer.max_epochs", EPOCHS["network"], "--model.learning_rate", 1e-3]
        scratch = fit(lab, f"scratch {labels}", "multimodal_cnn", "ecg_cohort", *network)
        expected = "about 0" if labels == max(LABELS) else "> 0"
        claims += [
            difference(f"{labels} labels: pre-trained and frozen minus from the beginning", expected, frozen, scratch),
            difference(
                f"{labels} labels: pre-trained, then trained on, minus from the beginning", expected, going_on, scratch
            ),
            difference(f"{labels} labels: pre-trained minus not trained, both frozen", "> 0", frozen, untrained),
        ]
    return claims


def network(lab: Lab, plant: str, leads: str) -> Path:
    """xresnet1d pools over beats, so it finds small waves; one scale for all records, as the plants are voltages."""
    options = ["--data.store", lab.store(plant), "--data.leads", leads, "--data.standardise", "train"]
    options += ["--model.layers", "[1, 1, 1, 1]"]
    options += ["--model.widths", "[32, 32, 32, 32]", "--model.learning_rate", "2e-3", "--model.schedule", "one_cycle"]
    return fit(lab, f"xresnet1d {plant} {leads}", "xresnet1d101", "ecg_cohort", *options,
               "--trainer.max_epochs", EPOCHS["network"])  # fmt: skip


def six_and_twelve(lab: Lab) -> list[Claim]:
    claims = []
    for plant, words, expected in (
        ("right_atrium", "the signal sits in the limb leads", "within 0.03"),
        ("chest", "the signal sits where limb leads see nothing", "> 0.08"),
    ):
        few = ["--trainer.max_epochs", 20]  # of two thousand records, more steps than sixty of a few hundred
        heads = [head(lab, f"head {plant} {n}", "ls_emvae", plant, "--data.leads", n, *few) for n in ("all", "limb")]
        networks = [network(lab, plant, n) for n in ("all", "limb")]
        for title, runs in (("LS-EMVAE", heads), ("xresnet1d", networks)):
            claims.append(difference(f"{title}, twelve minus six leads: {words}", expected, *runs))
    return claims


def attribution(lab: Lab) -> list[Claim]:
    """Two measures: where attribution is large, and where it differs between records as the model's answer does."""
    claims = []
    for plant, wave, leads in (("right_atrium", "P", INFERIOR), ("chest", "QRS", SEPTAL)):
        waves, shares = explained(lab, network(lab, plant, "all"), plant)
        own = waves.filter((pl.col("lead") == "all") & (pl.col("wave") == wave))
        title = f"{plant}: the {wave} wave's share of attribution beside its share of the time"
        claims.append(mean(title, "> 2", own["enrichment"].to_numpy()))
        title = f"{plant}: the {wave} wave's part in what tells records apart"
        claims.append(part(title, "> 0.5", own, shares))
        title = f"{plant}: the part of {', '.join(leads)} in it"
        claims.append(part(title, "> 0.5", shares.filter(pl.col("lead").is_in(leads)), shares))
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
        zoo("explain", run, "--cohort", lab.records, "--truth", truth, "--pages", 4, "--seed", lab.seed)
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
    full = head(lab, "frozen 800", "ls_emvae", "full", "--data.train_patients", 800)
    claims = []
    for name in ABLATIONS:
        other = head(lab, f"frozen 800 {name}", name, "full", "--data.train_patients", 800)
        claims.append(difference(f"LS-EMVAE minus LS-EMVAE {name}, 800 labels", "reported", full, other))
    return claims


def difference(claim: str, expected: str, a: Path, b: Path) -> Claim:
    """AUROC of run A minus that of run B on the same test patients."""
    row = compared(a, b)
    value, low, high = (float(row[key]) for key in ("difference", "low", "high"))
    claim = f"{claim} ({row['value_a']:.3f}, {row['value_b']:.3f})"
    return Claim(claim, f"AUROC difference {expected}", value, low, high, verdict(expected, value, low, high))


@cache
def compared(a: Path, b: Path) -> dict[str, float]:
    result = compare(a, b, progress=False)
    return result.difference("auroc", "all", class_name=result.classes[0])


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
        "> 2": low > 2,
        "> 0.5": low > 0.5,
        "> 0.08": low > 0.08,
        "about 0": low <= 0 <= high,
        "within 0.03": abs(value) <= 0.03,
        "reported": None,
    }
    return sides[expected]


if __name__ == "__main__":
    sys.exit(main())
