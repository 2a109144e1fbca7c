"""Options of the simulator: refused before work begins; same seed, same bytes; small cohorts in large ones."""

import gzip
import hashlib
from collections import Counter

import pytest
from synthetic_cohort import small

from cardiozoo.data.synthetic import mimic_cxr_ehr
from cardiozoo.data.synthetic.mimic_cxr_ehr import synthesize
from cardiozoo.data.synthetic.streams import IdKind, identify
from cardiozoo.errors import CardiozooError, OptionError, StoreError

TABLES = (
    "mimic-iv/hosp/patients", "mimic-iv/hosp/admissions", "mimic-iv/hosp/diagnoses_icd", "mimic-iv/hosp/labevents",
    "mimic-iv/icu/icustays", "mimic-iv/icu/chartevents", "mimic-cxr/mimic-cxr-2.0.0-metadata",
    "mimic-cxr/mimic-cxr-2.0.0-split", "mimic-cxr/mimic-cxr-2.0.0-chexpert", "mimic-cxr/mimic-cxr-2.0.0-negbio",
)  # fmt: skip


def digests(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(root, name):
    lines = gzip.decompress((root / f"{name}.csv.gz").read_bytes()).decode().splitlines()[1:]
    return Counter(line.split(",", 1)[1] if name.endswith("labevents") else line for line in lines)


def test_same_seed_gives_same_bytes(tmp_path):
    first = synthesize(tmp_path / "a", patients=8, seed=5, image_size=96)
    second = synthesize(tmp_path / "b", patients=8, seed=5, image_size=96)
    other = synthesize(tmp_path / "c", patients=8, seed=6, image_size=96)
    assert digests(first) == digests(second)
    shared = digests(first).keys() & digests(other).keys()
    assert digests(first)["mimic-iv/icu/chartevents.csv.gz"] != digests(other)["mimic-iv/icu/chartevents.csv.gz"]
    assert not any(name.endswith(".jpg") for name in shared)


def test_a_smaller_cohort_is_part_of_a_larger_one(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:  # not for the cohort that other tests look at, should it be written here
        patch.setattr(mimic_cxr_ehr, "BLOCK", 7)
        part = synthesize(tmp_path / "part", patients=25, seed=3, image_size=128, dirt=0.02)
    for name in TABLES:
        missing = rows(part, name) - rows(small(), name)
        assert not missing, (name, list(missing)[:3])
    pictures = {name: value for name, value in digests(part).items() if name.endswith(".jpg")}
    whole = digests(small())
    assert pictures
    assert all(whole[name] == value for name, value in pictures.items())


def test_without_images_the_record_is_the_same(tmp_path):
    bare = digests(synthesize(tmp_path / "bare", patients=60, seed=3, images=False, dirt=0.02))
    full = digests(small())
    tables = [name for name in full if name.startswith("mimic-iv/") and name.endswith(".csv.gz")]
    assert len(tables) == 8
    assert all(bare[name] == full[name] for name in tables)
    assert not any(name.startswith("mimic-cxr") for name in bare)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("patients", 0),
        ("patients", 10**7),
        ("seed", -1),
        ("image_size", 32),
        ("image_size", 5000),
        ("dirt", -0.1),
        ("dirt", 0.5),
        ("dirt", float("nan")),
    ],
)
def test_options_out_of_range_stop_before_anything_is_written(tmp_path, option, value):
    with pytest.raises(OptionError, match=option):
        synthesize(tmp_path / "out", **{option: value})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_content_is_refused_and_untouched(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OptionError, match="holds something"):
            synthesize(tmp_path, patients=2, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    with pytest.raises(OptionError, match="is a file"):
        synthesize(tmp_path / "letter.txt", patients=2)


def test_overwrite_replaces_only_an_earlier_cohort(tmp_path):
    out = synthesize(tmp_path / "out", patients=2, images=False)
    with pytest.raises(OptionError, match="holds something"):
        synthesize(out, patients=3, images=False)
    synthesize(out, patients=3, images=False, overwrite=True)
    assert rows(out, "mimic-iv/hosp/patients").total() == 3


def test_remains_of_a_killed_run_are_replaced_but_no_strangers_folder(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mimic_cxr_ehr._Writer, "_block", killed)
        with pytest.raises(KeyboardInterrupt):
            synthesize(tmp_path / "out", patients=2, images=False)
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "out.partial").exists()
    synthesize(tmp_path / "out", patients=2, images=False)
    assert not (tmp_path / "out.partial").exists()
    (tmp_path / "other.partial").mkdir()
    (tmp_path / "other.partial" / "letter.txt").write_text("mine")
    with pytest.raises(OptionError, match="in the way"):
        synthesize(tmp_path / "other", patients=2, images=False)
    assert (tmp_path / "other.partial" / "letter.txt").exists()


def test_a_disk_that_fills_is_reported(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mimic_cxr_ehr._Writer, "_block", full)
    with pytest.raises(StoreError, match="No space left") as caught:
        synthesize(tmp_path / "out", patients=2, images=False)
    assert isinstance(caught.value, CardiozooError)
    assert caught.value.next_step
    assert not (tmp_path / "out").exists()


def test_ids_are_a_permutation_keyed_by_the_seed():
    slots = range(100_000)
    first, second = identify(0, IdKind.PATIENT, list(slots)), identify(1, IdKind.PATIENT, list(slots))
    assert len(set(first.tolist())) == 100_000
    assert first.min() >= 10_000_000
    assert first.max() < 20_000_000
    assert (first != second).mean() > 0.999
    rising = (first[1:] > first[:-1]).mean()
    assert abs(rising - 0.5) < 0.01
    with pytest.raises(ValueError, match="does not fit"):
        identify(0, IdKind.PATIENT, [10_000_000])
