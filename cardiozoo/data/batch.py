"""The batch every model of the zoo receives.

A mapping, so that a new modality is a new key and nobody's code breaks:

=================  =======================  ==================================================================
key                type                     meaning
=================  =======================  ==================================================================
``id``             list of str              one sample each, unique in its split
``patient``        list of str              the unit of splitting and of bootstrap resampling
``ehr``            float32 (B, T, channels) standardised, right-padded with 0
``ehr_lengths``    int64 (B,)               valid steps, at least 1
``cxr``            float32 (B, 3, H, W)     normalised; rows without a radiograph are 0
``ecg``            float32 (B, 12, T)       leads in the order of ``cardiozoo.data.ecg.LEADS``; 0 where a lead is absent
``ecg_leads``      bool (B, 12)             which leads are there
``features``       float32 (B, D)           in place of a modality: vectors of a frozen encoder, computed before
``present``        dict of bool (B,)        one mask a modality; True = this row has it
``target``         float32 (B, C)           0/1, or numbers of a ``regression``; NaN = unlabelled. ``multiclass``: int64
                                            (B,), -1 = unlabelled. Not there when ``unsupervised``
``groups``         dict                     per row: ``age`` float32 (B,) in years, ``sex`` list of str, ...
=================  =======================  ==================================================================

A missing modality is a masked row, never a changed shape. Masked entries must not matter, whatever they hold.
"""

from __future__ import annotations

from typing import TypedDict

import torch
from torch import Tensor


class Batch(TypedDict, total=False):
    """See the module docstring for shapes, units and meanings."""

    id: list[str]
    patient: list[str]
    ehr: Tensor
    ehr_lengths: Tensor
    cxr: Tensor
    ecg: Tensor
    ecg_leads: Tensor
    mri: Tensor
    features: Tensor
    present: dict[str, Tensor]
    target: Tensor
    groups: dict[str, Tensor | list[str]]


class Record(TypedDict, total=False):
    """What ``predict_step`` (and the validation and test steps) of every model return, one entry a sample.

    ``score`` holds probabilities (B, C), or predictions in the units of the target for ``regression``; ``target`` is
    (B, C) with NaN where unlabelled (one-hot for ``multiclass``). Both have no column when ``unsupervised``.
    ``extra`` holds further columns a model wants in its predictions table: name -> (B,) or (B, C).
    """

    id: list[str]
    patient: list[str]
    class_names: list[str]
    score: Tensor
    target: Tensor
    present: dict[str, Tensor]
    groups: dict[str, Tensor | list[str]]
    extra: dict[str, Tensor]


def step_mask(lengths: Tensor, steps: int) -> Tensor:
    """True at the valid steps of right-padded sequences: lengths (B,) -> bool (B, steps)."""
    return torch.arange(steps, device=lengths.device)[None, :] < lengths[:, None]
