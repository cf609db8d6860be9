"""Heat maps of a run's network: on its own images, with radiologists' boxes if there are any, or on files."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from zoo.core.errors import DataError, UsageError, unknown
from zoo.core.files import write_text
from zoo.core.progress import Progress
from zoo.core.registry import Registry
from zoo.core.tasks import Task
from zoo.core.thresholds import DEFAULT
from zoo.evaluation import metrics
from zoo.evaluation.serialise import to_plain
from zoo.explain import localisation as scoring
from zoo.explain.localisation import Localisation, Scores
from zoo.explain.maps import METHODS, Mapper
from zoo.explain.overlay import Picture, file_name, save_picture
from zoo.explain.pairs import Pair, no_boxes, split_pairs
from zoo.explain.sanity import RANDOMISATIONS, Sanity, check
from zoo.runs.run import Run

logger = logging.getLogger(__name__)

SANITY_MAPS = {"gradcam": 50, "gradcam++": 50, "occlusion": 8}  # at most; occlusion costs hundreds of passes per map
COARSE = 16  # cells: a map with fewer says so


@dataclass(frozen=True)
class Options:
    """How to explain. Empty `labels`: those of the boxes or of the predictions. `sanity` None: on for a split."""

    method: str = "gradcam"
    layer: str | None = None
    labels: tuple[str, ...] = ()
    patch: int | None = None
    stride: int | None = None
    limit: int = 24
    sanity: bool | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Explained:
    """One picture; `file` is relative to the folder of the explanation."""

    image: str
    label: str
    probability: float
    reference: int | None
    file: str
    boxes: int


@dataclass(frozen=True)
class Explanation:
    """What was explained: the pictures in `folder`, of `maps` maps in all, the scores against boxes and the sanity check.

    `skipped` names files that could not be read, with the reason.
    """

    folder: Path
    method: str
    layer: str
    maps: int
    images: tuple[Explained, ...]
    localisation: Localisation | None
    sanity: Sanity | None
    notes: tuple[str, ...]
    skipped: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values as in index.json, NaN as None."""
        values: dict[str, Any] = to_plain(replace(self, folder=Path()))
        del values["folder"]
        return values


def explain_files(run: Run, files: Sequence[Path], options: Options, out: Path | None) -> Explanation:
    """Explain image files for the given labels, else for the positive ones, else for the most probable one.

    Files that cannot be read are logged and left out.

    Raises:
        DataError: not one file can be read.
        ZooError: the run has no network, or an option does not fit it.
    """
    from zoo.core.records import BadImage
    from zoo.data.decode import decode
    from zoo.data.resize import square

    task, columns = run.task(), _columns(run.task(), options.labels)
    size = int(run.info()["image_size"])
    squares, names = [], []
    skipped: dict[str, str] = {}
    for file in files:
        name = str(file).encode("utf-8", "backslashreplace").decode()
        try:
            pixels, note = decode(file)
        except BadImage as error:
            skipped[name] = str(error)
            logger.warning(f"left out: {name}: {error}")
            continue
        if note:
            logger.info(f"{name}: {note}")
        squares.append(square(pixels, size))
        names.append(name)
    if not squares:
        raise DataError(f"not one of the {len(files)} files can be read as an image.")
    images = np.stack(squares)

    def choose(probe: Any) -> list[Pair]:
        thresholds = dict.fromkeys(task.labels, DEFAULT) | run.info().get("thresholds", {})
        wanted = [columns or _positive_labels(task, row, thresholds) for row in probe.logits(images)]
        return [
            Pair(row, column, names[row], names[row], None, no_boxes())
            for row in range(len(images))
            for column in wanted[row]
        ]

    return replace(_explain(run, images, choose, options, out, False), skipped=skipped)


def _positive_labels(task: Task, logits: np.ndarray, thresholds: Mapping[str, float]) -> list[int]:
    """The positive labels of an image, `(K,)`, else the most probable one."""
    positive = np.flatnonzero(metrics.decisions(task, logits[None], thresholds)[0])
    return positive.tolist() or [int(logits.argmax())]


def explain_split(
    run: Run, split: str, with_boxes: bool, options: Options, registry: Registry, out: Path | None
) -> Explanation:
    """Explain images of the run's own split.

    With boxes: all images that have one of a label of the network, scored against them. Without: up to `options.limit`
    images that have a finding.

    Raises:
        DataError: the split has no such images, or the dataset is not there any more.
        ZooError: the run has no network, or an option does not fit it.
    """
    columns = _columns(run.task(), options.labels)
    images, pairs = split_pairs(run, split, with_boxes, columns, registry)
    if not with_boxes:
        pairs = [pairs[i] for i in _spread(pairs, options.limit)]
    return _explain(run, images, lambda probe: pairs, options, out, with_boxes)


def _columns(task: Task, labels: Sequence[str]) -> list[int]:
    """The outputs of labels, ignoring case; raises UsageError for a label the network does not have."""
    known = {label.lower(): k for k, label in enumerate(task.labels)}
    for label in labels:
        if label.lower() not in known:
            raise unknown("label", label, task.labels, "These are the labels the run was trained for.")
    return list(dict.fromkeys(known[label.lower()] for label in labels))


def _explain(
    run: Run,
    images: np.ndarray,
    choose: Callable[[Any], list[Pair]],
    options: Options,
    out: Path | None,
    own: bool,
) -> Explanation:
    from zoo.engine import devices
    from zoo.engine.load import load_network

    config, task = run.config(), run.task()
    if options.method not in METHODS:
        raise unknown("method", options.method, METHODS)
    if not run.model_file.exists():
        raise DataError(
            f"the run {run.name} has no trained network ({run.model_file} is missing; status: {run.info().get('status')})."
        )
    with devices.session(options.device, config["precision"], config["seed"]) as device:
        network = load_network(run)
        mapper = Mapper(network, options.method, options.layer, options.patch, options.stride)
        logger.info(f"{METHODS[options.method]} ({mapper.where}), device: {device}")
        pairs = choose(mapper.probe)
        return _work(run, network, mapper, images, pairs, task, options, out or run.path / "explanations", own)


def _work(
    run: Run,
    network: Any,
    mapper: Mapper,
    images: np.ndarray,
    pairs: list[Pair],
    task: Task,
    options: Options,
    folder: Path,
    scored: bool,
) -> Explanation:
    seed = int(run.config()["seed"])
    rows, columns = np.array([p.row for p in pairs]), np.array([p.column for p in pairs])
    shown = _spread(pairs, options.limit)
    probed = (
        _spread(pairs, SANITY_MAPS[mapper.method]) if (scored if options.sanity is None else options.sanity) else []
    )
    kept: dict[int, np.ndarray] = {}
    scores: list[tuple[np.ndarray, Scores]] = []
    probabilities = np.zeros((len(pairs), task.outputs))
    empty = 0
    with Progress("Explaining", len(pairs) + RANDOMISATIONS * len(probed), "maps") as progress:
        for part in mapper.make(images, rows, columns):
            probabilities[part.index] = metrics.probabilities(task, part.logits)
            empty += int((part.maps.max(axis=(1, 2)) == 0).sum())
            if scored:
                scores.append((part.index, scoring.score(part.maps, [pairs[i].boxes for i in part.index])))
            kept |= {int(i): each for i, each in zip(part.index, part.maps, strict=True) if i in shown or i in probed}
            progress.advance(len(part.index))
        sanity = None
        if len(probed):
            of_probed = np.stack([kept[i] for i in probed])
            sanity = check(network, mapper, images, rows[probed], columns[probed], of_probed, seed, progress.advance)
    found = _localise(mapper, pairs, task, scores, seed) if scored else None
    how = f"{METHODS[mapper.method]}, {mapper.where}"
    pictures = []
    for number, i in enumerate(shown):
        pair, label = pairs[i], task.labels[pairs[i].column]
        value = float(probabilities[i, pair.column])
        file = f"maps/{file_name(number, pair.image, label)}"
        image = np.asarray(images[pair.row])
        save_picture(Picture(image, kept[i], pair.image, label, value, pair.reference, pair.boxes, how), folder / file)
        pictures.append(Explained(pair.image, label, value, pair.reference, file, len(pair.boxes)))
    notes = _notes(mapper, len(pairs), len(shown), empty, scored)
    result = Explanation(folder, mapper.method, mapper.where, len(pairs), tuple(pictures), found, sanity, notes)
    _write_index(result)
    return result


def _spread(pairs: Sequence[Pair], count: int) -> list[int]:
    """At most `count` pairs, spread evenly over labels and images."""
    if len(pairs) <= count:
        return list(range(len(pairs)))
    by_label: dict[int, list[int]] = {}
    for i, pair in enumerate(pairs):
        by_label.setdefault(pair.column, []).append(i)
    chosen: list[int] = []
    # the rarest first: what it leaves of its share goes to the others
    for number, found in enumerate(sorted(by_label.values(), key=len)):
        share = -(-(count - len(chosen)) // (len(by_label) - number))
        places = np.linspace(0, len(found) - 1, min(share, len(found))).round().astype(int)
        chosen += [found[k] for k in places]
    return sorted(chosen)


def _localise(
    mapper: Mapper, pairs: Sequence[Pair], task: Task, parts: list[tuple[np.ndarray, Scores]], seed: int
) -> Localisation:
    order = np.argsort(np.concatenate([index for index, _ in parts]))  # occlusion works image by image
    joined = scoring.join([found for _, found in parts])
    own = Scores(joined.pointing[order], joined.energy[order], joined.iou[order])
    boxes = [p.boxes for p in pairs]
    return scoring.localisation(
        {mapper.method: own, **scoring.baselines(boxes, mapper.grid, mapper.size, seed)},
        [task.labels[p.column] for p in pairs],
        [len(b) for b in boxes],
        [p.patient for p in pairs],
    )


def _notes(mapper: Mapper, maps: int, shown: int, empty: int, scored: bool) -> tuple[str, ...]:
    notes = []
    if shown < maps:
        of = "; the scores are of all" if scored else ""
        notes.append(f"{shown} of {maps} maps are kept as pictures{of}. More with --limit N.")
    height, width = mapper.grid
    if height * width < COARSE:
        notes.append(f"The layer {mapper.where} has {height}×{width} cells only: the maps are coarse.")
    if empty and not scored:  # the scores say it themselves
        notes.append(f"{empty} of {maps} maps are zero everywhere: nothing in the image supports the label.")
    return tuple(notes)


def _write_index(result: Explanation) -> None:
    """Write index.json last. Scores of an earlier index are kept if there are no new ones; its other pictures are removed."""
    file = result.folder / "index.json"
    values = result.to_dict()
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
        if values["localisation"] is None:
            values["localisation"] = before.get("localisation")
        stale = {each["file"] for each in before["images"]} - {each.file for each in result.images}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        stale = set()
    write_text(file, json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    maps = (result.folder / "maps").resolve()
    for name in stale:
        old = (result.folder / name).resolve()
        if old.parent == maps and old.suffix == ".png":
            old.unlink(missing_ok=True)


def check_request(files: Sequence[Path], split: str | None, boxes: bool) -> None:
    """Raise UsageError unless either files or a split are given."""
    if files and (split or boxes):
        raise UsageError("explain either IMAGE files or images of the run (--split, --boxes), not both.")
    if not files and not split and not boxes:
        raise UsageError("nothing to explain: name IMAGE files, or use --split test --boxes for the run's own images.")
