"""The explanation of a run: attributions, waves, what they come to, and the check with random weights."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from cardiozoo.analysis.attribution import STEPS, Attribution, Baseline, integrated_gradients, lead_mask, leads_of
from cardiozoo.analysis.importance import cohort_importance, lead_table, wave_table, with_spread
from cardiozoo.analysis.randomisation import Sanity, randomisation_check
from cardiozoo.analysis.record_time import begins, raw_rates, recorded_samples
from cardiozoo.analysis.records import on_device, random_records, rows_of
from cardiozoo.analysis.wave_truth import read_truth
from cardiozoo.analysis.waves import PUBLISHED_HALF_WIDTH, Waves, beat_part, delineate, known_windows, seen_part
from cardiozoo.data.ecg_beats import find_beats
from cardiozoo.data.progress import progress_bar
from cardiozoo.errors import OptionError

#: Completeness errors above this share of the output's difference are pointed out.
TOLERATED = 0.05
MEAN_OF = 64
SANITY_STEPS = 20


@dataclass(frozen=True)
class Settings:
    """How a run is explained.

    Attributes:
        target: Name of the class; None for the one with the highest mean score.
        baseline: ``zero``, ``mean`` (mean of training records) or a .npy file (12, T).
        steps: Points on the path.
        half_width: None: waves from onset to offset. Seconds: around P, Q, R, S, T.
        truth: Table of known wave positions; None: delineated.
        sanity: Records in the check with random weights; 0 leaves it out.
        seed, n_bootstrap: Of draws and shuffles.
    """

    target: str | None = None
    baseline: str = "zero"
    steps: int = STEPS
    half_width: float | None = None
    truth: Path | None = None
    sanity: int = 4
    seed: int = 0
    n_bootstrap: int = 1000


@dataclass
class Cases:
    """The records that are explained.

    Attributes:
        batch: As the model sees them.
        splits: Split of each record.
        rate: Samples a second.
        unit: ``sd`` or ``mV``, of the signals in the batch.
        millivolt: The same signals in mV, (N, 12, T), if the data module can give them.
        whole: Whole records in mV, (N, 12, T), and their samples a second: where waves are looked for if the model sees
            parts of records, or few samples a second.
        beat: Whether the model sees the median beat of each record.
        ends: (N,) samples in the batch before the end of each record, what follows is padding; None: all.
        seconds: (N,) length of each record, of which the model may see a part; None: what is in the batch.
        score, target: (N, C) what the model predicts and what the data say; None without a task.
    """

    batch: dict[str, Any]
    splits: list[str]
    rate: float
    unit: str
    millivolt: np.ndarray | None = None
    whole: tuple[np.ndarray, float] | None = None
    beat: bool = False
    ends: np.ndarray | None = None
    seconds: np.ndarray | None = None
    score: np.ndarray | None = None
    target: np.ndarray | None = None

    @property
    def numbers(self) -> list[int]:
        """Numbers that stand for the records wherever their ids must not."""
        return list(range(1, len(self.batch["id"]) + 1))

    @property
    def patients(self) -> dict[int, str]:
        """Number -> patient."""
        return dict(zip(self.numbers, self.batch.get("patient", self.batch["id"]), strict=True))

    @property
    def drawn(self) -> tuple[np.ndarray, str]:
        """Signals to draw, (N, 12, T), in mV if there are any such, and their unit."""
        if self.millivolt is not None:
            return self.millivolt, "mV"
        return self.batch["ecg"].float().cpu().numpy(), self.unit

    @property
    def recorded(self) -> np.ndarray:
        """(N,) samples in the batch before the end of each record."""
        count, _, samples = self.batch["ecg"].shape
        return np.full(count, samples) if self.ends is None else self.ends

    @property
    def recorded_seconds(self) -> np.ndarray:
        """(N,) length of each record."""
        return self.recorded / self.rate if self.seconds is None else self.seconds

    def present(self) -> np.ndarray:
        """(N, 12) bool."""
        mask = self.batch.get("ecg_leads")
        return np.ones(self.batch["ecg"].shape[:2], dtype=bool) if mask is None else mask.cpu().numpy().astype(bool)


@dataclass
class Explanation:
    """What was found.

    Attributes:
        cases: The records.
        settings: How.
        target: Name of what is explained.
        column: Its column.
        unit: Unit of the attributions: ``logit``, or that of a regression's target.
        attribution: Integrated gradients.
        waves: Windows of each record.
        leads, wave_rows: Tables per record.
        lead_importance, wave_importance: Over the records, with intervals.
        sanity: The check with random weights, None if it was left out.
        notes: What a reader must know.
    """

    cases: Cases
    settings: Settings
    target: str
    column: int
    unit: str
    attribution: Attribution
    waves: list[Waves]
    leads: pl.DataFrame
    wave_rows: pl.DataFrame
    lead_importance: pl.DataFrame
    wave_importance: pl.DataFrame
    sanity: Sanity | None = None
    notes: list[str] = field(default_factory=list)


def explain(model: Any, data: Any, cases: Cases, settings: Settings, device: str = "cpu") -> Explanation:
    """Explain one output of a supervised model on some records.

    Raises:
        OptionError: No such class, a baseline or a table of waves that cannot be used, a model without a task.
    """
    if getattr(model, "task_kind", "") == "unsupervised" or not getattr(model, "num_classes", 0):
        came, accepted = f"{type(model).__name__} predicts nothing.", "A model that was trained on a task."
        raise OptionError(came, accepted, "Fine-tune it: cardiozoo fit --model finetune --model.encoder RUN")
    model.to(device).eval()
    batch = on_device(cases.batch, device)
    if not lead_mask(batch, leads_of(model)).any():
        raise OptionError(
            "None of the records shows a lead that the model looks at.",
            "At least one record with a lead of the model.",
            "Choose other records; samples without a usable lead are excluded when a store is prepared.",
        )
    cases.score, cases.target = predict(model, batch)
    column, name = _choose_class(model, settings.target, cases.score)
    baseline = _baseline(settings.baseline, data, settings.seed)
    waves = find_waves(cases, data, settings)
    size = len(cases.numbers)
    with progress_bar("attributing", size) as advance:
        found = integrated_gradients(
            model, batch, column, baseline, settings.steps, advance=advance, recorded=cases.recorded
        )
    found, unit = _in_units(model, found, column)
    leads, wave_rows = lead_table(found, cases.numbers), wave_table(found, waves, cases.numbers)
    over_leads = wave_rows.filter(pl.col("lead") == "all")
    draws = {"n": settings.n_bootstrap, "seed": settings.seed}
    of_waves = ("share", "enrichment", "signed_sum", "time_share")
    by_lead = cohort_importance(leads, "lead", cases.patients, ("share", "signed_sum", "mean_abs"), **draws)
    by_wave = over_leads
    by_lead = with_spread(by_lead, leads, "lead", found, cases.numbers, cases.patients, **draws)
    if over_leads.height:
        by_wave = cohort_importance(over_leads, "wave", cases.patients, of_waves, **draws)
        by_wave = with_spread(by_wave, over_leads, "wave", found, cases.numbers, cases.patients, **draws)
    result = Explanation(cases, settings, name, column, unit, found, waves, leads, wave_rows, by_lead, by_wave)
    if settings.sanity:
        result.sanity = _check_sanity(model, batch, result, baseline)
    result.notes = _notes(result)
    return result


@torch.no_grad()
def predict(model: Any, batch: dict[str, Any], rows: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Scores and targets (N, C) of the model's own record; targets NaN where there are none."""
    scores, targets = [], []
    for first in range(0, len(batch["id"]), rows):
        record = model.predict_step(rows_of(batch, list(range(first, min(first + rows, len(batch["id"]))))), 0)
        scores.append(record["score"].float().cpu().numpy())
        targets.append(record["target"].float().cpu().numpy())
    return np.concatenate(scores), np.concatenate(targets)


def find_waves(cases: Cases, data: Any, settings: Settings) -> list[Waves]:
    """Windows of every record: known ones where the table has them, else delineated."""
    signals, _ = cases.drawn
    samples, ids = signals.shape[2], cases.batch["id"]
    known: dict[str, pl.DataFrame] = {}
    if settings.truth is not None:
        known = read_truth(settings.truth, ids, raw_rates(data, ids))
    begin = begins(data, ids, samples, cases.rate)
    searched, rate = _recorded_part(cases)
    found = []
    with progress_bar("finding waves", len(ids)) as advance:
        for name, signal, present, end in zip(ids, searched, cases.present(), cases.recorded.tolist(), strict=True):
            if name in known and not cases.beat:
                waves = known_windows(known[name], cases.rate, end, begin[name], settings.half_width)
            elif name in known:
                waves = known_windows(known[name], rate, signal.shape[1], 0.0, settings.half_width)
            else:
                waves = delineate(signal, rate, present, settings.half_width)
            if cases.beat:
                waves = beat_part(waves, find_beats(signal[present], rate), rate, cases.rate, samples)
            elif name not in known and cases.whole is not None:
                waves = seen_part(waves, rate, cases.rate, end, begin[name])
            found.append(waves.padded(samples))
            advance(1)
    return found


def _recorded_part(cases: Cases) -> tuple[list[np.ndarray], float]:
    """The signals in which waves are looked for, each until its end, and their samples a second.

    Padding would hide the beats of a short record: their steepness is measured against that of the whole signal.
    """
    if cases.whole is None:
        return [signal[:, :end] for signal, end in zip(cases.drawn[0], cases.recorded, strict=True)], cases.rate
    signals, rate = cases.whole
    if cases.seconds is None:
        return list(signals), rate
    ends = np.ceil(cases.seconds * rate - 1e-6).astype(int)
    return [signal[:, :end] for signal, end in zip(signals, ends, strict=True)], rate


def published_windows(cases: Cases, data: Any, settings: Settings) -> list[Waves]:
    """The windows of the LS-EMVAE release: 0.04 s on both sides of P, Q, R, S and T."""
    return find_waves(cases, data, replace(settings, half_width=PUBLISHED_HALF_WIDTH, truth=None))


def _choose_class(model: Any, wanted: str | None, score: np.ndarray) -> tuple[int, str]:
    names = list(model.class_names)
    if wanted is None:
        column = int(np.nanargmax(score.mean(axis=0)))
        return column, names[column]
    lower = [name.lower() for name in names]
    if wanted.lower() not in lower:
        raise OptionError(
            f"There is no class {wanted!r} in this run.", f"One of {', '.join(names)}.", "--class chooses one of them."
        )
    column = lower.index(wanted.lower())
    return column, names[column]


def _baseline(wanted: str, data: Any, seed: int) -> Baseline:
    if wanted == "zero":
        return Baseline()
    if wanted == "mean":
        batch = random_records(data, MEAN_OF, "train", seed)
        ecg, there = batch["ecg"].double().numpy(), batch["ecg_leads"].numpy()[..., None]
        ends = recorded_samples(data, batch["id"], ecg.shape[2])
        there = there & (np.arange(ecg.shape[2]) < np.array([ends[name] for name in batch["id"]])[:, None, None])
        mean = np.where(there, ecg, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        return Baseline(f"mean of {len(ecg)} training records", mean.astype(np.float32))
    path = Path(wanted)
    try:
        if path.suffix != ".npy":
            raise ValueError("it is no .npy file")
        return Baseline(path.name, np.load(path, allow_pickle=False).astype(np.float32))
    except (OSError, ValueError) as error:
        raise OptionError(
            f"The baseline {wanted} cannot be read: {error}.",
            "zero, mean, or a .npy file (12, T) in the units that the model sees.",
            "zero is the mean of standardised leads.",
        ) from error


def _in_units(model: Any, found: Attribution, column: int) -> tuple[Attribution, str]:
    """A regression is explained in the units of its target, everything else as logit."""
    if model.task_kind != "regression":
        return found, "logit"
    factor, shift = float(model.target_std[column]), float(model.target_mean[column])
    scaled = replace(
        found,
        values=found.values * factor,
        output=found.output * factor + shift,
        at_baseline=found.at_baseline * factor + shift,
    )
    return scaled, f"unit of {model.class_names[column]}"


def _check_sanity(model: Any, batch: dict[str, Any], result: Explanation, baseline: Baseline) -> Sanity:
    """On the first records of which the model sees anything."""
    seen = [row for row in range(len(batch["id"])) if result.attribution.present[row].any()]
    chosen = seen[: result.settings.sanity]
    part, ends = rows_of(batch, chosen), result.cases.recorded[chosen]
    steps = min(result.settings.steps, SANITY_STEPS)
    present = torch.as_tensor(result.attribution.present[chosen]).to(part["ecg"].device)
    inputs = (part["ecg"] - baseline.like(part["ecg"], present, ends)).cpu().numpy()
    compared = result.attribution.compared[chosen]

    def attribute() -> np.ndarray:
        return integrated_gradients(model, part, result.column, baseline, steps, recorded=ends).values

    with progress_bar("check with random weights", 6) as advance:
        return randomisation_check(model, attribute, inputs, compared, seed=result.settings.seed, advance=advance)


def _above(value: float, limit: float) -> str:
    """In per cent, with as many digits as tell it from a limit that it exceeds."""
    digits = next((n for n in range(1, 6) if round(100 * value, n) > 100 * limit), 6)
    return f"{value:.{digits}%}"


def _notes(result: Explanation) -> list[str]:
    notes = []
    relative = result.attribution.relative_delta
    worst = float(np.nanmax(relative)) if np.isfinite(relative).any() else float("nan")
    if worst > TOLERATED:
        over = int((relative > TOLERATED).sum())
        amount = f"more than {TOLERATED:.0%} (at most {_above(worst, TOLERATED)})"
        notes.append(
            f"In {over} of {len(relative)} records the attributions miss the difference of the outputs by {amount}: "
            f"--steps {4 * result.settings.steps} makes that smaller."
        )
    if np.isnan(relative).any():
        notes.append(f"{int(np.isnan(relative).sum())} records have the same output as the baseline.")
    failed = [w for w in result.waves if w.reason]
    if failed:
        reasons = sorted({w.reason for w in failed})
        notes.append(f"No waves were found in {len(failed)} of {len(result.waves)} records ({'; '.join(reasons[:3])}).")
    beats = sum(w.beats for w in result.waves)
    missing = {name: sum(w.missing[name] for w in result.waves) for name in result.waves[0].masks}
    told = [f"{name} in {count}" for name, count in missing.items() if count]
    if told:
        notes.append(f"Of {beats} beats, waves were not found: {', '.join(told)}.")
    sources = {w.source.split(",")[0] for w in result.waves}
    if len(sources) > 1:
        known = sum(w.source == "known positions" for w in result.waves)
        notes.append(f"Positions of the waves are known in {known} records and delineated in the others.")
    return notes
