"""Associations of findings with age, sex, view and follow-up: tests on one image per patient, Holm-corrected, with effect sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from zoo.evaluation.p_values import holm

CATEGORIES, NUMBERS = ("sex", "view"), ("age", "follow_up")
FEW = 5.0  # expected images per cell: with fewer, chi-square is not reliable
COLUMNS = (
    "finding",
    "variable",
    "test",
    "positive",
    "negative",
    "statistic",
    "p",
    "p_holm",
    "effect",
    "value",
    "few",
    "detail",
)


def one_image_per_patient(patients: np.ndarray, seed: int) -> np.ndarray:
    """A mask with one image of each patient, drawn with the seed: images of one patient are not independent."""
    order = np.random.default_rng(seed).permutation(len(patients))
    _, first = np.unique(patients[order], return_index=True)
    chosen = np.zeros(len(patients), bool)
    chosen[order[first]] = True
    return chosen


def associations(table: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Test every finding against every column of metadata.

    Sex and view: Pearson's chi-square without continuity correction; the effect is Cramér's V, sqrt(χ² / (n (min(r, c) - 1))).
    Age and follow-up: the two-sided Mann-Whitney U test; the effect is the rank-biserial correlation 2 AUROC - 1 with
    AUROC = U / (n₁ n₀), the number taken as a score for the finding. `p_holm` is corrected over all tests.

    Args:
        table: independent images: labels 1, 0 or NaN, and any of sex, view, age and follow_up.
        labels: the columns of findings.

    Returns:
        One row per test that can be made, sorted by p; `few` where an expected count is below 5.
    """
    rows = []
    for label in labels:
        for variable in (*CATEGORIES, *NUMBERS):
            if variable not in table:
                continue
            known = table[[label, variable]].dropna()
            test = _categories if variable in CATEGORIES else _numbers
            found = test(known[label].to_numpy() == 1, known[variable].to_numpy())
            if found is not None:
                rows.append({"finding": label, "variable": variable, **found})
    result = pd.DataFrame(rows, columns=list(COLUMNS))
    result["p_holm"] = holm(result["p"].tolist())
    return result.sort_values(["p", "finding", "variable"], kind="stable").reset_index(drop=True)


def _categories(positive: np.ndarray, values: np.ndarray) -> dict[str, object] | None:
    from scipy.stats import chi2_contingency

    counts = pd.crosstab(values, positive)
    if counts.shape[0] < 2 or counts.shape[1] < 2:
        return None
    test = chi2_contingency(counts.to_numpy(), correction=False)
    effect = float(np.sqrt(test.statistic / (counts.to_numpy().sum() * (min(counts.shape) - 1))))
    with_it, without = counts[True] / counts[True].sum(), counts[False] / counts[False].sum()
    most = str((with_it - without).abs().idxmax())
    return {
        "test": "chi-square",
        "positive": int(counts[True].sum()),
        "negative": int(counts[False].sum()),
        "statistic": float(test.statistic),
        "p": float(test.pvalue),
        "effect": "Cramér's V",
        "value": effect,
        "few": bool((test.expected_freq < FEW).any()),
        "detail": f"{most}: {with_it[most]:.0%} with it, {without[most]:.0%} without",
    }


def _numbers(positive: np.ndarray, values: np.ndarray) -> dict[str, object] | None:
    from scipy.stats import mannwhitneyu

    with_it, without = values[positive].astype(float), values[~positive].astype(float)
    if not len(with_it) or not len(without) or len(np.unique(values)) < 2:
        return None
    test = mannwhitneyu(with_it, without, alternative="two-sided", method="asymptotic")
    auroc = float(test.statistic) / (len(with_it) * len(without))
    return {
        "test": "Mann-Whitney",
        "positive": len(with_it),
        "negative": len(without),
        "statistic": float(test.statistic),
        "p": float(test.pvalue),
        "effect": "rank-biserial",
        "value": 2 * auroc - 1,
        "few": min(len(with_it), len(without)) < FEW,
        "detail": f"median {np.median(with_it):g} with it, {np.median(without):g} without (AUROC {auroc:.3f})",
    }
