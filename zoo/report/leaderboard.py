"""Ranked runs as a terminal table, as sentences, and as one self-contained page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table as TerminalTable

from zoo.core.text import count_of, listed
from zoo.evaluation.comparison import WITHOUT_THRESHOLD, Comparison
from zoo.evaluation.interval import Interval, short
from zoo.evaluation.notes import CHANGED, FEW, UNCHECKED
from zoo.evaluation.p_values import ALPHA
from zoo.report.blocks import Block, Code, Intervals, Lead, Section, Table
from zoo.report.blocks import Text as Paragraph
from zoo.report.cells import Lines
from zoo.report.sentences import METRICS, doubt, leak, of_patients, p_text, shown, split_name, unit
from zoo.report.tables import RULES, terminal
from zoo.runs.entries import Entry
from zoo.runs.leaderboard import Board
from zoo.runs.leaks import Leak

DRAWN = 40  # runs of the page's drawings
COMPARED = ("minus the best", "p")
ROOMY = 120  # columns of a terminal that has room for several metrics beside the differences


def runs_table(board: Board) -> Table:
    """Rank, run, what it is made of, the metric with its interval, the difference to the best with its interval and p."""
    # several metrics leave no room for more of what a run is made of
    details = ["model"] if board.entries[0].also else ["model", "recipe", "loss", "seed"]
    rows = []
    for rank, (entry, run) in enumerate(zip(board.entries, board.to_dict()["runs"], strict=True)):
        cells = [
            str(board.place(rank) or "–"),
            _marked(entry),
            *(str("–" if run[name] in (None, "") else run[name]) for name in details),
        ]
        cells += [str(entry.value), *(shown(each) for each in entry.also.values())]
        if board.comparisons:
            found = comparison.overall if (comparison := board.comparison(rank)) is not None else None
            cells += [str(found.difference), p_text(found.p_adjusted)] if found is not None else ["", ""]
        rows.append(tuple(cells))
    names = ("rank", "run", *details, *board_metrics(board))
    caption = "Runs from the best down."
    if board.comparisons:
        caption += f" “Minus the best” is the {board_metric(board)} of the run minus that of {board.entries[0].name}."
    return Table(caption, (*names, *(COMPARED if board.comparisons else ())), tuple(rows))


def leaderboard_table(board: Board, width: int = 80) -> TerminalTable:
    """The same for a terminal. Model and seed have a column where runs differ in them; a shared model stands in `heading`.

    With several metrics the intervals stand below the values, and a `width` below 120 columns shows the metrics alone.
    """
    several = bool(board.entries[0].also)
    narrow = several and width < ROOMY
    varied = [name for name in ("model", "seed") if len({getattr(entry, name) for entry in board.entries}) > 1]
    varied = [name for name in varied if not several or (name == "model" and not narrow)]
    columns = ("run", *varied, *board_metrics(board), *(COMPARED if board.comparisons and not narrow else ()))
    # a second column of names leaves no room for more in 80 columns
    model = "model" in varied
    heads = {"rank": "", **{c: Lines(c.replace(" ", "\n")) if several else c for c in columns}}
    table = terminal(runs_table(board), None, heads, words=2 + model, gap=not (model or several), stacked=several)
    table.columns[0].justify = "right"
    return table


def labels_table(comparison: Comparison) -> Table:
    """Two runs label by label: the metric of each, the first minus the second, and Holm's p over the labels."""
    rows = tuple(
        (label, short(row.first), short(row.second), str(row.difference), p_text(row.p_adjusted))
        for label, row in comparison.per_label.items()
    )
    caption = f"Label by label; the difference is {comparison.first} minus {comparison.second}."
    return Table(caption, ("label", comparison.first, comparison.second, "difference", "p"), rows)


def terminal_labels(comparison: Comparison) -> TerminalTable:
    """The same for a terminal."""
    table = labels_table(comparison)
    result = terminal(table, None, {name: name for name in table.columns}, gap=1)
    for column in result.columns[1:3]:  # whose heads are names of any length
        column.no_wrap, column.overflow = False, "fold"
    return result


def heading(board: Board) -> str:
    """The line above a ranking: what was predicted, on which images, and the model where all runs share it."""
    first, models = board.entries[0], {entry.model for entry in board.entries}
    images = count_of(first.images, f"{split_name(first.split)} image")
    images = of_patients(images, first.patients, first.patients_known)
    model = f"; model {models.pop()}" if len(models) == 1 else ""
    return f"{first.task}, {images}, {first.protocol} split{model}"


def board_metric(board: Board) -> str:
    """The name of the metric that ranks: "AUROC", "macro AUROC"."""
    return board_metrics(board)[0]


def board_metrics(board: Board) -> list[str]:
    """The names of all metrics that are shown, that which ranks first."""
    task, metric, also = board.entries[0].task, board.entries[0].metric, board.entries[0].also
    whole = ("accuracy", "balanced_accuracy") if task.exclusive else ()
    return [f"{'macro ' if task.outputs > 1 and m not in whole else ''}{METRICS[m]}" for m in (metric, *also)]


def alarms(board: Board) -> list[str]:
    """The runs whose predictions were changed, and those that leak."""
    said = [f"{e.name}: {doubt(note)}" for e in board.entries for note in e.doubts if note.kind == CHANGED]
    leaking: dict[tuple[Leak, ...], list[str]] = {}
    for entry in board.entries:
        if entry.leaks:
            leaking.setdefault(entry.leaks, []).append(entry.name)
    for leaks, names in leaking.items():
        said.append(f"Not ranked, and not compared: {listed(names)}. {' '.join(map(leak, leaks))}")
    return said


def sentences(board: Board) -> list[str]:
    """What the ranking means and rests on."""
    if len(board.ranked) < 2:
        without = " without a leak" if len(board.entries) > 1 else ""
        only = f"There is one run{without} only" if board.ranked else "There is no run without a leak"
        return [f"{only}: nothing to compare{' it with' if board.ranked else ''}."]
    entry = board.entries[0]
    said = [conclusion(board.comparisons[0])] if len(board.comparisons) == 1 else _conclusions(board)
    if board.comparisons:
        first = board.comparisons[0]
        noun = "patient" if entry.patients_known else "image"
        how = f"Differences are paired over the same {count_of(first.patients, noun)}"
        how += "" if entry.patients_known else ", whose patients are unknown, so intervals and p may be too optimistic"
        pairs = f"; their intervals and p allow for all pairs of {first.runs:,} runs (Tukey)" if first.runs > 2 else ""
        said.append(f"{how}{pairs}.")
        said += _delong(board.comparisons, entry.patients_known)
        if first.patients < FEW:
            are = "is" if first.patients == 1 else "are"
            said.append(f"There {are} only {count_of(first.patients, noun)}, so intervals and p are not reliable.")
    if len(board.ranked) > len(board.comparisons) + 1:
        said.append(
            f"Differences are given for the first {len(board.comparisons) + 1} of {len(board.ranked):,} (--top)."
        )
    undefined = [label for label, found in entry.per_label.items() if math.isnan(found.value)]
    if undefined and not math.isnan(entry.value.value):
        said.append(f"Undefined on these images and left out of the mean: {', '.join(undefined)}.")
    if entry.at_thresholds:
        said.append(_thresholds(entry))
    said += _unchecked(board)
    if entry.split == "test" and len(board.ranked) > 2:
        said.append(
            "The best of several runs on the test images is biased upwards: choose with --split val, then read test."
        )
    return said


def _thresholds(entry: Entry) -> str:
    names = [METRICS[m] for m in (entry.metric, *entry.also) if m not in WITHOUT_THRESHOLD]
    title = listed(names)
    start = f"{title[0].upper()}{title[1:]} {'are' if len(names) > 1 else 'is'} at"
    if entry.rule.target is None and entry.rule.rule == "fixed":
        return f"{start} the fixed threshold {short(entry.rule.value)} in every run."
    rule = RULES[entry.rule.rule].format(short(entry.rule.value)).removesuffix(" on validation")
    return f"{start} thresholds chosen by one rule on each run's validation images: {rule}."


def _unchecked(board: Board) -> list[str]:
    names = [entry.name for entry in board.entries if any(note.kind == UNCHECKED for note in entry.doubts)]
    if not names:
        return []
    return [f"Made by an older zoo, without a digest that would show a change of the predictions: {listed(names, 3)}."]


def _marked(entry: Entry) -> str:
    """The name of a run, with what puts its value in doubt."""
    marks = ["changed"] if any(note.kind == CHANGED for note in entry.doubts) else []
    marks += ["leak"] if entry.leaks else []
    return f"{entry.name} ({', '.join(marks)})" if marks else entry.name


def conclusion(comparison: Comparison) -> str:
    """Whether one of two runs is better, or the difference is not significant."""
    found, first, second = comparison.overall, comparison.first, comparison.second
    name = f"{'macro ' if found.label == 'macro' else ''}{METRICS[comparison.metric]}"
    value, p = found.difference, p_text(found.p_adjusted)
    if math.isnan(value.value):
        return f"{first} and {second} cannot be compared: {name} is undefined on these images."
    if math.isnan(found.p_adjusted):
        why = "all images are of one patient" if comparison.patients < 2 else "there are too few patients to tell"
        return f"The {name} of {first} minus that of {second} is {short(value.value)}, without an interval: {why}."
    if not found.significant:
        return f"{first} and {second} do not differ significantly: {name} difference {value}, p {p}."
    if value.value < 0:
        first, second, value = second, first, Interval(-value.value, -value.high, -value.low)
    return f"{first} is better than {second}: {name} difference {value}, p {p}."


def _conclusions(board: Board) -> list[str]:
    if not board.comparisons:
        return []
    best = board.entries[0].name
    if math.isnan(board.entries[0].value.value):
        return [f"{board_metric(board)} is undefined on these images: nothing can be ranked."]
    if board.p_best < ALPHA:
        return [
            f"{best} is better than each of the {len(board.comparisons)} other runs, p {p_text(board.p_best)} (the largest p of a "
            "pair, which needs no correction for the best against all others: Gutmann & Maymin)."
        ]
    known = [c for c in board.comparisons if not math.isnan(c.overall.p_adjusted)]
    same = [f"{c.first} (difference {c.overall.difference})" for c in known if not c.overall.significant]
    worse = [c.first for c in known if c.overall.significant]
    said = [f"{best} is not significantly better than {listed(same)}."] if same else []
    said += [f"{best} is better than {listed(worse)}."] if worse else []
    unknown = [c.first for c in board.comparisons if math.isnan(c.overall.p_adjusted)]
    said += (
        [
            f"There are too few {unit(board.entries[0].patients_known)} to tell whether it is better than {listed(unknown)}."
        ]
        if unknown and said
        else []
    )
    return said or ["It is unknown whether the runs differ: the differences have no interval."]


def labels_sentence(board: Board) -> str:
    """For two runs: on which labels they differ significantly."""
    comparison = board.comparisons[0]
    names = [row.label for row in comparison.per_label.values() if row.significant]
    found = (
        f"The runs differ significantly on {listed(names)}" if names else "The runs differ significantly on no label"
    )
    number = len(comparison.per_label)
    return f"{found} (p by the method of Holm for {number} labels; each interval is of its label alone)."


def _delong(comparisons: Sequence[Comparison], patients_known: bool) -> list[str]:
    first = comparisons[0]
    if first.no_delong == "not_auroc":
        return []
    if first.no_delong is not None:
        return ["DeLong's test is not given: it compares single labels, not a mean over them."]
    pairs_of_runs = first.runs * (first.runs - 1) // 2
    known = [c for c in comparisons if not math.isnan(c.overall.p_delong + c.overall.p_adjusted)]
    if not known:
        return []
    adjusted = [min(1.0, each.overall.p_delong * pairs_of_runs) for each in known]
    if len(comparisons) == 1:
        by = ", clustered by patient," if patients_known else ""
        return [f"DeLong's test{by} as a second opinion: p {p_text(adjusted[0])}."]
    pairs = list(zip(known, adjusted, strict=True))
    other = [f"{c.first} (p {p_text(p)})" for c, p in pairs if (p < ALPHA) != c.overall.significant]
    if not other:
        return ["DeLong's test as a second opinion agrees on every run."]
    return [f"DeLong's test as a second opinion disagrees on {listed(other)}."]


def leaderboard_html(boards: Sequence[Board], remarks: Sequence[str] = (), command: str = "", made: str = "") -> str:
    """The boards as one HTML page without any outside resource; `remarks` stand at its end.

    Args:
        boards: what is shown, a section each.
        remarks: sentences.
        command: what made the page, shown on top where it is given.
        made: the date of that.
    """
    from zoo.report.page import render_sections

    parts = [_section(board, number, len(boards)) for number, board in enumerate(boards, 1)]
    if command:
        parts.append(Section("made", "How this page was made", (Code(f"On {made}, by this command.", command),)))
    return render_sections("Runs compared", parts, list(remarks))


def _section(board: Board, number: int, groups: int) -> Section:
    metric, compared = board_metric(board), bool(board.comparisons)
    said = [*(("alarm", line) for line in alarms(board)), *(("note", line) for line in sentences(board))]
    datasets = listed(sorted({entry.dataset for entry in board.entries if entry.dataset}))
    blocks: list[Block] = [Lead(*said[0], tuple(said[1:]))]
    blocks += [Paragraph(f"Dataset: {datasets}.")] if datasets else []
    blocks += [*_charts(board, metric), runs_table(board)]
    pair = board.comparisons[0] if len(board.ranked) == 2 and compared else None
    if pair is not None and pair.per_label:
        blocks += [labels_table(pair), Paragraph(labels_sentence(board))]
    prefix = ""
    if groups > 1:
        prefix = f"Group {number} of {groups}: "
        why = "Groups cannot be ranked together: their images, labels, task or kind of split differ."
        blocks.insert(0, Paragraph(why))
    return Section(f"group-{number}", f"{prefix}{heading(board)}", tuple(blocks))


def _charts(board: Board, metric: str) -> list[Block]:
    """The values of the first runs, and what each of the next is below or above the best."""
    values = tuple(
        (_marked(entry), entry.value, "" if rank else "strong") for rank, entry in enumerate(board.entries[:DRAWN])
    )
    drawn = f", the first {DRAWN} of {len(board.entries):,}" if len(board.entries) > DRAWN else ""
    over = unit(board.entries[0].patients_known)
    level, best = f"{100 * board.level:.0f}% intervals over {over}", board.entries[0].name
    metric = f"{metric[0].upper()}{metric[1:]}"
    caption = f"{metric} of each run with {level}{drawn}. The dashed line is the value of {best}."
    found: list[Block] = [Intervals(caption, values, board.entries[0].value.value)]
    if board.comparisons:
        rows = tuple(
            (f"{each.first} − {each.second}", each.overall.difference, "") for each in board.comparisons[:DRAWN]
        )
        caption = (
            f"{metric} of each run minus that of {best}, paired over the same {over}, with {level}: left of the dashed line "
            f"the run is below {best}."
        )
        found.append(Intervals(caption, rows, 0.0))
    return found
