"""Every choice that the way from MIMIC-IV tables to a cohort and its events leaves open, each with a name."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from cardiozoo.data.icd import LabelRule
from cardiozoo.errors import OptionError

__all__ = ["EhrOptions"]


@dataclass(frozen=True)
class EhrOptions:
    """How stays are chosen and labelled and how charted values become events; ``published()`` is the reference's way.

    Args:
        one_stay: When the stays of an admission are counted, of which only a single one is admitted: after stays with a
            transfer between units have been taken out (``after_transfer``), or before (``before_transfer``).
        min_age: Youngest age admitted, in years.
        age: Age when the stay begins (``at_admission``), or in the patient's anchor year (``anchor``).
        mortality: In-hospital death is the hospital's flag, or a time of death within the admission
            (``flag_or_deathtime``); or a time or *date* of death within it (``published``), which counts deaths at home
            on the day of discharge.
        number: Take the numeric column and, where it is empty, the text (``valuenum_first``), or the text alone.
        zeros: Keep an exact 0 of a continuous variable, or take it for missing.
        outliers: Remove values beyond the outlier bounds and clip those beyond the valid ones (``clean``), or ``keep``.
        duplicates: Which of several values of one variable at one time counts: the largest (``max``), that of the
            preferred item, arterial before cuff (``priority``), the one stored last (``latest_stored``), or the largest
            with heart rate, respiratory rate and mean pressure compared as text, so that 99 beats 100 (``text_order``).
            Scores charted as text: the last in the alphabet, whatever the choice, where items and times do not decide.
        lab_link: A laboratory value belongs to the stay during which it was taken (``time``), or to the stay of the
            admission it is filed under (``hadm``), which loses those filed under none.
        gcs_total: The total of the Glasgow scale is not observed (``never``), or the sum of its three parts where they
            are charted at one time (``derived``).
        items: All item ids known to measure a variable (``extended``), or those of the published map, which lacks
            capillary refill, a diastolic pressure and two newer glucose items.
        urine_items: Whether glucose and pH of urine and other fluids count as those of blood, as in the published map.
        units: Exclude values whose unit text is not one in use for the item (``check``), or go by the item alone.
        fio2: Fractions as they are and percentages divided by 100 (``by_value``), or everything divided by 100.
        height: All heights in centimetres, or ``as_charted``, which leaves inches.
        label_map: How ICD-10 codes find their phenotypes; see ``cardiozoo.data.icd``.
        label_fallback: Whether ICD-10 codes that the mapping lacks take what their family agrees on (``any`` and
            ``first``; the published look-up has no such step).

    Raises:
        OptionError: A value that is not among the named ones, or an age out of 0..120.
    """

    one_stay: Literal["after_transfer", "before_transfer"] = "after_transfer"
    min_age: float = 18
    age: Literal["at_admission", "anchor"] = "at_admission"
    mortality: Literal["flag_or_deathtime", "published"] = "flag_or_deathtime"
    number: Literal["valuenum_first", "text"] = "valuenum_first"
    zeros: Literal["keep", "missing"] = "keep"
    outliers: Literal["clean", "keep"] = "clean"
    duplicates: Literal["max", "priority", "latest_stored", "text_order"] = "max"
    lab_link: Literal["time", "hadm"] = "time"
    gcs_total: Literal["never", "derived"] = "never"
    items: Literal["extended", "published"] = "extended"
    urine_items: Literal["exclude", "include"] = "exclude"
    units: Literal["check", "item"] = "check"
    fio2: Literal["by_value", "always_percent"] = "by_value"
    height: Literal["centimetres", "as_charted"] = "centimetres"
    label_map: LabelRule = "any"
    label_fallback: Literal["on", "off"] = "on"

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in fields(self):
            value, accepted = getattr(self, field.name), get_args(hints[field.name])
            if accepted and value not in accepted:
                close = difflib.get_close_matches(str(value), accepted, n=1, cutoff=0.0)
                raise OptionError(
                    f"{field.name}={value!r}.",
                    f"Accepted: {', '.join(accepted)}.",
                    f"The default is {field.default}; closest to what came is {close[0]}.",
                )
        age: Any = self.min_age
        if isinstance(age, bool) or not isinstance(age, int | float) or not (math.isfinite(age) and 0 <= age <= 120):
            raise OptionError(f"min_age={age!r}.", "Accepted: years from 0 to 120.", "The default is 18.")

    @classmethod
    def published(cls) -> EhrOptions:
        """The choices of the released MedFuse extraction, its defects included; for repeating published numbers."""
        return cls(
            age="anchor",
            mortality="published",
            number="text",
            outliers="keep",
            duplicates="text_order",
            lab_link="hadm",
            items="published",
            urine_items="include",
            units="item",
            fio2="always_percent",
            height="as_charted",
            label_map="medfuse",
            label_fallback="off",
        )
