"""The synthetic cohort that stands in where no store is given: made once, by one process, and made again if damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cardiozoo.data.mimic_cxr_ehr import MimicCxrEhr
from cardiozoo.data.store import Store
from cardiozoo.data.synthetic.demo import cache_folder, demo_store
from cardiozoo.errors import OptionError, StoreError


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CARDIOZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CARDIOZOO_DEMO_PATIENTS", "60")
    return tmp_path / "cache"


def test_two_processes_build_it_once_and_later_ones_take_it(small: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = "from cardiozoo.data.synthetic.demo import demo_store; print(demo_store())"
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    paths = {output.strip() for output, _ in outputs}
    said = [" ".join(errors.split()) for _, errors in outputs if errors.strip()]
    assert len(paths) == 1 and len(said) == 1 and "synthetic cohort of 60 patients" in said[0]
    path = Path(paths.pop())
    assert path.parent == small and sorted(p.name for p in small.iterdir()) == [path.name, f"{path.name}.lock"]
    assert demo_store() == path and capfd.readouterr().err == ""
    assert Store.open(path).synthetic

    data = MimicCxrEhr(image_size=32, num_workers=0, window="48h")
    assert data.synthetic and data.spec.synthetic and data.store_path == path
    assert data.manifest["simulator"]["patients"] == 60
    batch = next(iter(data.train_dataloader()))
    assert len(batch["id"]) == 16 and batch["ehr"].shape[1:] == (48, 76)

    before = Store.open(path).manifest_sha256
    (path / "images.bin").write_bytes(b"")
    assert demo_store() == path and "building" in capfd.readouterr().err
    assert Store.open(path).manifest_sha256 == before


@pytest.mark.parametrize("number", ["few", "10", "-5", ""])
def test_a_number_of_patients_that_is_none(small: Path, monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    monkeypatch.setenv("CARDIOZOO_DEMO_PATIENTS", number)
    with pytest.raises(OptionError, match="CARDIOZOO_DEMO_PATIENTS"):
        demo_store()


def test_a_cache_that_cannot_be_written_to(small: Path) -> None:
    small.write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cannot be kept"):
        demo_store()


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARDIOZOO_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/cardiozoo")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == Path("/home/somebody/.cache/cardiozoo")
