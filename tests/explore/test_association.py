"""Associations of findings with age, sex, view and follow-up, against SciPy and against their definitions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from zoo.explore.association import associations, one_image_per_patient


def cohort(seed: int = 0, images: int = 600) -> pd.DataFrame:
    """Mass goes with view and age, Edema with nothing."""
    rng = np.random.default_rng(seed)
    mass = rng.random(images) < 0.3
    table = pd.DataFrame({"Mass": mass.astype(float), "Edema": (rng.random(images) < 0.2).astype(float)})
    table["view"] = np.where(rng.random(images) < np.where(mass, 0.7, 0.3), "AP", "PA")
    table["sex"] = rng.choice(["M", "F"], images)
    table["age"] = np.round(rng.normal(np.where(mass, 60, 45), 12))
    table["follow_up"] = rng.integers(0, 5, images).astype(float)
    return table


def row(found: pd.DataFrame, finding: str, variable: str) -> pd.Series:
    (index,) = found.index[(found["finding"] == finding) & (found["variable"] == variable)]
    return found.loc[index]


def test_planted_effects_are_found_and_others_are_not() -> None:
    found = associations(cohort(), ["Mass", "Edema"])
    clear = found[found["p_holm"] < 0.05]
    assert set(zip(clear["finding"], clear["variable"], strict=True)) == {("Mass", "view"), ("Mass", "age")}
    assert len(found) == 8


def test_categories_are_scipy_s_chi_square_with_cramer_s_v() -> None:
    table = cohort()
    found = row(associations(table, ["Mass"]), "Mass", "view")
    counts = pd.crosstab(table["view"], table["Mass"]).to_numpy()
    chi2, p, _, _ = stats.chi2_contingency(counts, correction=False)
    assert found["p"] == pytest.approx(p)
    assert found["value"] == pytest.approx(stats.contingency.association(counts, method="cramer"))
    assert found["statistic"] == pytest.approx(chi2)
    assert not found["few"]
    assert found["detail"].startswith(("AP: ", "PA: "))


def test_numbers_are_scipy_s_mann_whitney_with_the_rank_biserial_of_the_auroc() -> None:
    table = cohort()
    table.loc[:50, "age"] = np.nan
    table.loc[40:90, "Mass"] = np.nan
    found = row(associations(table, ["Mass"]), "Mass", "age")
    known = table.dropna(subset=["age", "Mass"])
    sick, well = known.loc[known["Mass"] == 1, "age"], known.loc[known["Mass"] == 0, "age"]
    assert found["p"] == pytest.approx(stats.mannwhitneyu(sick, well, method="asymptotic").pvalue)
    assert found["value"] == pytest.approx(2 * roc_auc_score(known["Mass"], known["age"]) - 1)
    assert (found["positive"], found["negative"]) == (len(sick), len(well))


def test_few_images_are_marked_and_what_cannot_be_tested_is_left_out() -> None:
    table = cohort(images=30).assign(sex="F", Hernia=0.0)
    table.loc[0, "Hernia"] = 1.0
    found = associations(table, ["Hernia"])
    assert "sex" not in set(found["variable"])
    assert row(found, "Hernia", "view")["few"]
    assert associations(table.assign(Hernia=0.0), ["Hernia"]).empty


def test_one_image_of_each_patient_is_drawn_with_the_seed() -> None:
    patients = np.repeat([f"p{i}" for i in range(50)], 4)
    chosen = one_image_per_patient(patients, 0)
    assert sorted(patients[chosen]) == sorted(set(patients))
    assert (chosen == one_image_per_patient(patients, 0)).all()
    assert (chosen != one_image_per_patient(patients, 1)).any()


def test_a_patient_with_many_images_makes_no_association() -> None:
    """500 images of one sick man among 100 people: tested image by image, sex would seem to matter."""
    rng = np.random.default_rng(0)
    sex = rng.choice(["M", "F"], 100)
    sick = (rng.random(100) < 0.3).astype(float)
    sex[0], sick[0] = "M", 1.0
    people = np.r_[np.arange(100), np.zeros(499, int)]
    table = pd.DataFrame({"Mass": sick[people], "sex": sex[people]})
    assert associations(table, ["Mass"])["p"][0] < 1e-6
    assert associations(table[one_image_per_patient(people.astype(str), 0)], ["Mass"])["p"][0] > 0.05
