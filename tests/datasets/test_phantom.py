"""The phantom dataset: reproducible images whose labels and boxes say what is drawn."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.core.errors import UsageError
from zoo.core.options import validate
from zoo.core.records import BadImage, Records
from zoo.datasets._phantom_findings import box
from zoo.datasets._phantom_image import PhantomSource, render
from zoo.datasets._phantom_patient import Radiograph, images_of
from zoo.datasets.phantom import LABELS, NORMAL, Phantom, PhantomOptions


def read(**options: float) -> Records:
    return Phantom().read(None, validate(PhantomOptions, options, "data"))


@pytest.fixture(scope="module")
def records() -> Records:
    return read(patients=400)


def single(label: str, count: int) -> list[Radiograph]:
    """Images that show one finding of this label and nothing else."""
    every = (image for patient in range(1, 400) for image in images_of(0, patient, 0.5))
    found = [replace(image, findings=(f,)) for image in every for f in image.findings if f.label == label]
    return found[:count]


def test_read_lists_images_of_known_patients(records: Records) -> None:
    table = records.table
    assert records.normal == NORMAL == "No Finding"
    assert records.labels == LABELS
    assert "split" not in table
    assert not records.official_split
    assert table["patient"].nunique() == 400
    per_patient = table.groupby("patient")
    assert per_patient.size().between(1, 5).all()
    assert per_patient.size().max() >= 4
    assert (per_patient["sex"].nunique() == 1).all()
    assert per_patient["follow_up"].apply(lambda n: list(n) == list(range(len(n)))).all()
    assert per_patient["age"].apply(lambda age: age.is_monotonic_increasing).all()
    assert set(table["view"]) == {"PA", "AP"}
    assert table["age"].between(18, 100).all()


@pytest.mark.parametrize("abnormal", [0.2, 0.5, 0.8])
def test_share_of_abnormal_images(abnormal: float) -> None:
    records = read(patients=1500, abnormal=abnormal)
    share = records.table[list(LABELS)].any(axis=1).mean()
    assert share == pytest.approx(abnormal, abs=0.04)


def test_no_disease_and_only_disease() -> None:
    assert not read(patients=40, abnormal=0).table[list(LABELS)].to_numpy().any()
    assert read(patients=40, abnormal=1).table[list(LABELS)].any(axis=1).all()


def test_every_finding_occurs_and_findings_co_occur(records: Records) -> None:
    labels = records.table[list(LABELS)]
    assert (labels.mean() > 0.04).all()
    assert (labels.sum(axis=1) >= 2).mean() > 0.05


def test_disease_persists_over_follow_up() -> None:
    table = read(patients=1500).table
    abnormal = table[list(LABELS)].any(axis=1)
    previous = abnormal.groupby(table["patient"]).shift()
    again = table["follow_up"] > 0
    assert abnormal[again & (previous == True)].mean() > 0.75  # noqa: E712  # `previous` is an object column with NaN
    assert abnormal[again & (previous == False)].mean() < 0.25  # noqa: E712  # NaN is neither


def test_labels_and_boxes_agree(records: Records) -> None:
    boxed = records.boxes.groupby("image")["label"].agg(set)
    for image in records.table.itertuples():
        present = {label for label in LABELS if getattr(image, label) == 1}
        assert boxed.get(image.image, set()) == present


def test_boxes_lie_inside_the_image(records: Records) -> None:
    b = records.boxes
    assert (b[["x", "y"]] >= 0).all(axis=None)
    assert ((b["x"] + b["width"] <= 1 + 1e-9) & (b["y"] + b["height"] <= 1 + 1e-9)).all()
    assert ((b["width"] > 0.02) & (b["height"] > 0.02)).all()


@pytest.mark.parametrize("label", LABELS)
def test_box_holds_what_the_finding_changes(label: str) -> None:
    size, shares, visible = 96, [], []
    line = (np.arange(size) + 0.5) / size
    for image in single(label, 25):
        shown = render(image, 0, size).astype(float)
        energy = (shown - render(replace(image, findings=()), 0, size)) ** 2
        x, y, width, height = box(image, image.findings[0])
        inside = (abs(line[:, None] - y - height / 2) <= height / 2) & (abs(line - x - width / 2) <= width / 2)
        shares.append(energy[inside].sum() / energy.sum())
        visible.append(energy.sum() ** 0.5)
        assert inside.mean() < 0.4
    assert len(shares) == 25
    assert np.median(shares) > 0.95
    assert min(shares) > 0.6
    assert min(visible) > 40


def test_findings_look_as_named() -> None:
    """Air darkens, fluid and tissue brighten."""
    for label in LABELS:
        change = [
            float(np.mean(render(image, 0, 64).astype(float) - render(replace(image, findings=()), 0, 64)))
            for image in single(label, 12)
        ]
        assert (np.mean(change) < 0) == (label == "Pneumothorax"), label


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), patient=st.integers(1, 10**6), size=st.integers(48, 160))
def test_any_image_renders(seed: int, patient: int, size: int) -> None:
    pixels, note = PhantomSource(seed, size, 0.5).read(f"{patient}/0")
    assert pixels.shape == (size, size)
    assert pixels.dtype == np.uint8
    assert note == ""
    assert pixels.std() > 15


def test_same_seed_same_pixels_in_another_process_and_order(records: Records) -> None:
    paths = list(records.table["path"][:6])
    here = b"".join(records.source.read(path)[0].tobytes() for path in reversed(paths))
    code = (
        "import sys, hashlib; from zoo.datasets._phantom_image import PhantomSource; s = PhantomSource(0, 96, 0.5);"
        f"print(hashlib.sha256(b''.join(s.read(p)[0].tobytes() for p in {paths[::-1]!r})).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert hashlib.sha256(here).hexdigest() == there


def test_images_do_not_depend_on_the_number_of_patients(records: Records) -> None:
    few = read(patients=20)
    assert few.table.equals(records.table.iloc[: len(few)])


def test_seed_patient_and_number_change_the_image() -> None:
    first = PhantomSource(0, 96, 0.5).read("1/0")[0]
    assert (first != PhantomSource(1, 96, 0.5).read("1/0")[0]).mean() > 0.5
    assert (first != PhantomSource(0, 96, 0.5).read("2/0")[0]).mean() > 0.5
    many = read(patients=40).table
    path = str(many["path"][many["follow_up"] == 1].iloc[0])
    source = PhantomSource(0, 96, 0.5)
    assert (source.read(path)[0] != source.read(path.replace("/1", "/0"))[0]).mean() > 0.5


def test_source_travels_and_has_a_fingerprint(records: Records) -> None:
    source = pickle.loads(pickle.dumps(records.source))
    assert source == records.source
    assert len(pickle.dumps(source)) < 300
    assert source.fingerprint(["1/0"]) == records.source.fingerprint(["1/0"])
    others = (PhantomSource(1, 96, 0.5), PhantomSource(0, 97, 0.5), PhantomSource(0, 96, 0.4))
    assert len({s.fingerprint(["1/0"]) for s in (source, *others)} | {source.fingerprint(["2/0"])}) == 5


@pytest.mark.parametrize("path", ["", "1", "1/9", "a/b", "0/0", "1/-1"])
def test_unknown_image(path: str) -> None:
    with pytest.raises(BadImage, match="patient/number"):
        PhantomSource(0, 96, 0.5).read(path)


def test_wrong_option_is_refused() -> None:
    with pytest.raises(UsageError, match="patients"):
        read(patients=0)
    with pytest.raises(UsageError, match="abnormal"):
        read(prevalence=0.5)


def test_listing_loads_no_numpy() -> None:
    code = (
        "import sys; import zoo.datasets.phantom; print(sorted({'numpy', 'pandas', 'PIL', 'keras'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_pixels_alone_do_not_give_the_label_away() -> None:
    """A linear model on pixels is better than chance on held-out patients and far from solving the task."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    records = read(patients=500, size=48)
    pixels = np.stack([records.source.read(path)[0] for path in records.table["path"]]).reshape(len(records), -1)
    abnormal = records.table[list(LABELS)].any(axis=1).to_numpy()
    train = records.table["patient"].astype(int).to_numpy() <= 350
    mean, deviation = pixels[train].mean(0), pixels[train].std(0) + 1e-3
    scaled = (pixels - mean) / deviation
    model = LogisticRegression(C=1e-3, max_iter=1000).fit(scaled[train], abnormal[train])
    auroc = roc_auc_score(abnormal[~train], model.decision_function(scaled[~train]))
    assert 0.55 < auroc < 0.82
