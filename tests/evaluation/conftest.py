from __future__ import annotations

from pathlib import Path

import pytest
from fake_run import predictions_table, write_run

from cardiozoo.evaluation.evaluate import Evaluation, evaluate_run


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """A whole run, judged with its report; read only."""
    run = write_run(tmp_path_factory.mktemp("runs") / "20260101-120000")
    return evaluate_run(run, n_bootstrap=100)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder a test may change."""
    return write_run(tmp_path / "run", predictions_table(150, 3, 100))
