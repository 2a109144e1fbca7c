"""``cardiozoo evaluate``: judge a run, or any predictions table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DESCRIPTION = """\
Judge the predictions of a run, or a table that any framework wrote: AUROC and AUPRC, decisions at 0.5 (accuracy, MCC,
F1), macro and per class, with bootstrap intervals over patients; paired and partial rows, subgroups and gaps,
calibration, one HTML report. Of a regression: RMSE, MAE, R2, Pearson's r and agreement. Of a run without targets: the
mean of every extra/<name> column.

A predictions table (.parquet or .csv) has the columns id, split, target/<class> (0, 1 or empty), score/<class> (0 to 1)
and, if you have them, patient, group/<name> and present/<modality>.
"""


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    result = argparse.ArgumentParser(
        prog="cardiozoo evaluate", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = result.add_argument
    add("source", type=Path, metavar="RUN_OR_TABLE", help="folder of a run, or a predictions table")
    add("--out", type=Path, metavar="DIR", help="write there instead of into the run's folder (or beside the table)")
    add("--split", metavar="NAME", help="split to judge; test if the table holds several")
    add("--bootstrap", type=int, default=1000, metavar="N", help="draws of whole patients (default: 1000)")
    add("--seed", type=int, default=0, metavar="N", help="seed of the draws (default: 0)")
    add("--level", type=float, default=0.95, metavar="P", help="coverage of the intervals (default: 0.95)")
    add(
        "--subset",
        nargs="+",
        default=["all", "paired", "partial"],
        choices=["all", "paired", "partial"],
        help="rows to judge apart: all, paired (every modality there), partial (one missing); default: each of them",
    )
    add(
        "--age-bands",
        default="default",
        metavar="BANDS",
        help="default ([18,35) [35,50) [50,75) [75,inf)), medfuse ([18,40) [40,60) [60,80) [80,inf)), "
        "or rising limits: 18,40,65,inf",
    )
    add(
        "--kind",
        choices=["classification", "regression", "unsupervised"],
        help="of a table that no run stands beside (default: unsupervised if it has neither targets nor scores, "
        "else classification)",
    )
    add("--bins", type=int, default=10, metavar="N", help="bins of the calibration error (default: 10)")
    add(
        "--against",
        type=Path,
        metavar="OTHER",
        help="another run or table of the same samples: print and write the differences, with paired intervals",
    )
    add("--no-report", action="store_true", help="tables only: no plots, no HTML report")
    add("--json", action="store_true", help="print the metrics as JSON instead of a table")
    return result


def run(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status.

    Raises:
        CardiozooError: Bad input; the caller prints it.
    """
    options = parser().parse_args(list(argv))
    settings: dict[str, Any] = {
        "n_bootstrap": options.bootstrap,
        "seed": options.seed,
        "level": options.level,
        "subsets": tuple(options.subset),
        "age_bands": _age_bands(options.age_bands),
        "bins": options.bins,
        "kind": options.kind,
    }
    return _compare(options, settings) if options.against else _evaluate(options, settings)


main = run


def _evaluate(options: argparse.Namespace, settings: dict[str, Any]) -> int:
    from rich.console import Console

    from cardiozoo.evaluation.evaluate import evaluate_run, evaluate_table
    from cardiozoo.evaluation.focal import focal_note

    judge = evaluate_run if options.source.is_dir() else evaluate_table
    result = judge(options.source, out=options.out, split=options.split, report=not options.no_report, **settings)
    if options.json:
        paths = {"folder": str(result.folder), "report": str(result.report) if result.report else None}
        _print_json(result.summary() | paths)
        return 0
    console, messages = Console(), Console(stderr=True, soft_wrap=True, highlight=False)
    result.render(console)
    printed = focal_note(result.run, result.predictions)
    for note in (note for note in result.notes if note != printed):
        messages.print(f"Note: {note}", markup=False)
    print(f"Tables: {result.folder}")
    if result.report:
        print(f"Report: {result.report}")
    return 0


def _compare(options: argparse.Namespace, settings: dict[str, Any]) -> int:
    from cardiozoo.evaluation.comparison import compare

    result = compare(options.source, options.against, split=options.split, **settings)
    if options.source.is_dir():
        folder = (options.out or options.source) / "evaluation"
    else:
        folder = options.out or options.source.with_name(f"{options.source.stem}.evaluation")
    other = options.against.resolve()
    files = result.write(folder / f"against_{other.name if other.is_dir() else other.stem}")
    if options.json:
        content = {"a": result.name_a, "b": result.name_b, "synthetic": result.synthetic, "notes": list(result.notes)}
        _print_json(content | {"differences": result.table.to_dicts()})
        return 0
    result.render()
    print(f"Tables: {files[0].parent}")
    return 0


def _age_bands(text: str) -> str | tuple[float, ...]:
    if not any(character.isdigit() for character in text):
        return text
    try:
        return tuple(float(limit) for limit in text.split(","))
    except ValueError as error:
        from cardiozoo.errors import OptionError

        raise OptionError(
            f"--age-bands was {text!r}.", "default, medfuse, or rising limits such as 18,40,65,inf.", "Type numbers."
        ) from error


def _print_json(content: dict[str, Any]) -> None:
    import json

    from cardiozoo.evaluation.tables import finite

    print(json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False))
