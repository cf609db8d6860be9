"""Results of several readers as tables, CSV and one self-contained page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from rich.table import Table as TerminalTable

from zoo.evaluation.interval import Interval, short
from zoo.evaluation.mrmc import Estimate
from zoo.evaluation.readers import LabelResult, ModalityResult, ReaderResults
from zoo.evaluation.readings import ONE
from zoo.evaluation.serialise import to_csv
from zoo.report.blocks import Block, Figure, Panels, Points, Section, Table
from zoo.report.blocks import Text as Paragraph
from zoo.report.reader_sentences import FIGURES, heading, in_modality, patients_known, sentences
from zoo.report.sentences import leak, p_text, shown, unit
from zoo.report.tables import terminal
from zoo.runs.leaks import Leak

# what a terminal has room for, with the headings that it has there
READERS = {"reader": "reader", "images": "images"}
RATES = {"sensitivity": "sens", "specificity": "spec"}
RIVAL = {"model minus reader": "model minus reader", "p": "p"}
MEANS = {"positive": "pos.", "mean of the readers": "readers' mean"}
MEANS_RIVAL = {"model minus their mean": "model minus it", "p": "p"}
PAIRS = {"modalities": "modalities", "difference": "difference", "p": "p"} | {
    "p, these readers": "p, these",
    "p, one-shot": "one-shot",
}
FALSE_MARKS = "Share of the lesions found at no more than so many false marks per image"
AGREEMENT = {"agreement": "agree", "Fleiss’ kappa": "Fleiss' kappa", "Gwet’s AC1": "Gwet's AC1"}


def terminal_tables(results: ReaderResults) -> Iterator[tuple[str, TerminalTable]]:
    """The tables with their titles, each reader where there is one label, else a row per label."""
    first, measured, figure = results.labels[0], results.reference is not None, FIGURES[results.figure]
    rival = measured and results.model is not None
    names = {"label": "label"} if len(results.labels) > 1 else {}
    modes = {"modality": "modality"} if len(results.modalities) > 1 else {}
    if measured and not names:
        for each in first.modalities:
            rates = RATES if first.yes_or_no else {}
            columns = READERS | {figure: figure} | rates | (RIVAL if rival else {})
            yield (
                f"Readers{in_modality(each)}",
                terminal(readers_table(first, each, figure, short_rates=True), None, columns),
            )
    elif measured:
        columns = names | modes | MEANS | (MEANS_RIVAL if rival else {})
        yield "Readers, label by label", terminal(means_table(results), None, columns, words=1 + len(modes))
    if any(each.mrmc is not None for each in results.labels):
        title = "Modalities, for readers and images like these"
        yield title, terminal(pairs_table(results), None, names | PAIRS, words=1 + len(names))
    if results.froc:
        table, words = froc_table(results, short_cells=True), names | modes | {"reader": "reader"}
        yield FALSE_MARKS, terminal(table, None, words | {name: name for name in table.columns[4:]}, words=len(words))
    if any(m.agreement is not None for each in results.labels for m in each.modalities):
        columns = ((names | modes) or {"label": ""}) | AGREEMENT
        yield (
            "Agreement of the readers",
            terminal(agreement_table(results), None, columns, words=len(names | modes) or 1),
        )


def _estimate(found: Estimate | None) -> str:
    return "–" if found is None else shown(found.value)


def readers_table(label: LabelResult, modality: ModalityResult, figure: str, short_rates: bool = False) -> Table:
    """One row per reader, then their mean for readers and images like these, then the model."""
    rows = []
    for each in modality.readers:
        rates = [short(r.value) if short_rates else shown(r) for r in (each.sensitivity, each.specificity)]
        cells = [each.reader, f"{each.images:,}", shown(each.auroc), *rates]
        rows.append((*cells, _estimate(each.minus), "–" if each.minus is None else p_text(each.p_holm)))
    minus = modality.model
    last = (_estimate(minus), "–" if minus is None else p_text(minus.p))
    rows.append(("(mean)", f"{label.images:,}", _estimate(modality.mean), *_mean_rates(modality), *last))
    names = ("reader", "images", figure, "sensitivity", "specificity", "model minus reader", "p")
    caption = (
        f"{label.label}: readers{in_modality(modality)}. The mean is for readers and images like these; p of the readers by "
        "the method of Holm."
    )
    return Table(caption, names, tuple(rows))


def _mean_rates(modality: ModalityResult) -> tuple[str, str]:
    found = []
    for name in ("sensitivity", "specificity"):
        values = [v for each in modality.readers if not math.isnan(v := getattr(each, name).value)]
        found.append(short(sum(values) / len(values)) if values else "–")
    return found[0], found[1]


def means_table(results: ReaderResults) -> Table:
    """One row per label and modality: the readers' mean AUROC, and the model minus it."""
    rows = []
    for label in results.labels:
        for each in label.modalities:
            cells = [label.label, each.modality, "–" if label.positives is None else f"{label.positives:,}"]
            p = "–" if each.model is None else p_text(each.model.p)
            rows.append((*cells, _estimate(each.mean), shown(label.model_auroc), _estimate(each.model), p))
    names = (
        "label",
        "modality",
        "positive",
        "mean of the readers",
        "AUROC of the model",
        "model minus their mean",
    )
    return Table(
        f"The readers' mean {FIGURES[results.figure]}, for readers and images like these.", (*names, "p"), tuple(rows)
    )


def pairs_table(results: ReaderResults) -> Table:
    """One row per label and pair of modalities."""
    rows = []
    for label in results.labels:
        for pair in () if label.mrmc is None else label.mrmc.pairs:
            shot = "–" if pair.one_shot is None else p_text(pair.one_shot.p)
            value = pair.fixed.value if math.isnan(pair.random.p) else pair.random.value
            rows.append(
                (
                    *(label.label, f"{pair.first} minus {pair.second}", shown(value)),
                    *(short(pair.random.standard_error), f"{pair.random.df:.1f}", p_text(pair.random.p)),
                    *(p_text(pair.fixed.p), shot),
                )
            )
    names = ("label", "modalities", "difference", "standard error", "degrees of freedom", "p", "p, these readers")
    caption = (
        "Modalities by the analysis of Obuchowski and Rockette, for readers and images like these; beside it the p for these "
        "readers alone, and that of Gallas' one-shot variance."
    )
    return Table(caption, (*names, "p, one-shot"), tuple(rows))


def agreement_table(results: ReaderResults) -> Table:
    """One row per label and modality; with the model's gain in the place of a reader where there is a model."""
    rows = []
    for label in results.labels:
        for each in label.modalities:
            if (found := each.agreement) is None:
                continue
            panel = each.panel
            kappas = [] if panel is None else [v.value for v in panel.readers.values() if not math.isnan(v.value)]
            with_others = short(sum(kappas) / len(kappas)) if kappas else "–"
            gain = "–" if panel is None or panel.difference is None else shown(panel.difference)
            measured = (shown(each_one) for each_one in (found.agree, found.fleiss, found.ac1))
            rows.append((label.label, each.modality, *measured, with_others, gain))
    names = (
        "label",
        "modality",
        "agreement",
        "Fleiss’ kappa",
        "Gwet’s AC1",
        "kappa with the others",
        "model minus that",
    )
    caption = (
        "Agreement of the readers; Cohen's kappa of a reader with the majority of the others, their mean; and the model's "
        "with the same panels, minus it."
    )
    return Table(caption, names, tuple(rows))


def froc_table(results: ReaderResults, short_cells: bool = False) -> Table:
    """One row per label, modality and reader: the share of lesions found at no more than so many false marks per image."""
    rows = []
    for each in results.froc:
        cells = [short(v.value) if short_cells else shown(v) for v in each.sensitivity.values()]
        rows.append((each.label, each.modality, each.reader, f"{each.lesions:,}", *cells))
    rates = tuple(short(float(rate)) if float(rate) < 1 else rate for rate in results.froc[0].sensitivity)
    return Table(f"{FALSE_MARKS} (FROC).", ("label", "modality", "reader", "lesions", *rates), tuple(rows))


def reader_pairs_table(label: LabelResult, modality: ModalityResult, figure: str) -> Table:
    """Every two readers: the difference of their AUROCs and their kappa."""
    kappas = {} if modality.agreement is None else {(p.first, p.second): p for p in modality.agreement.pairs}
    rows = []
    for pair in modality.pairs:
        kappa = kappas.get((pair.first, pair.second))
        cells = ("–", "–") if kappa is None else (shown(kappa.kappa), shown(kappa.agree))
        rows.append((f"{pair.first} – {pair.second}", _estimate(pair.minus), p_text(pair.p_holm), *cells))
    caption = f"{label.label}: every two readers{in_modality(modality)}; p by the method of Holm."
    return Table(
        caption, ("readers", f"{figure} difference", "p", "Cohen’s kappa", "agreement"), tuple(rows), folded=True
    )


def readers_csv(results: ReaderResults) -> str:
    """One row per label, modality and reader, then their mean."""
    rows: list[dict[str, Any]] = []
    for label in results.labels:
        for each in label.modalities:
            place = {"label": label.label, "modality": each.modality}
            for reader in each.readers:
                minus = {} if reader.minus is None else {"model_minus": reader.minus.value, "p_holm": reader.p_holm}
                own = {"reader": reader.reader, "images": reader.images, "auroc": reader.auroc}
                rates = {"sensitivity": reader.sensitivity, "specificity": reader.specificity}
                rows.append({**place, **own, **rates, **minus})
            if each.mean is not None:
                minus = {} if each.model is None else {"model_minus": each.model.value, "p": each.model.p}
                rows.append({**place, "reader": "(mean)", "images": label.images, "auroc": each.mean.value, **minus})
    return to_csv(rows)


def readers_html(results: ReaderResults, leaks: Sequence[Leak] = ()) -> str:
    """The results as one HTML page without any outside resource; `leaks` of the run that was compared stand first."""
    from zoo.report.page import render_sections

    warned = tuple(Paragraph(leak(each), "bad") for each in leaks)
    parts = [Section("results", "Results", (*warned, *_overview(results)))]
    parts += [
        Section(f"label-{n}", each.label, tuple(_details(results, each))) for n, each in enumerate(results.labels)
    ]
    over = unit(patients_known(results))
    remarks = [
        f"{heading(results)}. Intervals are {100 * results.level:.0f}% intervals over {over}; of "
        f"agreement by a bootstrap ({results.replicates:,} resamples, seed {results.seed})."
    ]
    return render_sections("Readers", [each for each in parts if each.blocks], remarks)


def _of_page(table: Table) -> Table:
    """The table without columns that say nothing here: dashes all the way down, or the one modality without a name."""
    kept = [i for i in range(len(table.columns)) if {row[i] for row in table.rows} - {"–"} - {ONE}]
    columns, *rows = (tuple(row[i] for i in kept) for row in (table.columns, *table.rows))
    return replace(table, columns=columns, rows=tuple(rows))


def _limits(rows: list[tuple[str, Interval, bool]]) -> tuple[float, float]:
    """From the tenth below the lowest bound to 1."""
    known = [v for _, each, _ in rows for v in (each.value, each.low) if not math.isnan(v)]
    return (min(math.floor(10 * min(known)) / 10, 0.9), 1.0) if known else (0.0, 1.0)


def _overview(results: ReaderResults) -> Iterator[Block]:
    yield Points(tuple(sentences(results)))
    if results.reference is not None:
        figures = tuple(_mean_figures(results)) if len(results.labels) > 1 else ()
        if figures:
            yield Panels(
                f"The readers' mean {FIGURES[results.figure]} on each label, for readers and images like these.",
                figures,
            )
        yield _of_page(means_table(results))
    if any(each.mrmc is not None for each in results.labels):
        yield _of_page(pairs_table(results))
    if results.froc:
        yield Panels(
            "FROC: the share of the lesions that each reader finds at so many false marks per image.",
            tuple(_froc_figures(results)),
        )
        yield _of_page(froc_table(results))
    if any(m.agreement is not None for each in results.labels for m in each.modalities):
        yield _of_page(agreement_table(results))


def _froc_figures(results: ReaderResults) -> Iterator[Figure]:
    from zoo.report.figures import froc_figure

    for label, modality in dict.fromkeys((each.label, each.modality) for each in results.froc):
        own = [each for each in results.froc if (each.label, each.modality) == (label, modality)]
        title = label + ("" if modality == ONE else f", {modality}")
        yield Figure(froc_figure({each.reader: each.curve for each in own}, title), f"FROC of each reader: {title}.")


def _mean_figures(results: ReaderResults) -> Iterator[Figure]:
    from zoo.report.figures import forest_figure

    for i, modality in enumerate(results.modalities):
        means = [(label.label, label.modalities[i].mean) for label in results.labels]
        rows = [(name, found.value, False) for name, found in means if found is not None]
        if rows:
            title = f"mean {FIGURES[results.figure]}" + ("" if modality == ONE else f", {modality}")
            yield Figure(forest_figure(rows, math.nan, title, _limits(rows)), f"{title} of the readers on each label.")


def _rows(modality: ModalityResult) -> list[tuple[str, Interval, bool]]:
    """The readers and their mean, as a forest plot takes them."""
    rows = [(each.reader, each.auroc, False) for each in modality.readers]
    return rows + ([("(mean)", modality.mean.value, False)] if modality.mean is not None else [])


def _details(results: ReaderResults, label: LabelResult) -> Iterator[Block]:
    from zoo.report.figures import forest_figure

    if label.positives is None:
        return
    figures, figure = [], FIGURES[results.figure]
    drawn = {each.modality: _rows(each) for each in label.modalities}
    limits = _limits([row for rows in drawn.values() for row in rows])
    line = math.nan if label.yes_or_no or label.model_auroc is None else label.model_auroc.value
    for each in label.modalities:
        where = in_modality(each)
        drawing = forest_figure(drawn[each.modality], line, f"{figure}{where}", limits)
        figures.append(Figure(drawing, f"{figure} of each reader{where}."))
    dashed = "; dashed: the model" if results.model is not None and not label.yes_or_no else ""
    yield Panels(f"{figure} of each reader with its interval, and their mean{dashed}.", tuple(figures))
    for each in label.modalities:
        yield _of_page(readers_table(label, each, FIGURES[results.figure]))
        if each.pairs:
            yield _of_page(reader_pairs_table(label, each, FIGURES[results.figure]))
