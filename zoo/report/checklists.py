"""The items of three reporting standards, named in our own words, and what of a run fills each in.

TRIPOD+AI: Collins et al. 2024, BMJ 385:e078378 (27 items, 52 with their parts). CLAIM 2024 update: Tejani et al. 2024,
Radiology: Artificial Intelligence 6(4):e240300 (44 items). STARD-AI: Sounderajah et al. 2025, Nature Medicine 31:3283 (40
items, 48 with their parts). The numbers are theirs; the standards' own words say what an item asks for.
"""

from __future__ import annotations

from dataclasses import dataclass

AUTHORS = ""  # filled in by the authors alone


@dataclass(frozen=True)
class Item:
    """One item: its number in the standard, its name, and the key of `checklist_values.run_values` that fills it in."""

    number: str
    name: str
    key: str


@dataclass(frozen=True)
class Standard:
    """A reporting standard; `source` is where its own words are."""

    key: str
    title: str
    source: str
    items: tuple[Item, ...]


def _items(*rows: tuple[str, str, str]) -> tuple[Item, ...]:
    return tuple(Item(*row) for row in rows)


TRIPOD_AI = Standard(
    "tripod-ai",
    "TRIPOD+AI (2024)",
    "doi:10.1136/bmj-2023-078378",
    _items(
        ("1", "title", AUTHORS),
        ("2", "abstract", AUTHORS),
        ("3a", "clinical setting and why the model is needed", AUTHORS),
        ("3b", "target population, purpose and users", AUTHORS),
        ("3c", "known inequalities in health", AUTHORS),
        ("4", "aims", AUTHORS),
        ("5a", "sources of the data", "data"),
        ("5b", "dates of the data", AUTHORS),
        ("6a", "centres and setting", AUTHORS),
        ("6b", "who was eligible", "eligibility"),
        ("6c", "treatments", AUTHORS),
        ("7", "preparation and quality checks of the data", "preparation"),
        ("8a", "definition of the outcome", AUTHORS),
        ("8b", "who assessed the outcome", AUTHORS),
        ("8c", "blinding of those who assessed it", AUTHORS),
        ("9a", "choice of the predictors", "inputs"),
        ("9b", "definition of the predictors", AUTHORS),
        ("9c", "who assessed the predictors", "inputs"),
        ("10", "reasons for the sample size", AUTHORS),
        ("11", "handling of missing data", "missing"),
        ("12a", "use and partition of the data", "split"),
        ("12b", "handling of the predictors in the analysis", "preparation"),
        ("12c", "type of model, training, tuning and internal validation", "training"),
        ("12d", "differences between centres: methods", AUTHORS),
        ("12e", "measures and plots of performance", "metrics"),
        ("12f", "updating of the model: methods", "updating"),
        ("12g", "how predictions were computed", "inference"),
        ("13", "handling of class imbalance", "imbalance"),
        ("14", "approaches to fairness", "fairness"),
        ("15", "output of the model and thresholds", "output"),
        ("16", "differences between training and evaluation data", "differences"),
        ("17", "ethical approval and consent", AUTHORS),
        ("18a", "funding", AUTHORS),
        ("18b", "conflicts of interest", AUTHORS),
        ("18c", "protocol", AUTHORS),
        ("18d", "registration", AUTHORS),
        ("18e", "availability of the data", AUTHORS),
        ("18f", "availability of the code", AUTHORS),
        ("19", "involvement of patients and the public", AUTHORS),
        ("20a", "flow of participants", "flow"),
        ("20b", "characteristics of the participants", "people"),
        ("20c", "comparison with the training data", "differences"),
        ("21", "participants and events in each analysis", "numbers"),
        ("22", "full specification of the model", "specification"),
        ("23a", "performance with intervals, in subgroups too", "performance"),
        ("23b", "differences between centres: results", AUTHORS),
        ("24", "updating of the model: results", "updating"),
        ("25", "interpretation", AUTHORS),
        ("26", "limitations", AUTHORS),
        ("27a", "poor or missing input in use", "poor_input"),
        ("27b", "interaction with users, and their expertise", AUTHORS),
        ("27c", "next steps", AUTHORS),
    ),
)

CLAIM = Standard(
    "claim-2024",
    "CLAIM (2024 update)",
    "doi:10.1148/ryai.240300",
    _items(
        ("1", "title: which kind of AI", AUTHORS),
        ("2", "abstract", AUTHORS),
        ("3", "background, intended use and clinical role", AUTHORS),
        ("4", "aims and hypotheses", AUTHORS),
        ("5", "prospective or retrospective", AUTHORS),
        ("6", "goal", AUTHORS),
        ("7", "sources of the data", "data"),
        ("8", "inclusion and exclusion", "eligibility"),
        ("9", "preprocessing", "preparation"),
        ("10", "selection of subsets", "subsets"),
        ("11", "de-identification", AUTHORS),
        ("12", "handling of missing data", "missing"),
        ("13", "acquisition of the images", AUTHORS),
        ("14", "how the reference standard was obtained", AUTHORS),
        ("15", "reasons for the reference standard", AUTHORS),
        ("16", "who annotated, and their qualifications", AUTHORS),
        ("17", "annotation of the test images", AUTHORS),
        ("18", "variability between and within annotators", AUTHORS),
        ("19", "assignment to the partitions", "split"),
        ("20", "level at which the partitions are disjoint", "disjoint"),
        ("21", "intended sample size", AUTHORS),
        ("22", "description of the model", "model"),
        ("23", "software and versions", "software"),
        ("24", "initial parameters", "weights"),
        ("25", "training", "training"),
        ("26", "choice of the final model", "selection"),
        ("27", "ensembling", "ensemble"),
        ("28", "metrics", "metrics"),
        ("29", "uncertainty and significance", "uncertainty"),
        ("30", "robustness and sensitivity analyses", "groups"),
        ("31", "explanations", "explanations"),
        ("32", "test on internal data", "internal"),
        ("33", "test on external data", "external"),
        ("34", "registration of a trial", AUTHORS),
        ("35", "numbers included and excluded", "flow"),
        ("36", "demographic and clinical characteristics of each partition", "people"),
        ("37", "performance, and its uncertainty", "performance"),
        ("38", "diagnostic accuracy and its precision", "accuracy"),
        ("39", "analysis of failures", "failures"),
        ("40", "limitations", AUTHORS),
        ("41", "implications for practice", AUTHORS),
        ("42", "protocol or technical details", AUTHORS),
        ("43", "availability of software, model and data", AUTHORS),
        ("44", "funding", AUTHORS),
    ),
)

STARD_AI = Standard(
    "stard-ai",
    "STARD-AI (2025)",
    "doi:10.1038/s41591-025-03953-8",
    _items(
        ("1", "title or abstract: AI and a measure of accuracy", AUTHORS),
        ("2", "abstract", AUTHORS),
        ("3", "background, intended use and place in the workflow", AUTHORS),
        ("4", "aims and hypotheses", AUTHORS),
        ("5", "prospective or retrospective", AUTHORS),
        ("6", "ethical approval", AUTHORS),
        ("7", "eligibility of participants and of data", "eligibility"),
        ("8", "how participants were found", AUTHORS),
        ("9", "setting, place and dates", AUTHORS),
        ("10", "consecutive, random or convenience series", AUTHORS),
        ("11", "source of the data", "data"),
        ("12", "annotation of the dataset", AUTHORS),
        ("13", "devices and software", "software"),
        ("14", "acquisition and preprocessing", "preparation"),
        ("15a", "index test", "model"),
        ("15b", "development of the index test, with sample sizes", "split"),
        ("15c", "cut-offs of the index test", "thresholds"),
        ("15d", "users and their expertise", AUTHORS),
        ("16a", "reference standard", AUTHORS),
        ("16b", "reasons for the reference standard", AUTHORS),
        ("16c", "cut-offs of the reference standard", AUTHORS),
        ("17a", "what those who did the index test knew", "inputs"),
        ("17b", "what those who assessed the reference standard knew", AUTHORS),
        ("18", "methods for accuracy and its comparison", "uncertainty"),
        ("19", "handling of indeterminate results", "indeterminate"),
        ("20", "handling of missing data", "missing"),
        ("21", "analyses of variability", "groups"),
        ("22", "intended sample size", AUTHORS),
        ("23", "errors, bias and fairness: methods", "fairness"),
        ("24", "flow diagram", "flow"),
        ("25", "characteristics of each part of the data", "people"),
        ("26a", "severity of disease", AUTHORS),
        ("26b", "alternative diagnoses", AUTHORS),
        ("27", "time and treatment between index test and reference standard", AUTHORS),
        ("28", "whether the data represent the population of use", AUTHORS),
        ("29", "how external data differ", AUTHORS),
        ("30", "cross-tabulation with the reference standard", "crosstab"),
        ("31", "accuracy and its precision", "accuracy"),
        ("32", "adverse events", AUTHORS),
        ("33", "limitations", AUTHORS),
        ("34", "implications for practice", AUTHORS),
        ("35", "ethics and fairness of use", AUTHORS),
        ("36", "registration", AUTHORS),
        ("37", "protocol", AUTHORS),
        ("38", "funding", AUTHORS),
        ("39", "commercial interests", AUTHORS),
        ("40a", "availability of data and code", AUTHORS),
        ("40b", "whether outputs are kept and can be audited", "audit"),
    ),
)

STANDARDS = (TRIPOD_AI, CLAIM, STARD_AI)
