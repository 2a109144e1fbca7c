"""What is planted: the 25 phenotypes, how often they occur, through which modality they show, and how they are coded.

Prevalences are those that MedFuse (Hayat et al. 2022) reports for its training set. ``ehr`` and ``cxr`` are the class
shifts d of a Gaussian score: its AUROC is Phi(d / sqrt 2), and independent evidence adds as d squared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Plant:
    """One phenotype as the simulator knows it.

    Attributes:
        label: Name of the phenotype, as in the clinical benchmark.
        prevalence: Share of stays that carry it.
        ehr: Planted class shift d in the charted events; 0 means there is no path at all or only one through severity.
        cxr: Planted class shift d in the radiograph.
        severity: Log-odds per unit of severity (of respiratory distress for respiratory failure).
        age: Log-odds per decade of age.
        icd9: Codes of version 9, without dot; each lies in this class only.
        icd10: Codes of version 10.
        private: Whether nothing else (severity, vital signs, selection for a radiograph) is connected with it.
    """

    label: str
    prevalence: float
    ehr: float
    cxr: float
    severity: float
    age: float
    icd9: tuple[str, ...]
    icd10: tuple[str, ...]
    private: bool = False


PLANTS: tuple[Plant, ...] = (
    Plant("Acute and unspecified renal failure", 0.27, 1.1, 0.0, 0.36, 0.0, ("5849", "5845"), ("N179", "N170")),
    Plant("Acute cerebrovascular disease", 0.06, 1.8, 0.0, 0.40, 0.0, ("43491", "431", "43411"), ("I639", "I619")),
    Plant("Acute myocardial infarction", 0.07, 0.7, 0.2, 0.40, 0.0, ("41071",), ("I214", "I2119")),
    Plant("Cardiac dysrhythmias", 0.33, 0.6, 0.5, 0.25, 0.2, ("42731", "42789"), ("I4891", "I480", "I471")),
    Plant("Chronic kidney disease", 0.21, 0.9, 0.3, 0.15, 0.15, ("5859", "5856"), ("N189", "N186", "N183")),
    Plant(
        "Chronic obstructive pulmonary disease and bronchiectasis",
        0.14,
        0.0,
        1.0,
        0.0,
        0.0,
        ("496", "49121", "49122"),
        ("J449", "J441"),
        private=True,
    ),
    Plant(
        "Complications of surgical procedures or medical care",
        0.19,
        0.8,
        0.0,
        0.30,
        0.0,
        ("99859", "9971", "99811"),
        ("T814XXA", "T8189XA"),
    ),
    Plant(
        "Conduction disorders",
        0.10,
        0.0,
        1.5,
        0.0,
        0.0,
        ("4263", "42611", "V4501"),
        ("I447", "I4510", "Z950"),
        private=True,
    ),
    Plant(
        "Congestive heart failure; nonhypertensive",
        0.26,
        0.9,
        1.1,
        0.28,
        0.15,
        ("4280", "42833"),
        ("I509", "I5033", "I5023"),
    ),
    Plant(
        "Coronary atherosclerosis and other heart disease",
        0.31,
        0.6,
        0.9,
        0.15,
        0.25,
        ("41401", "41400", "V4581"),
        ("I2510", "Z951", "I252"),
    ),
    Plant(
        "Diabetes mellitus with complications",
        0.11,
        1.6,
        0.0,
        0.10,
        0.0,
        ("25060", "25040"),
        ("E1140", "E1122", "E1165"),
    ),
    Plant("Diabetes mellitus without complication", 0.17, 0.9, 0.0, 0.05, 0.0, ("25000",), ("E119",)),
    Plant("Disorders of lipid metabolism", 0.40, 0.0, 0.0, 0.0, 0.22, ("2724", "2720"), ("E785", "E7800")),
    Plant("Essential hypertension", 0.42, 0.4, 0.1, 0.0, 0.05, ("4019",), ("I10",)),
    Plant(
        "Fluid and electrolyte disorders",
        0.37,
        0.9,
        0.0,
        0.45,
        0.0,
        ("2762", "2761", "2768", "2760"),
        ("E872", "E871", "E876", "E860"),
    ),
    Plant("Gastrointestinal hemorrhage", 0.07, 0.9, 0.0, 0.10, 0.0, ("5789", "5780"), ("K922", "K921", "K920")),
    Plant(
        "Hypertension with complications and secondary hypertension",
        0.22,
        0.8,
        0.4,
        0.05,
        0.05,
        ("40390", "40391"),
        ("I129", "I120", "I130"),
    ),
    Plant("Other liver diseases", 0.13, 0.8, 0.3, 0.40, 0.0, ("5715", "5722"), ("K7460", "K766", "K7290")),
    Plant(
        "Other lower respiratory disease",
        0.10,
        0.0,
        0.0,
        0.0,
        0.0,
        ("78609", "7862", "7863"),
        ("R0602", "R05", "R042"),
        private=True,
    ),
    Plant("Other upper respiratory disease", 0.05, 0.0, 0.0, 0.0, 0.0, ("4786", "47874"), ("J384",), private=True),
    Plant(
        "Pleurisy; pneumothorax; pulmonary collapse",
        0.07,
        0.0,
        1.5,
        0.0,
        0.0,
        ("5119", "51289", "5180"),
        ("J90", "J939", "J9811"),
        private=True,
    ),
    Plant(
        "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)",
        0.13,
        0.8,
        1.0,
        0.55,
        0.0,
        ("486", "48241"),
        ("J189", "J150"),
    ),
    Plant(
        "Respiratory failure; insufficiency; arrest (adult)",
        0.16,
        1.4,
        0.6,
        0.90,
        0.0,
        ("51881", "51884"),
        ("J9601", "J9600", "J9621"),
    ),
    Plant(
        "Septicemia (except in labor)", 0.16, 1.3, 0.0, 0.55, 0.0, ("0389", "0380", "99592"), ("A419", "A4101", "R6520")
    ),
    Plant("Shock", 0.12, 1.5, 0.0, 0.55, 0.0, ("78551", "78552"), ("R570", "R578", "R579")),
)

SEPTIC_SHOCK = "R6521"
"""One ICD-10 code that sets two classes (23 and 24); emitted only where both are present."""

FILLER_ICD9 = (
    "V5861",
    "V1582",
    "2449",
    "311",
    "53081",
    "2859",
    "V4986",
    "27800",
    "2749",
    "32723",
    "30000",
    "5990",
    "2851",
    "V5867",
    "V1251",
    "71590",
    "3051",
    "73300",
    "56400",
    "V5866",
)
FILLER_ICD10 = (
    "Z7901",
    "Z87891",
    "E039",
    "F329",
    "K219",
    "D649",
    "Z66",
    "E669",
    "M109",
    "G4733",
    "F419",
    "N390",
    "D62",
    "Z794",
    "Z8673",
    "M1990",
    "F17210",
    "M810",
    "K5900",
    "Z7902",
)
"""Frequent codes outside all 25 classes: they give every admission a list of diagnoses of plausible length."""

PREVALENCE = np.array([plant.prevalence for plant in PLANTS])
TARGET_EHR = np.array([plant.ehr for plant in PLANTS])
TARGET_CXR = np.array([plant.cxr for plant in PLANTS])
SEVERITY = np.array([plant.severity for plant in PLANTS])
AGE = np.array([plant.age for plant in PLANTS])
PRIVATE = tuple(index for index, plant in enumerate(PLANTS) if plant.private)

(RENAL, STROKE, INFARCTION, RHYTHM, KIDNEY, COPD, SURGICAL, CONDUCTION, FAILURE, CORONARY,
 DIABETES_COMPLICATED, DIABETES, LIPIDS, HYPERTENSION, ELECTROLYTES, BLEEDING, HYPERTENSION_COMPLICATED, LIVER,
 LOWER_AIRWAY, UPPER_AIRWAY, PLEURA, PNEUMONIA, RESPIRATORY, SEPSIS, SHOCK) = range(25)  # fmt: skip

CHRONIC = (RHYTHM, KIDNEY, COPD, CONDUCTION, FAILURE, CORONARY, DIABETES_COMPLICATED, DIABETES, LIPIDS, HYPERTENSION,
           HYPERTENSION_COMPLICATED, LIVER)  # fmt: skip
"""Conditions of the person: their admissions share one uniform draw, so that they mostly return."""
