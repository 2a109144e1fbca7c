"""Items of the charting and laboratory systems that the simulator writes: number, name, unit, category."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Item:
    """One row of d_items or d_labitems; ``fluid`` is empty for charted items."""

    itemid: int
    label: str
    unit: str
    category: str
    param_type: str = "Numeric"
    fluid: str = ""


VITAL, NEURO, LAB, ALARM = "Routine Vital Signs", "Neurological", "Labs", "Alarms"

CHART_ITEMS: tuple[Item, ...] = (
    Item(220045, "Heart Rate", "bpm", VITAL),
    Item(220210, "Respiratory Rate", "insp/min", "Respiratory"),
    Item(224690, "Respiratory Rate (Total)", "insp/min", "Respiratory"),
    Item(220277, "O2 saturation pulseoxymetry", "%", "Respiratory"),
    Item(220179, "Non Invasive Blood Pressure systolic", "mmHg", VITAL),
    Item(220180, "Non Invasive Blood Pressure diastolic", "mmHg", VITAL),
    Item(220181, "Non Invasive Blood Pressure mean", "mmHg", VITAL),
    Item(220050, "Arterial Blood Pressure systolic", "mmHg", VITAL),
    Item(220051, "Arterial Blood Pressure diastolic", "mmHg", VITAL),
    Item(220052, "Arterial Blood Pressure mean", "mmHg", VITAL),
    Item(225309, "ART BP Systolic", "mmHg", VITAL),
    Item(225310, "ART BP Diastolic", "mmHg", VITAL),
    Item(225312, "ART BP Mean", "mmHg", VITAL),
    Item(227243, "Manual Blood Pressure Systolic Right", "mmHg", VITAL),
    Item(227242, "Manual Blood Pressure Diastolic Right", "mmHg", VITAL),
    Item(223761, "Temperature Fahrenheit", "°F", VITAL),
    Item(223762, "Temperature Celsius", "°C", VITAL),
    Item(220739, "GCS - Eye Opening", "", NEURO, "Text"),
    Item(223900, "GCS - Verbal Response", "", NEURO, "Text"),
    Item(223901, "GCS - Motor Response", "", NEURO, "Text"),
    Item(223835, "Inspired O2 Fraction", "", "Respiratory"),
    Item(225664, "Glucose finger stick (range 70-100)", "", LAB),
    Item(220621, "Glucose (serum)", "", LAB),
    Item(223830, "PH (Arterial)", "units", LAB),
    Item(220274, "PH (Venous)", "units", LAB),
    Item(226512, "Admission Weight (Kg)", "kg", "General"),
    Item(226531, "Admission Weight (lbs.)", "", "General"),
    Item(224639, "Daily Weight", "kg", "General"),
    Item(226730, "Height (cm)", "cm", "General"),
    Item(226707, "Height", "Inch", "General"),
    Item(223951, "Capillary Refill R", "", "Cardiovascular (Pulses)", "Text"),
    Item(220046, "Heart rate Alarm - High", "bpm", ALARM),
    Item(224054, "Braden Sensory Perception", "", "Skin - Assessment", "Text"),
)

GAS, CHEMISTRY, HEMATOLOGY = "Blood Gas", "Chemistry", "Hematology"
LAB_ITEMS: tuple[Item, ...] = (
    Item(50931, "Glucose", "mg/dL", CHEMISTRY, fluid="Blood"),
    Item(50809, "Glucose", "mg/dL", GAS, fluid="Blood"),
    Item(50820, "pH", "units", GAS, fluid="Blood"),
    Item(50817, "Oxygen Saturation", "%", GAS, fluid="Blood"),
    Item(50813, "Lactate", "mmol/L", GAS, fluid="Blood"),
    Item(50912, "Creatinine", "mg/dL", CHEMISTRY, fluid="Blood"),
    Item(50971, "Potassium", "mEq/L", CHEMISTRY, fluid="Blood"),
    Item(51222, "Hemoglobin", "g/dL", HEMATOLOGY, fluid="Blood"),
    Item(51478, "Glucose", "mg/dL", HEMATOLOGY, fluid="Urine"),
)

CHART_INDEX = {item.itemid: row for row, item in enumerate(CHART_ITEMS)}
LAB_INDEX = {item.itemid: row for row, item in enumerate(LAB_ITEMS)}

EYE = ("None", "To Pain", "To Speech", "Spontaneously")
VERBAL = ("No Response", "Incomprehensible sounds", "Inappropriate Words", "Confused", "Oriented")
MOTOR = ("No response", "Abnormal extension", "Abnormal Flexion", "Flex-withdraws", "Localizes Pain", "Obeys Commands")
INTUBATED = "No Response-ETT"
REFILL = ("Normal <3 Seconds", "Abnormal >3 Seconds")
BRADEN = ("Completely Limited", "Very Limited", "Slight Impairment", "No Impairment")

_HUNDREDTHS = 120_000


class Values:
    """Every value as one small integer: codes below 120,000 are hundredths, those above are texts.

    So a million rows are turned into text by one look-up, and a row made dirty keeps its place.
    """

    def __init__(self) -> None:
        self.texts = [f"{code / 100:.2f}".rstrip("0").rstrip(".") for code in range(_HUNDREDTHS)]
        self.numbers = [code / 100 for code in range(_HUNDREDTHS)]
        self._codes: dict[tuple[str, float | None], int] = {}
        self.eye = np.array([self.code(text, score) for score, text in enumerate(EYE, 1)])
        self.verbal = np.array([self.code(text, score) for score, text in enumerate(VERBAL, 1)])
        self.motor = np.array([self.code(text, score) for score, text in enumerate(MOTOR, 1)])
        self.intubated = self.code(INTUBATED, 1.0)
        self.refill = np.array([self.code(text, None) for text in REFILL])
        self.braden = np.array([self.code(text, score) for score, text in enumerate(BRADEN, 1)])

    def code(self, text: str, number: float | None) -> int:
        """Code of a text with the number that stands beside it in ``valuenum`` (None: an empty field)."""
        if (text, number) not in self._codes:
            self._codes[text, number] = len(self.texts)
            self.texts.append(text)
            self.numbers.append(float("nan") if number is None else number)
        return self._codes[text, number]

    @staticmethod
    def numeric(values: np.ndarray, step: float = 1.0) -> np.ndarray:
        """Codes of numbers rounded to ``step``, held inside [0, 1200)."""
        rounded = np.rint(np.asarray(values, dtype=np.float64) / step) * step
        return np.clip(np.rint(rounded * 100.0), 0, _HUNDREDTHS - 1).astype(np.int64)
