"""``cardiozoo reproduce ls_emvae``: Table 2 of the paper, measured beside published."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cardiozoo.cli import FAILED, table2
from cardiozoo.cli.crossval import how_many, quoted, run_folds, say
from cardiozoo.cli.crossval_folder import CrossValidation
from cardiozoo.cli.own_folder import alone_in, make_folder
from cardiozoo.cli.same_store import check_same_store, store_at_hand
from cardiozoo.cli.table2 import PRETRAINED, Cell
from cardiozoo.cli.workers import Job, Workers
from cardiozoo.errors import CardiozooError, OptionError

DESCRIPTION = """\
Table 2 of LS-EMVAE (Suvon et al., 2025) on a labelled cohort of your own: each model on two tasks (pulmonary
hypertension; pre- or post-capillary), on twelve and on the six limb leads, five folds each, the published numbers
beside the measured ones. The cohort of the paper is private, so what is reproduced is its protocol.

Models that are pre-trained take --pretrained NAME=RUN, or are trained first on --pretrain_store. Their frozen encoders
give what the published numbers come from: the means of the leads side by side (--representation lead_concat). ST-MEM
is not in the zoo; its published numbers are shown. The command goes on where it stopped, cell by cell and fold by fold.

Any further option goes to `cardiozoo fit` of every fold, such as --trainer.accelerator cpu.
"""
PAPERS = ("ls_emvae",)


def parser() -> argparse.ArgumentParser:
    """The command's own options."""
    result = argparse.ArgumentParser(
        prog="cardiozoo reproduce",
        usage="cardiozoo reproduce ls_emvae --store COHORT (--pretrain_store S | --pretrained NAME=RUN ...) [options]",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = result.add_argument
    add("paper", help="ls_emvae")
    add("--store", type=Path, metavar="DIR", help="store of the cohort, as `cardiozoo prepare ecg_cohort` writes it")
    pretraining = "store of MIMIC-IV-ECG for models without --pretrained"
    add("--pretrain_store", "--pretrain-store", type=Path, metavar="DIR", help=pretraining)
    add("--pretrained", nargs="+", default=[], metavar="NAME=RUN", help="trained encoders: ls_emvae=RUN mvae=RUN ...")
    add("--models", nargs="+", default=list(table2.MODELS), metavar="NAME", help=f"of {', '.join(table2.MODELS)}")
    add("--tasks", nargs="+", default=list(table2.TASKS), metavar="NAME", help=f"of {', '.join(table2.TASKS)}")
    add("--leads", nargs="+", type=int, default=list(table2.LEADS), metavar="N", help="12, 6 or both (default)")
    add(
        "--representation",
        default="lead_concat",
        choices=["lead_concat", "fused", "experts"],
        help="what of the encoder the head reads (default: lead_concat, as for the published numbers)",
    )
    add("--unpublished", action="store_true", help="also cells that the paper leaves out: beta_vae on 6 leads")
    add(
        "--preset",
        default="paper",
        choices=["paper", "small"],
        help="paper: the paper's recipes. small: tiny models at 100 Hz, on synthetic cohorts if no stores are given",
    )
    add("--epochs", type=int, metavar="N", help="epochs of every fold (default: the recipe's, 50)")
    add("--pretrain_epochs", "--pretrain-epochs", type=int, metavar="N", help="of pre-training (default: 100)")
    add("--folds", type=int, default=5, metavar="K", help="number of folds (default: 5)")
    add("--jobs", type=int, metavar="N", help="folds at once (default: one a GPU, 1 without)")
    add("--ddof", type=int, default=0, choices=[0, 1], help="standard deviation: 0 population (the paper's), 1 sample")
    add("--out", type=Path, metavar="DIR", help="folder of everything (default: runs/reproduce-ls_emvae-PRESET)")
    return result


def run(argv: Sequence[str]) -> int:
    """Runs the command; 1 if a cell failed.

    Raises:
        CardiozooError: Bad options; the caller prints it.
    """
    options, of_fit = parser().parse_known_args(list(argv))
    if options.paper.replace("-", "_") not in PAPERS:
        raise OptionError(
            f"There is no table of {options.paper!r}.",
            f"One of {', '.join(PAPERS)}.",
            "`cardiozoo reproduce --help` tells what is measured.",
        )
    if options.folds < 2:
        raise OptionError(f"--folds {options.folds}.", "At least 2 folds.", "5 is what the paper takes.")
    table = Reproduction(options, of_fit, ["reproduce", *argv])
    return table.run()


class Reproduction:
    """One run of the command.

    Args:
        options: Its own options.
        of_fit: What goes to every fold.
        argv: The command line.
    """

    def __init__(self, options: argparse.Namespace, of_fit: Sequence[str], argv: Sequence[str]) -> None:
        self.options, self.of_fit, self.argv = options, list(of_fit), list(argv)
        self.small = options.preset == "small"
        self.folder = options.out or Path("runs") / f"reproduce-ls_emvae-{options.preset}"
        self.cells = table2.chosen_cells(options.models, options.tasks, options.leads, options.unpublished)
        self.given = _given_runs(options.pretrained)
        needed = {cell.model for cell in self.cells if cell.model in PRETRAINED}
        self.to_train = [model for model in PRETRAINED if model in needed and model not in self.given]
        self._check()
        self.measured: dict[str, dict[str, Any]] = {}

    def run(self) -> int:
        """Pre-trains what is not given, runs every cell, and writes the table after each."""
        self._announce()
        make_folder(self.folder)
        failed = False
        with alone_in(self.folder), Workers(*how_many(self.options.jobs, self._like_a_cell())) as workers:
            encoders = self.given | self._pretrain(workers)
            for number, cell in enumerate(self.cells, start=1):
                said = f"[{number}/{len(self.cells)}] {cell.name}: "
                failed |= not self._cell(cell, encoders, workers, said)
                self._write()
        self._render()
        return FAILED if failed else 0

    # --- Steps -------------------------------------------------------------------------------------------------------

    def _pretrain(self, workers: Workers) -> dict[str, Path]:
        """Name -> run of each model that was trained here; one that fails is left out and said."""
        jobs = []
        for model in self.to_train:
            run = self.folder / "pretrain" / model
            argv = ["fit", "--model", model, "--data", "mimic_iv_ecg", "--run_dir", str(run)]
            store = self.options.pretrain_store
            argv += ["--data.store", str(store)] if store else []
            argv += ["--recipe", f"{model}/mimic_iv_ecg.synthetic"] if self.small else []
            epochs = self.options.pretrain_epochs
            argv += ["--trainer.max_epochs", str(epochs)] if epochs else []
            argv += _shared(self.of_fit)
            if _status(run) == "completed":
                anew = f"Give another --out, or the run itself: --pretrained {model}={run}"
                check_same_store([run], store_at_hand(store, "mimic_iv_ecg"), anew)
            job = _pretraining_job(model, run, argv)
            if job is not None:
                jobs.append(job)
        if jobs:
            say(f"pre-training {', '.join(job.name for job in jobs)}")
        for outcome in workers.run(jobs, lambda o: say(f"pre-training of {o.job.name}: status {o.status}")):
            if outcome.status != 0:
                say(f"{outcome.job.log} ends with:\n{outcome.tail()}")
        runs = {model: self.folder / "pretrain" / model for model in self.to_train}
        return {model: run for model, run in runs.items() if _status(run) == "completed"}

    def _cell(self, cell: Cell, encoders: dict[str, Path], workers: Workers, said: str) -> bool:
        folder = self.folder / "cells" / cell.name
        if cell.model in PRETRAINED and cell.model not in encoders:
            say(f"{said}left out, its encoder could not be trained")
            self.measured[cell.name] = {"status": "no encoder"}
            return False
        encoder = encoders[cell.model].resolve() if cell.model in PRETRAINED else None
        options = cell.options(self.options.store, encoder, self.options.representation, self.small)
        options += ["--trainer.max_epochs", str(self.options.epochs)] if self.options.epochs else []
        try:
            whole = CrossValidation.prepare([*options, *self.of_fit], self.options.folds, folder, self.argv, quiet=True)
            before = table2.read_result(folder)
            deviation = before.get("standard_deviation", {}).get("ddof")
            if not whole.jobs() and (before.get("status"), deviation) == ("completed", self.options.ddof):
                say(f"{said}finished and kept")
                self.measured[cell.name] = before
                return True
            if not run_folds(whole, workers, said):
                whole.write(status="incomplete")
                self.measured[cell.name] = {"status": "a fold failed"}
                return False
            result = whole.judge(self.options.ddof)
        except CardiozooError as error:
            say(f"{said}{type(error).__name__}: {error}")
            self.measured[cell.name] = {"status": str(error).splitlines()[0]}
            return False
        self.measured[cell.name] = table2.read_result(folder)
        say(f"{said}{'  '.join(f'{title} {result.mean_sd(name)}' for name, title in table2.METRICS.items())}")
        return True

    # --- What is said and written ------------------------------------------------------------------------------------

    def _announce(self) -> None:
        say(f"Table 2 of LS-EMVAE: {len(self.cells)} cells of {self.options.folds} folds, in {self.folder}")
        if self.small:
            say(
                "--preset small: SMALL MODELS at 100 Hz, not the paper's; "
                + ("on your stores" if self.options.store else "on SYNTHETIC cohorts, so no result is about patients")
            )
        if any(cell.model in PRETRAINED for cell in self.cells):
            chosen = self.options.representation
            why = "what the published numbers come from" if chosen == "lead_concat" else "as asked for"
            say(f"heads read the representation {chosen} of frozen encoders: {why}")
        if "beta_vae" in self.options.models and not self.options.unpublished and 6 in self.options.leads:
            say("beta_vae on 6 leads is a dash in the paper and is not run; --unpublished runs it")

    def _write(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Writes the table; its rows, and what is to be warned of."""
        from cardiozoo.evaluation.reproduction import write_reproduction

        cells, measured = self._with_earlier()
        rows = table2.rows_of(cells, measured)
        warnings = table2.check_same_folds(cells, measured)
        about = {
            "paper": "LS-EMVAE (Suvon et al., 2025), Table 2",
            "command_line": quoted(self.argv),
            "preset": self.options.preset,
            "representation": self.options.representation,
            "folds": self.options.folds,
            "ddof": self.options.ddof,
            "pretrained": {model: str(run) for model, run in self.given.items()},
            "warnings": warnings,
        }
        write_reproduction(self.folder, rows, about)
        return rows, warnings

    def _with_earlier(self) -> tuple[list[Cell], dict[str, dict[str, Any]]]:
        """The cells of this command and those that an earlier one has finished in the folder, with their results."""
        measured = dict(self.measured)
        known = table2.chosen_cells(table2.MODELS, table2.TASKS, list(table2.LEADS), unpublished=True)
        for cell in known:
            before = {} if cell in self.cells else table2.read_result(self.folder / "cells" / cell.name)
            if before.get("status") == "completed":
                measured[cell.name] = before
        return [cell for cell in known if cell in self.cells or cell.name in measured], measured

    def _render(self) -> None:
        from rich.console import Console

        from cardiozoo.evaluation.reproduction import render_reproduction

        rows, warnings = self._write()
        render_reproduction(rows, self.options.ddof, Console(width=None if sys.stdout.isatty() else 120))
        for line in warnings:
            say(line)
        print(f"Tables: {self.folder / 'table2.csv'}")
        print(f"Report: {self.folder / 'report.html'}")

    # --- Checks ------------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        store = self.options.store
        if store is None and not self.small:
            raise OptionError(
                "No --store was given.",
                "The store of a cohort with mPAP and a wedge pressure, as `cardiozoo prepare ecg_cohort` writes it.",
                "To try the command on synthetic patients: --preset small",
            )
        for name, path in (("--store", store), ("--pretrain_store", self.options.pretrain_store)):
            if path is not None and not (path / "manifest.json").is_file():
                raise OptionError(f"{name} {path} is no store.", "A folder with manifest.json.", "See docs/data.")
        if self.to_train and self.options.pretrain_store is None and not self.small:
            raise OptionError(
                f"Nothing to pre-train {', '.join(self.to_train)} on.",
                "--pretrain_store STORE, or --pretrained " + " ".join(f"{model}=RUN" for model in self.to_train),
                f"Or only models that need none: --models {' '.join(table2.SCRATCH)}",
            )
        for key in ("--model", "--data", "--recipe", "--data.task", "--data.leads", "--data.store", "--run_dir"):
            if any(token.partition("=")[0].replace("-", "_") == key.replace("-", "_") for token in self.of_fit):
                raise OptionError(f"{key} was given.", "reproduce chooses it for every cell.", "Leave it out.")

    def _like_a_cell(self) -> CrossValidation:
        """What the trainer of every cell is told, which decides how many may run at once."""
        from cardiozoo.cli import typed

        asked = typed.as_mapping(typed.with_underscores(self.of_fit))
        return CrossValidation(self.folder, self.options.folds, (), asked, ())


def _given_runs(pretrained: Sequence[str]) -> dict[str, Path]:
    """Name -> run, checked.

    Raises:
        OptionError: Not NAME=RUN, a model that is not pre-trained in the table, or no run there.
    """
    found = {}
    for text in pretrained:
        name, equals, path = text.partition("=")
        name = name.replace("-", "_")
        if not equals or name not in PRETRAINED:
            raise OptionError(
                f"--pretrained {text}.",
                f"NAME=RUN with a name of {', '.join(PRETRAINED)}.",
                "For example --pretrained ls_emvae=RUN, a run of `cardiozoo fit --model ls_emvae`.",
            )
        if not Path(path).exists():
            raise OptionError(
                f"--pretrained {text}: there is no {path}.",
                "A run folder or a checkpoint.",
                f"Look below runs/; without {name} among --pretrained it is trained first.",
            )
        found[name] = Path(path)
    return found


def _pretraining_job(model: str, run: Path, argv: list[str]) -> Job | None:
    """None if it is finished with the same options.

    Raises:
        OptionError: It was begun with other options.
    """
    note = run.with_name(f"{model}.json")
    before = json.loads(note.read_text()) if note.is_file() else None
    if before is not None and before != argv:
        raise OptionError(
            f"{run} was begun with other options: {' '.join(before)}",
            "The same options, to go on with it.",
            "Give another --out, or the run itself: --pretrained " + f"{model}={run}",
        )
    if _status(run) == "completed":
        return None
    run.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(argv))
    if (run / "checkpoints" / "last.ckpt").is_file():
        argv = ["fit", "--resume", str(run)]
    elif run.is_dir():
        run.rename(run.with_name(f"{model}.failed-{len(list(run.parent.glob(f'{model}.failed-*'))) + 1}"))
    return Job(model, tuple(argv), run.with_name(f"{model}.log"))


def _shared(of_fit: list[str]) -> list[str]:
    """Options of the folds that pre-training takes too: those of the trainer, but for its number of epochs."""
    from cardiozoo.cli import typed

    kept: list[str] = []
    for i, key, value in typed.options(of_fit):
        if key.startswith("trainer.") and key != "trainer.max_epochs":
            kept += [of_fit[i]] if "=" in of_fit[i] or value is None else [of_fit[i], value]
    return kept


def _status(run: Path) -> str | None:
    path = run / "run.json"
    return json.loads(path.read_text()).get("status") if path.is_file() else None
