"""Do the models find what was planted? A synthetic cohort with known truth, four models, seven claims.

    python examples/planted_truth.py --work WORK          # or: make truth

Synthesises a cohort, prepares it, trains the image encoder on the radiology labels, then EHR LSTM, MedFuse and DrFuse,
all through the command line, and compares them on the same patients with paired bootstrap draws. A claim holds if its
interval lies on the stated side. What does not hold is reported so; the truth is not tuned. Finished steps are not
repeated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from cardiozoo.evaluation.bootstrap import confidence_interval
from cardiozoo.evaluation.comparison import compare

# Small networks for two CPU cores; the same ones for every model, so that differences are not differences of size.
IMAGES = ["--data.image_size", "96", "--data.batch_size", "32", "--data.num_workers", "1"]
IMAGE_NETWORK = ["--model.backbone", "resnet18", "--model.image_width", "16"]
# Most epochs of each; the best one on the validation split is judged.
EPOCHS = {"encoder": 15, "ehr_lstm": 40, "medfuse": 40, "drfuse": 30}
SERIES_NETWORK = ["--model.hidden_size", "64", "--model.num_layers", "1"]

GROUPS = {
    "radiograph only": (
        "Chronic obstructive pulmonary disease and bronchiectasis",
        "Conduction disorders",
        "Pleurisy; pneumothorax; pulmonary collapse",
    ),
    "both": (
        "Congestive heart failure; nonhypertensive",
        "Coronary atherosclerosis and other heart disease",
        "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)",
    ),
    "time series only": (
        "Acute and unspecified renal failure",
        "Acute cerebrovascular disease",
        "Complications of surgical procedures or medical care",
        "Diabetes mellitus with complications",
        "Diabetes mellitus without complication",
        "Fluid and electrolyte disorders",
        "Gastrointestinal hemorrhage",
        "Septicemia (except in labor)",
        "Shock",
    ),
    "neither": ("Other lower respiratory disease", "Other upper respiratory disease"),
}


@dataclass(frozen=True)
class Claim:
    """One sentence about the models, what was measured, and whether it holds."""

    claim: str
    expected: str
    value: float
    low: float
    high: float
    holds: bool | None  # None: nothing was expected


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for cohort, store and runs")
    parser.add_argument("--patients", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0, help="seed of the cohort and of the training")
    parser.add_argument("--out", type=Path, help="folder for truth.json and truth.md; WORK by default")
    options = parser.parse_args()
    began = time.monotonic()
    options.work.mkdir(parents=True, exist_ok=True)
    store = cohort(options.work, options.patients, options.seed)
    runs = train(options.work, store, options.seed)
    claims = judge(runs)
    report(claims, options, time.monotonic() - began, EPOCHS)
    return 0


def cohort(work: Path, patients: int, seed: int) -> Path:
    raw, store = work / "raw", work / "store"
    if not raw.exists():
        zoo("synthesize", "mimic_cxr_ehr", "--patients", patients, "--seed", seed, "--out", raw)
    if not store.exists():
        zoo("prepare", "mimic_cxr_ehr", "--mimic-iv", raw, "--mimic-cxr", raw, "--out", store, "--cxr-images", "all")
    return store


def train(work: Path, store: Path, seed: int) -> dict[str, Path]:
    """The runs by name; MedFuse starts from the encoders trained before it, DrFuse is trained in one stage."""
    runs = {name: work / "runs" / name for name in ("encoder", "ehr_lstm", "medfuse", "drfuse", "withheld")}

    def fit(name: str, model: str, *options: object) -> None:
        if (runs[name] / "report.html").exists():
            return
        common = ["--data.store", store, "--recipe", f"{model}/mimic_cxr_ehr.synthetic", "--run_dir", runs[name]]
        budget = ["--seed_everything", seed, "--trainer.max_epochs", EPOCHS[name], "--patience", 8]
        zoo("fit", "--model", model, "--data", "mimic_cxr_ehr", *common, *budget, *options)

    findings = ["--data.task", "radiology", "--data.views", "AP+PA"]
    fit("encoder", "cxr_resnet", *findings, *IMAGES, *IMAGE_NETWORK)
    fit("ehr_lstm", "ehr_lstm", *SERIES_NETWORK)
    handed = {n: runs[n] / "checkpoints" / "best.ckpt" for n in ("encoder", "ehr_lstm")}
    start = ["--model.ehr_encoder", handed["ehr_lstm"], "--model.cxr_encoder", handed["encoder"]]
    fit("medfuse", "medfuse", *IMAGES, *IMAGE_NETWORK, *SERIES_NETWORK, *start)
    fit("drfuse", "drfuse", *IMAGES, *IMAGE_NETWORK, "--model.hidden_size", "64")
    if not (runs["withheld"] / "report.html").exists():
        zoo("test", "--run", runs["medfuse"], "--data.cxr_withhold", "1.0", "--run_dir", runs["withheld"])
    return runs


def judge(runs: dict[str, Path]) -> list[Claim]:
    fused = compare(runs["medfuse"], runs["ehr_lstm"], class_groups=GROUPS, progress=False)
    claims = [
        difference(
            "MedFuse beats the EHR LSTM on what lives in the radiograph (pairs)", "> 0", fused, "radiograph only"
        ),
        difference("... and on what lives in both (pairs)", "> 0", fused, "both"),
        difference("... and not on what lives in the time series (pairs)", "about 0", fused, "time series only"),
        difference("... and not on what lives in neither (pairs)", "about 0", fused, "neither"),
    ]
    withheld = compare(runs["withheld"], runs["ehr_lstm"], class_groups=GROUPS, subsets=("all",), progress=False)
    claims += [
        difference("MedFuse without any radiograph is not below the EHR LSTM", "> -0.02", withheld, None, subset="all")
    ]
    disentangled = compare(runs["drfuse"], runs["ehr_lstm"], class_groups=GROUPS, progress=False)
    claims += [
        difference("DrFuse beats the EHR LSTM on what lives in the radiograph (pairs)", "> 0", disentangled,
                   "radiograph only"),
        attention_leans(runs["drfuse"]),
    ]  # fmt: skip
    return claims


def difference(claim: str, expected: str, comparison, group: str | None, subset: str = "paired") -> Claim:
    name = {"class_name": f"macro, {group}"} if group else {}
    row = comparison.difference("auroc", subset, **name)
    value, low, high = (float(row[key]) for key in ("difference", "low", "high"))
    holds = {"> 0": low > 0, "about 0": low <= 0 <= high, "> -0.02": low > -0.02}[expected]
    return Claim(claim, f"AUROC difference {expected}", value, low, high, holds)


def attention_leans(run: Path) -> Claim:
    """Mean attention on the radiograph, phenotypes that live in it minus those that live in the time series."""
    table = pl.read_parquet(run / "predictions.parquet").filter(pl.col("present/cxr"))
    mean = {
        group: table.select(pl.mean_horizontal([f"extra/attention_cxr/{c}" for c in GROUPS[group]]))
        .to_series()
        .to_numpy()
        for group in ("radiograph only", "time series only")
    }
    per_row = mean["radiograph only"] - mean["time series only"]
    patients = table["patient"].to_numpy()
    mean_difference = confidence_interval(lambda _, d: float(d.mean()), per_row, per_row, groups=patients)
    text = "DrFuse attends more to the radiograph for what lives in it than for what lives in the time series (pairs)"
    value, low, high = mean_difference.value, mean_difference.low, mean_difference.high
    return Claim(text, "difference of attention > 0", value, low, high, low > 0)


def report(claims: list[Claim], options: argparse.Namespace, seconds: float, epochs: dict[str, int]) -> None:
    title = (
        f"SYNTHETIC cohort of {options.patients:,} virtual patients, seed {options.seed}, {seconds / 60:.0f} minutes"
    )
    table = Table("claim", "expected", "measured (95 %)", "holds", title=title)
    lines = [f"{title}.", "", "| claim | expected | measured (95 %) | holds |", "|---|---|---|---|"]
    for c in claims:
        measured, verdict = (
            f"{c.value:+.3f} ({c.low:+.3f}, {c.high:+.3f})",
            {True: "yes", False: "NO", None: ""}[c.holds],
        )
        table.add_row(c.claim, c.expected, measured, verdict)
        lines.append(f"| {c.claim} | {c.expected} | {measured} | {verdict} |")
    Console().print(table)
    out = options.out or options.work
    out.mkdir(parents=True, exist_ok=True)
    facts = {"synthetic": True, "patients": options.patients, "seed": options.seed, "epochs": epochs}
    (out / "truth.json").write_text(json.dumps({**facts, "claims": [asdict(c) for c in claims]}, indent=2) + "\n")
    (out / "truth.md").write_text("\n".join(lines) + "\n")


def zoo(*arguments: object) -> None:
    """Run one cardiozoo command; stop where it fails."""
    command = [sys.executable, "-m", "cardiozoo", *map(str, arguments)]
    print("$ cardiozoo", *command[3:], flush=True)
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
