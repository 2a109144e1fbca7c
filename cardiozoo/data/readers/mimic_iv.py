"""MIMIC-IV: from the raw tables to a cohort and its events.

``open_release`` finds the tables, ``read_stays`` chooses and labels the stays, ``write_events`` reads the two event
tables once each and writes the cleaned events of these stays as four memory-mappable arrays.
"""

from __future__ import annotations

from cardiozoo.data.ehr_options import EhrOptions
from cardiozoo.data.readers.mimic_iv_events import write_events
from cardiozoo.data.readers.mimic_iv_release import Release, TableFile, open_release
from cardiozoo.data.readers.mimic_iv_stays import Stays, read_stays

__all__ = ["EhrOptions", "Release", "Stays", "TableFile", "open_release", "read_stays", "write_events"]
