"""``cardiozoo explain``: why a trained model says what it says of an ECG, and what a generative one makes of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cardiozoo.analysis.explain_files import Output
    from cardiozoo.analysis.explanation import Cases, Explanation, Settings
    from cardiozoo.analysis.generation import Generation
    from cardiozoo.cli.trained_run import TrainedRun

DESCRIPTION = """\
Explain a run on ECGs. Supervised: integrated gradients of some records per lead and per wave (P, QRS, T), drawn on
standard paper, with completeness, importance over the records, and a check with random weights. Unsupervised, or with
a generative encoder: reconstructions of all leads and walks through the latent space. Written to RUN/explain/.
"""


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    result = argparse.ArgumentParser(
        prog="cardiozoo explain",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = result.add_argument
    add("run", type=Path, metavar="RUN", help="folder of a run that `cardiozoo fit` wrote")
    which = result.add_mutually_exclusive_group()
    which.add_argument("--samples", nargs="+", metavar="ID", help="ids of records, as in predictions.parquet")
    which.add_argument("--cohort", type=int, metavar="N", help="a random N records of the split (default: 50)")
    add(
        "--split",
        choices=["train", "val", "test"],
        help="default: test, or val where the data have no test split; with --samples every split is searched",
    )
    add("--class", dest="target", metavar="NAME", help="class to explain; default: the one with the highest mean score")
    add(
        "--baseline", default="zero", metavar="WHAT", help="zero (default), mean of training records, or a .npy (12, T)"
    )
    add("--steps", type=int, default=50, metavar="N", help="points on the path of integrated gradients (default: 50)")
    add(
        "--truth",
        type=Path,
        metavar="FILE",
        help="known wave positions (a simulator's truth/beats.parquet, or a table)",
    )
    add("--waves", choices=["edges", "published"], default="edges", help="edges: P, QRS, T from onset to offset; "
        "published: 0.04 s around P, Q, R, S, T, with the thresholds of the LS-EMVAE release")  # fmt: skip
    add(
        "--sanity",
        type=int,
        default=4,
        metavar="N",
        help="records in the check with random weights (default: 4; 0: no)",
    )
    add("--pages", type=int, default=8, metavar="N", help="records drawn on paper (default: 8; --samples: all)")
    add("--layout", choices=["auto", "4x3", "2x3", "12x1"], default="auto", help="of the pages")
    add("--checkpoint", default="best", metavar="WHICH", help="best (default), last, or a file")
    add("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to compute")
    add("--bootstrap", type=int, default=1000, metavar="N", help="draws of patients for the intervals (default: 1000)")
    add("--seed", type=int, default=0, metavar="N", help="seed of the cohort, the draws and the shuffles (default: 0)")
    add("--out", type=Path, metavar="DIR", help="write there instead of RUN/explain")
    return result


def run(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit status.

    Raises:
        CardiozooError: Bad input; the caller prints it.
    """
    options = parser().parse_args(list(argv))
    _check(options)
    from cardiozoo.analysis.explain_folder import check_folder, clear_folder

    folder = options.out or options.run / "explain"
    check_folder(folder)  # before anything heavy is imported: whoever is refused should not have waited
    from cardiozoo.cli.trained_run import open_run, require_ecg
    from cardiozoo.training.output import silence_known_noise

    silence_known_noise(evaluating=True)
    trained = open_run(options.run, options.checkpoint)
    require_ecg(trained)
    cases = _cases(options, trained)
    out = _output(options, trained, cases, folder)
    explanation, generation = _explain(options, trained, cases)
    from cardiozoo.analysis import explain_files as files
    from cardiozoo.data.progress import progress_bar
    from cardiozoo.evaluation.folders import make_folder

    make_folder(out.folder)
    clear_folder(out.folder)
    files.write_samples(out, cases, explanation)
    if explanation is not None:
        files.write_attributions(out, explanation, _published(options, trained, cases))
        rows = files.chosen_pages(explanation, len(cases.numbers) if options.samples else options.pages)
        with progress_bar("drawing", len(rows)) as advance:
            files.write_pages(out, explanation, rows, advance)
    if generation is not None:
        files.write_generation(out, generation)
    page = files.write_page(out, explanation, generation)
    _print(out, explanation, generation)
    print(f"Tables and pages: {out.folder}")
    print(f"Report: {page}")
    return 0


main = run


def _check(options: argparse.Namespace) -> None:
    from cardiozoo.errors import OptionError

    least = {"steps": 1, "sanity": 0, "pages": 0, "bootstrap": 2, "seed": 0}
    for name, lowest in least.items():
        value = getattr(options, name)
        if value < lowest:
            raise OptionError(f"--{name} {value}.", f"At least {lowest}.", "Leave it out for the default.")
    if options.cohort is not None and options.cohort < 1:
        raise OptionError(f"--cohort {options.cohort}.", "At least 1.", "50 is the default.")
    if options.truth is not None and options.waves == "published":
        raise OptionError("--truth with --waves published.", "One of them.", "The published windows are delineated.")


def _cases(options: argparse.Namespace, trained: TrainedRun) -> Cases:
    import numpy as np

    from cardiozoo.analysis.explanation import Cases
    from cardiozoo.analysis.record_time import recorded_samples, recorded_seconds
    from cardiozoo.analysis.records import random_records, records_by_id, usual_split

    if options.samples:
        batch, splits = records_by_id(trained.data, options.samples, options.split)
    else:
        split = options.split or usual_split(trained.data)
        batch = random_records(trained.data, options.cohort or 50, split, options.seed)
        splits = [split] * len(batch["id"])
    mode = getattr(trained.data, "standardise", "none")
    cases = Cases(batch, splits, float(getattr(trained.data, "ecg_rate", 500.0)), "mV" if mode == "none" else "sd")
    cases.beat = getattr(trained.data, "beat", None) is not None
    ids, seen = batch["id"], batch["ecg"].shape[2]
    cases.ends = np.array([*recorded_samples(trained.data, ids, seen).values()])
    whole_seconds = getattr(trained.data, "record_samples", seen) / cases.rate
    cases.seconds = np.array([*recorded_seconds(trained.data, ids, whole_seconds).values()])
    if mode != "none":
        # The same records once more, before standardisation: paper is read in mV.
        plain = trained.data_with(standardise="none", clip=None)
        if plain is not None:
            cases.millivolt = _in_order(plain, batch["id"], splits)
    record = {"beat": None} if cases.beat else {}
    whole = trained.data_with(standardise="none", clip=None, rate=None, window=None, eval_window="full", **record)
    if whole is not None:
        cases.whole = _in_order(whole, batch["id"], splits), float(whole.ecg_rate)
    return cases


def _in_order(data: Any, ids: list[str], splits: list[str]) -> Any:
    from cardiozoo.analysis.records import records_by_id

    split = splits[0] if len(set(splits)) == 1 else None
    return records_by_id(data, ids, split)[0]["ecg"].numpy()


def _explain(
    options: argparse.Namespace, trained: TrainedRun, cases: Cases
) -> tuple[Explanation | None, Generation | None]:
    import torch

    from cardiozoo.analysis.explanation import explain
    from cardiozoo.analysis.generation import generate
    from cardiozoo.errors import OptionError

    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    supervised = getattr(trained.model, "task_kind", "unsupervised") != "unsupervised"
    explanation = explain(trained.model, trained.data, cases, _settings(options), device) if supervised else None
    generation = generate(trained.model, cases, options.bootstrap, options.seed, device)
    if explanation is None and generation is None:
        raise OptionError(
            f"{type(trained.model).__name__} neither predicts nor reconstructs.",
            "A model that does one of them.",
            "Name the run of another model; `cardiozoo list` has their tasks.",
        )
    return explanation, generation


def _settings(options: argparse.Namespace) -> Settings:
    from cardiozoo.analysis.explanation import Settings

    return Settings(
        target=options.target,
        baseline=options.baseline,
        steps=options.steps,
        truth=options.truth,
        sanity=options.sanity,
        seed=options.seed,
        n_bootstrap=options.bootstrap,
    )


def _published(options: argparse.Namespace, trained: TrainedRun, cases: Cases) -> Any:
    if options.waves != "published":
        return None
    from cardiozoo.analysis.explanation import published_windows

    return published_windows(cases, trained.data, _settings(options))


def _output(options: argparse.Namespace, trained: TrainedRun, cases: Cases, folder: Path) -> Output:
    from cardiozoo.analysis.explain_files import Output

    counts = {split: cases.splits.count(split) for split in dict.fromkeys(cases.splits)}
    inside = trained.checkpoint.is_relative_to(trained.folder)
    facts = {
        "model": trained.facts["model"]["name"],
        "data": trained.facts["data"]["name"],
        "task": (trained.facts.get("task") or {}).get("name"),
        "checkpoint": str(trained.checkpoint.relative_to(trained.folder) if inside else trained.checkpoint.name),
        "records": ", ".join(f"{count} of the {split} split" for split, count in counts.items()),
        "chosen": "by id" if options.samples else f"at random, seed {options.seed}",
        "rate": f"{cases.rate:g} samples a second",
        "signals_seen_by_the_model": "in mV" if cases.unit == "mV" else "standardised",
    }
    stated = trained.facts["data"].get("manifest_sha256")
    now = getattr(trained.data, "manifest_sha256", None)
    if stated and now and stated != now:
        facts["store"] = "NOT the one the run was trained on: its manifest differs"
    return Output(folder, trained.name, trained.synthetic, facts, layout=options.layout, notes=_notes(options, cases))


def _notes(options: argparse.Namespace, cases: Cases) -> list[str]:
    notes = []
    if not (options.split or options.samples) and cases.splits[0] == "val":
        notes.append("The data have no test split, so records of the validation split are taken.")
    short = int((cases.recorded < cases.batch["ecg"].shape[2]).sum())
    if short:
        notes.append(
            f"Records that end before what the model is given: {short} of {len(cases.numbers)} (see samples.csv); "
            "nothing after their end is drawn or counted."
        )
    return notes


def _print(out: Output, explanation: Explanation | None, generation: Generation | None) -> None:
    from rich.console import Console

    from cardiozoo.cli.explain_console import render

    render(Console(width=None if sys.stdout.isatty() else 120), out, explanation, generation)
