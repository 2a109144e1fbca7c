"""What a reader of the scores of a focal loss must know."""

from __future__ import annotations

from cardiozoo.evaluation.predictions import CLASSIFICATION, Predictions
from cardiozoo.evaluation.run import RunFacts


def focal_note(run: RunFacts, predictions: Predictions) -> str:
    """Two sentences if the run was trained with a focal loss, else nothing.

    The focal loss is no proper score: the scores at its minimum are not the probabilities, and a weight of 0.25 for
    the positive label draws all of them down, across the threshold. Among more than two classes there is no such
    weight, and the most probable one stays what it is.
    """
    if predictions.kind != CLASSIFICATION or run.loss != "focal":
        return ""
    came = "The run was trained with a focal loss, whose scores are no probabilities:"
    if predictions.one_hot and len(predictions.classes) > 2:
        return f"{came} calibration has to be read so. The most probable class, AUROC and AUPRC are not touched."
    return (
        f"{came} figures at the 0.5 threshold (accuracy, F1, MCC, sensitivity, specificity), and calibration, have to "
        "be read so. AUROC and AUPRC, which rest on the order of the scores alone, are not touched."
    )
