"""Whether a finished run was made with the data that are at hand now: a store may have been prepared anew since."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from cardiozoo.errors import OptionError


def store_at_hand(store: str | Path | None, data: str | None) -> str | None:
    """SHA-256 of the manifest of the store that a run would read now.

    Args:
        store: Its folder; None for the synthetic cohort of the data module.
        data: Name of the data module.

    Returns:
        None where it cannot be known before the run; an empty text for a synthetic cohort that is still to be made.
    """
    from cardiozoo.data.store import MANIFEST, sha256_of
    from cardiozoo.data.synthetic.demo import DEMOS, demo_path

    if store is not None:
        manifest = Path(store) / MANIFEST
        return sha256_of(manifest) if manifest.is_file() else None
    if data not in DEMOS:
        return None
    manifest = demo_path(data) / MANIFEST
    return sha256_of(manifest) if manifest.is_file() else ""


def check_same_store(runs: Iterable[Path], now: str | None, anew: str) -> None:
    """Check finished runs before they are kept.

    Args:
        runs: Their folders.
        now: What `store_at_hand` says.
        anew: What to do to run them again.

    Raises:
        OptionError: A run was made with another store.
    """
    for run in runs:
        record = run / "run.json"
        then = json.loads(record.read_text()).get("data", {}).get("manifest_sha256") if record.is_file() else None
        if now is not None and then is not None and then != now:
            at_hand = f"manifest {now[:12]}" if now else "a newer synthetic cohort"
            raise OptionError(
                f"{run} was made with another store (manifest {then[:12]}) than the one at hand ({at_hand}).",
                "The same store, so that what is finished can be kept.",
                anew,
            )
