"""What readings say: every reader's AUROC, their agreement, modalities against one another, and a model against readers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from zoo.evaluation import influence, metrics
from zoo.evaluation.agreement import Agreement, PanelAgreement, agreement, panel_agreement
from zoo.evaluation.bootstrap import patient_codes
from zoo.evaluation.delong import DeLong
from zoo.evaluation.froc import Froc
from zoo.evaluation.interval import UNDEFINED, Interval, intervals
from zoo.evaluation.mrmc import MRMC, Estimate, estimate, mean_over_readers, obuchowski_rockette
from zoo.evaluation.mrmc_auroc import jackknife_aurocs, one_shot_variance
from zoo.evaluation.p_values import holm
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.readings import UNNAMED, Readings, predictions_of
from zoo.evaluation.serialise import Serialisable


@dataclass(frozen=True, eq=False)
class Model:
    """A run's probabilities of the readings' images and labels `(N, K)` and its decisions, 1 or 0; NaN where it has none."""

    name: str
    probabilities: np.ndarray
    decisions: np.ndarray

    def of_labels(self, kept: Sequence[int]) -> Model:
        """The model on some labels only, by number."""
        return Model(self.name, self.probabilities[:, kept], self.decisions[:, kept])


@dataclass(frozen=True)
class ReaderResult:
    """One reader: images read, and against the reference the AUROC, and of yes or no sensitivity and specificity.

    `minus` is the model's figure minus the reader's on the images that both have, `p_holm` its p corrected for the
    number of readers.
    """

    reader: str
    images: int
    auroc: Interval
    sensitivity: Interval
    specificity: Interval
    minus: Estimate | None = None
    p_holm: float = math.nan


@dataclass(frozen=True)
class ReaderPair:
    """One reader's AUROC minus another's on the images that both read; `p_holm` corrects for the number of pairs."""

    first: str
    second: str
    minus: Estimate
    p_holm: float


@dataclass(frozen=True)
class ModalityResult:
    """The readers in one modality.

    `mean` is their mean AUROC for readers and images like these, `pairs` every two readers. `agreement` and `panel` are
    None where the readings are neither yes or no nor cut, or there are too few readers. `model` is the model minus the mean
    reader, for readers and images like these.
    """

    modality: str
    readers: tuple[ReaderResult, ...]
    mean: Estimate | None
    pairs: tuple[ReaderPair, ...]
    agreement: Agreement | None
    panel: PanelAgreement | None
    model: Estimate | None


@dataclass(frozen=True)
class LabelResult:
    """One label. `positives` are images by the reference labels, None without any.

    `yes_or_no`: the readings are decisions, so that an AUROC is the mean of sensitivity and specificity. `crossed`: every
    reader read every image in every modality. `model_auroc` is of the model's probabilities, its decision compared with
    readers where these are yes or no. `mrmc` compares the modalities, of the readers who have all of them.
    """

    label: str
    images: int
    patients: int
    positives: int | None
    yes_or_no: bool
    crossed: bool
    modalities: tuple[ModalityResult, ...]
    mrmc: MRMC | None
    p_holm: float
    model_auroc: Interval | None


@dataclass(frozen=True)
class ReaderResults(Serialisable):
    """All labels of a table of readings; `p_holm` of a label corrects the modalities' p for the number of labels.

    `cut` is the score from which a reading counts as positive, where it was given; `unknown_patients` counts images without
    a patient, each taken as one of its own. Of marks `figure` is "afroc": every AUROC is then the area under the AFROC, its
    images the lesions and the images without, and `froc` has each reader's sensitivity at rates of false marks.
    """

    source: str
    reference: str | None
    model: str | None
    readers: tuple[str, ...]
    modalities: tuple[str, ...]
    labels: tuple[LabelResult, ...]
    cut: float | None
    unknown_patients: int
    replicates: int
    level: float
    seed: int
    figure: str = "auroc"
    froc: tuple[Froc, ...] = ()


def join_run(
    readings: Readings, predictions: Predictions, thresholds: Mapping[str, float], name: str, path: Path
) -> tuple[Readings, Model]:
    """A run's predictions beside readings of the same images: its patients and labels where the table has none.

    Args:
        readings: from `path`.
        predictions: the run's.
        thresholds: a probability per label; of exclusive classes the most probable counts.
        name: of the run.
        path: the table, for messages.

    Raises:
        DataError: they have no label or no image in common.
    """
    rows, columns = predictions_of(readings, predictions, path)
    task, probability = predictions.task, predictions.probabilities
    cut = probability.max(axis=1, keepdims=True) if task.exclusive else np.array([thresholds[n] for n in task.labels])
    there = np.ix_(rows >= 0, columns >= 0)
    sides = []
    for values in (probability, probability >= cut, predictions.labels):
        side = np.full(readings.reference.shape, np.nan)
        side[there] = values[np.ix_(rows[rows >= 0], columns[columns >= 0])]
        sides.append(side)
    patients = np.full(len(rows), "", dtype=object)
    patients[rows >= 0] = predictions.table["patient"].fillna("").astype(str).to_numpy()[rows[rows >= 0]]
    joined = readings.with_patients(patients)
    if readings.labels == (UNNAMED,) and task.outputs == 1:
        joined = replace(joined, labels=task.labels)
    if not readings.has_reference:
        joined = joined.with_reference(sides[2])
    return joined, Model(name, sides[0], sides[1])


def evaluate_readers(
    readings: Readings,
    model: Model | None = None,
    *,
    reference: str | None = None,
    cut: float | None = None,
    froc: tuple[Froc, ...] = (),
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> ReaderResults:
    """Measure all readers and modalities, label by label.

    Args:
        readings: the table; figures against reference labels need some.
        model: to be compared with every reader, their mean, and the panel of the others.
        reference: where the reference labels are from, for the record; the table unless said.
        cut: scores of this or above are positive readings, for agreement.
        froc: of readings that are made of marks, which have no agreement.
        replicates: resamples of the patients, for agreement.
        level: of the intervals, in (0, 1).
        seed: of the resampling.
    """
    bootstrap: dict[str, Any] = {"replicates": replicates, "level": level, "seed": seed}
    labels = [_label(readings, k, model, cut, bool(froc), bootstrap) for k in range(len(readings.labels))]
    adjusted = holm([math.nan if each.mrmc is None else each.mrmc.p for each in labels])
    return ReaderResults(
        source=readings.source,
        reference=reference or (readings.source if readings.has_reference else None),
        model=None if model is None else model.name,
        readers=readings.readers,
        modalities=readings.modalities,
        labels=tuple(replace(each, p_holm=p) for each, p in zip(labels, adjusted, strict=True)),
        cut=cut,
        unknown_patients=int((readings.patients == "").sum()),
        replicates=replicates,
        level=level,
        seed=seed,
        figure="afroc" if froc else "auroc",
        froc=froc,
    )


def _label(
    readings: Readings, k: int, model: Model | None, cut: float | None, marks: bool, bootstrap: dict[str, Any]
) -> LabelResult:
    scores = readings.scores[k]
    used = (~np.isnan(scores)).any(axis=(1, 2))
    binary, level = readings.yes_or_no(k), float(bootstrap["level"])
    probability = None if model is None else model.probabilities[:, k]
    decision = None if model is None else model.decisions[:, k]
    part = _Part(readings.readers, scores[used], readings.reference[used, k], readings.patients[used], binary, level)
    modalities = []
    for i, modality in enumerate(readings.modalities):
        rival = decision if binary else probability
        alone = jackknife_aurocs(part.reference, part.scores[:, i], part.patients)
        own = part.readers_of(i)
        minus = None
        if rival is not None:
            own, minus = part.against(i, own, rival[used])
        ratings = None if marks else _ratings(scores[used, i], binary, cut)
        panel, agreed = None, None
        if ratings is not None:
            agreed = agreement(ratings, part.patients, readings.readers, **bootstrap) if ratings.shape[1] > 1 else None
            if ratings.shape[1] > 2:
                chosen = None if decision is None else decision[used]
                panel = panel_agreement(ratings, chosen, part.patients, readings.readers, **bootstrap)
        mean = _within_unit(_mean(alone.aurocs, alone.covariance, level))
        modalities.append(ModalityResult(modality, own, mean, part.pairs_of(i, alone), agreed, panel, minus))
    known = ~np.isnan(part.reference)
    return LabelResult(
        label=readings.labels[k],
        images=int(used.sum()),
        patients=patient_codes(part.patients)[1],
        positives=int((part.reference[known] > 0.5).sum()) if known.any() else None,
        yes_or_no=binary,
        crossed=not bool(np.isnan(part.scores).any()),
        modalities=tuple(modalities),
        mrmc=part.modalities_of(readings.modalities),
        p_holm=math.nan,
        model_auroc=None if probability is None else part.measured(probability[used])["auroc"],
    )


def _ratings(scores: np.ndarray, binary: bool, cut: float | None) -> np.ndarray | None:
    """Scores `(N, J)` as decisions 1, 0 or NaN; None where nothing says from which score on a reading is positive."""
    if binary:
        return scores
    return None if cut is None else np.where(np.isnan(scores), np.nan, scores >= cut)


@dataclass(frozen=True, eq=False)
class _Part:
    """The images of one label that somebody read."""

    readers: tuple[str, ...]
    scores: np.ndarray  # (N, I, J)
    reference: np.ndarray
    patients: np.ndarray
    binary: bool
    level: float

    def measured(self, scores: np.ndarray) -> dict[str, Interval]:
        """ "auroc" of the scores `(N,)`, NaN left out, and of decisions "sensitivity" and "specificity"."""
        read = ~np.isnan(scores)
        labels, own = self.reference[read, None], scores[read, None]
        codes, patients = patient_codes(self.patients[read])
        found = {"auroc": influence.ranked("auroc", labels, own, codes, patients)}
        if self.binary:
            parts = (influence.by_patient(part, codes, patients) for part in metrics.parts(labels, own > 0.5))
            found |= influence.decided(metrics.Confusion(*parts))
        return {name: each[0] for name, each in intervals(found, self.level).items()}

    def readers_of(self, i: int) -> tuple[ReaderResult, ...]:
        """Every reader in modality i by himself."""
        results = []
        for name, own in zip(self.readers, self.scores[:, i].T, strict=True):
            found = self.measured(own)
            sensitivity, specificity = (found.get(each, UNDEFINED) for each in ("sensitivity", "specificity"))
            images = int((~np.isnan(own)).sum())
            results.append(ReaderResult(name, images, found["auroc"], sensitivity, specificity))
        return tuple(results)

    def against(
        self, i: int, results: tuple[ReaderResult, ...], rival: np.ndarray
    ) -> tuple[tuple[ReaderResult, ...], Estimate | None]:
        """The rival `(N,)` minus every reader in modality i, and minus their mean, on the images that both have."""
        own = np.where(np.isnan(rival)[:, None], np.nan, self.scores[:, i])
        values, covariance = self._differences(np.where(np.isnan(own), np.nan, rival[:, None]), own)
        minus = [estimate(float(v), float(covariance[j, j]), math.inf, self.level) for j, v in enumerate(values)]
        adjusted = holm([each.p for each in minus])
        compared = (replace(r, minus=m, p_holm=p) for r, m, p in zip(results, minus, adjusted, strict=True))
        return tuple(compared), _mean(values, covariance, self.level)

    def pairs_of(self, i: int, alone: DeLong) -> tuple[ReaderPair, ...]:
        """Every two readers in modality i, on the images that both read; `alone` is each on all that he read."""
        couples = list(combinations(range(len(self.readers)), 2))
        if not couples:
            return ()
        places = [[couple[side] for couple in couples] for side in (0, 1)]
        own = self.scores[:, i]
        if np.isnan(own).any():
            unread = np.isnan(own[:, places[0]]) | np.isnan(own[:, places[1]])
            values, covariance = self._differences(*(np.where(unread, np.nan, own[:, side]) for side in places))
        else:
            values, covariance = _contrast(alone, *places)
        minus = [estimate(float(v), float(covariance[j, j]), math.inf, self.level) for j, v in enumerate(values)]
        adjusted = holm([each.p for each in minus])
        return tuple(
            ReaderPair(self.readers[a], self.readers[b], each, p)
            for (a, b), each, p in zip(couples, minus, adjusted, strict=True)
        )

    def _differences(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """AUROCs of the columns `(N, M)` of the one minus those of the other, and the covariance of these."""
        found = jackknife_aurocs(self.reference, np.concatenate([first, second], axis=1), self.patients)
        number = first.shape[1]
        return _contrast(found, list(range(number)), list(range(number, 2 * number)))

    def modalities_of(self, names: tuple[str, ...]) -> MRMC | None:
        """The modalities compared, of readers who have all of them, each on the images that he read in all."""
        if len(names) < 2:
            return None
        missing = np.isnan(self.scores).any(axis=1, keepdims=True)
        scores = np.where(missing, np.nan, self.scores)
        flat = scores.reshape(len(scores), -1)
        found = jackknife_aurocs(self.reference, flat, self.patients)
        shape = scores.shape[1:]
        values = found.aurocs.reshape(shape)
        covariance = found.covariance.reshape(*shape, *shape)
        kept = ~np.isnan(values).any(axis=0) & ~np.isnan(found.covariance.diagonal().reshape(shape)).any(axis=0)
        if not kept.any():
            return None
        shots = {}
        if not missing[:, :, kept].any():
            for i, k in combinations(range(len(names)), 2):
                pair = scores[:, i][:, kept], scores[:, k][:, kept]
                shots[names[i], names[k]] = one_shot_variance(self.reference, *pair, self.patients)
        readers = tuple(np.array(self.readers, dtype=object)[kept])
        return obuchowski_rockette(
            names,
            readers,
            values[:, kept],
            covariance[:, kept][:, :, :, kept],
            one_shot=shots,
            level=self.level,
        )


def _contrast(found: DeLong, first: list[int], second: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Some AUROCs minus others, `(M,)`, and the covariance of the differences."""
    c = found.covariance
    parts = [[c[np.ix_(one, two)] for two in (first, second)] for one in (first, second)]
    return found.aurocs[first] - found.aurocs[second], parts[0][0] + parts[1][1] - parts[0][1] - parts[1][0]


def _mean(values: np.ndarray, covariance: np.ndarray, level: float) -> Estimate | None:
    """`mean_over_readers` of those whose value and variance are defined."""
    defined = ~np.isnan(values) & ~np.isnan(np.diag(covariance))
    return mean_over_readers(values[defined], covariance[np.ix_(defined, defined)], level) if defined.any() else None


def _within_unit(found: Estimate | None) -> Estimate | None:
    """An AUROC's estimate whose interval, symmetric by its making, ends at 0 and 1."""
    if found is None:
        return None
    value, low, high = found.value.value, *(min(max(bound, 0.0), 1.0) for bound in (found.value.low, found.value.high))
    return replace(found, value=Interval(value, low, high))
