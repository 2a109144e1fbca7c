"""The twelve leads: their names, their order, and how four of them follow from two.

Einthoven (1913) and Goldberger (1942): III = II - I, aVR = -(I + II) / 2, aVL = I - II / 2, aVF = II - I / 2.
"""

from __future__ import annotations

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""Order of the leads everywhere in the project, whatever the order in the files."""
LIMB_LEADS = LEADS[:6]
CHEST_LEADS = LEADS[6:]
