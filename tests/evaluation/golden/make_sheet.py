"""Makes sheet.json: figures of other programs for the tests of the sheet. Needs statsmodels, dcurves and scikit-learn.

python tests/evaluation/golden/make_sheet.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dcurves
import numpy as np
import pandas as pd
import statsmodels.api as sm


def images(seed: int, number: int, levels: int) -> dict[str, Any]:
    """Logits of so many distinct values, labels of other odds, three images of a patient."""
    rng = np.random.default_rng(seed)
    z = rng.choice(np.round(np.linspace(-4, 2, levels), 3), number)
    y = (rng.random(number) < 1 / (1 + np.exp(-(0.7 * z + 0.4)))).astype(int)
    return {"z": z.tolist(), "y": y.tolist(), "patients": (np.arange(number) // 3).tolist()}


def regressions(found: dict[str, Any]) -> dict[str, float]:
    """Slope and intercept with the standard errors between patients, without small-sample factors."""
    z, y = np.array(found["z"]), np.array(found["y"])
    kwds = {"groups": np.array(found["patients"]), "use_correction": False}
    family = sm.families.Binomial()
    slope = sm.GLM(y, sm.add_constant(z), family=family).fit(cov_type="cluster", cov_kwds=kwds)
    at_one = sm.GLM(y, np.ones((len(y), 1)), family=family, offset=z).fit(cov_type="cluster", cov_kwds=kwds)
    return {
        "slope": slope.params[1],
        "slope_error": slope.bse[1],
        "intercept": at_one.params[0],
        "intercept_error": at_one.bse[0],
    }


def ici(found: dict[str, Any]) -> float:
    z, y = np.array(found["z"]), np.array(found["y"])
    p = 1 / (1 + np.exp(-z))
    smooth = sm.nonparametric.lowess(y, p, frac=0.75, it=0, return_sorted=False)
    return float(np.abs(smooth - p).mean())


def net_benefits(found: dict[str, Any]) -> dict[str, list[float]]:
    thresholds = [0.02, 0.1, 0.2, 0.3, 0.5]
    table = pd.DataFrame({"y": found["y"], "p": 1 / (1 + np.exp(-np.array(found["z"])))})
    rows = dcurves.dca(data=table, outcome="y", modelnames=["p"], thresholds=np.array(thresholds))
    return {"threshold": thresholds} | {
        name: rows.loc[rows["model"] == model, "net_benefit"].tolist()
        for name, model in (("network", "p"), ("treat_all", "all"))
    }


def main() -> None:
    few, many = images(5, 240, 30), images(6, 900, 100_000)
    golden = {
        "few": few,
        "many": many,
        "regressions": regressions(few),
        "ici": {"few": ici(few), "many": ici(many)},
        "net_benefit": net_benefits(few),
    }
    Path(__file__).with_name("sheet.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
