"""Public conformance checks: what every strategy must do, whoever wrote it.

Each check raises AssertionError with a sentence that says what is wrong, and returns nothing where all is well. Use them
in the tests of a plugin, on whichever Keras backend is active:

    from zoo.testing import check_model

    def test_my_model():
        check_model(MyModel())
"""

from __future__ import annotations

import pickle
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.contracts import ALL_TASKS, Augmenter, Dataset, LabelCounts, Loss, Model, Strategy
from zoo.tasks import Task

if TYPE_CHECKING:
    import keras
    import numpy as np

    from zoo.data.records import Records

EXAMPLE_TASKS = {
    "binary": Task("binary", ("abnormal",)),
    "multilabel": Task("multilabel", ("cardiomegaly", "effusion", "nodule")),
    "multiclass": Task("multiclass", ("normal", "bacterial", "viral")),
}


def check_model(model: Model, *, brief: bool = False) -> None:
    """Check that a model builds for its tasks, takes raw pixels, gives float32 logits, trains, and survives saving.

    Networks are built at the smallest image size the model allows, with default options and random weights; nothing is
    downloaded.

    Args:
        model: the model.
        brief: check one task and leave out saving and loading: for the larger sisters of a network that passes the
            whole check, made of the same layers, of which each would take minutes.

    Raises:
        AssertionError: says what the model does not do.
    """
    name, options = _check_info(model), model.Options()
    size = model.info.min_image_size
    assert size <= model.info.image_size, f"{name}: image_size is below min_image_size"
    network = None
    for task in _tasks(model)[: 1 if brief else None]:
        network = model.build(task, size, None, options)
        _check_logits(name, network, task, size)
        if task.outputs == 1:
            count = network.count_params()
            stated = model.info.parameters
            assert count == stated, f"{name}: info.parameters is {stated:,}, the network with one output has {count:,}"
    assert network is not None, f"{name}: info.tasks is empty"
    if not brief:
        _check_saving(name, network, size)
    _check_gradients(name, network, size)


def check_loss(loss: Loss) -> None:
    """Check a loss for each of its tasks: shape, extreme logits in two precisions, direction, and its gradient.

    Raises:
        AssertionError: says what the loss does not do.
    """
    import numpy as np

    name = _check_info(loss)
    for task in _tasks(loss):
        counts = LabelCounts(np.full(task.outputs, 30.0), np.full(task.outputs, 70.0))
        function = loss.build(task, counts, loss.Options())
        labels, logits = _label_rows(task), np.random.default_rng(0).uniform(-3, 3, (6, task.outputs)).astype("float32")
        where = f"{name} ({task.kind})"
        values = _numpy(function(labels, logits))
        assert values.shape == labels.shape, f"{where}: gives shape {values.shape} for labels of shape {labels.shape}"
        _check_extremes(where, function, labels)
        _check_direction(where, function, task)
        _check_loss_gradient(where, function, labels, logits)


def check_augmenter(augmenter: Augmenter) -> None:
    """Check an augmenter: shapes, range, dtype, unknown labels, reproducibility, and compiled use.

    Raises:
        AssertionError: says what the augmenter does not do.
    """
    import keras
    import numpy as np

    name, size = _check_info(augmenter), 32
    augment = augmenter.build(size, augmenter.Options())
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (8, size, size, 1)).astype("float32")
    labels = generator.integers(0, 2, (8, 3)).astype("float32")
    labels[1, 0] = labels[4, 2] = np.nan

    def run(seed: int, count: int = 8) -> tuple[np.ndarray, np.ndarray]:
        changed = augment(
            keras.ops.convert_to_tensor(images[:count]),
            keras.ops.convert_to_tensor(labels[:count]),
            keras.random.SeedGenerator(seed),
        )
        return _numpy(changed[0]), _numpy(changed[1])

    first, again = run(7), run(7)
    _check_batch(name, first, images, labels)
    for one, other, what in zip(first, again, ("images", "labels"), strict=True):
        same = np.array_equal(one, other, equal_nan=True)
        assert same, f"{name}: the same seed gives other {what}; every draw must pass the `seed` it is given"
    _check_batch(f"{name} (a batch of one)", run(7, 1), images[:1], labels[:1])
    if getattr(augmenter.info, "per_film", False):
        images[-1] = 255 - images[-1]
        pixels, kept = run(7)
        alone = np.allclose(first[0][:-1], pixels[:-1], atol=0.5) and np.array_equal(kept, labels, equal_nan=True)
        assert alone, f"{name}: info.per_film is true, but films or labels depend on the other films of the batch"
    _check_compiled(name, augment, images, labels)


def check_dataset(dataset: Dataset, root: Path | str | None = None, options: Any = None) -> None:
    """Check a dataset's records: columns, labels, splits without shared patients, and that films can be read.

    Args:
        dataset: the reader.
        root: where its layout lies; needed where `info.needs_root`.
        options: an instance of `dataset.Options`; its defaults where None.

    Raises:
        AssertionError: says what the dataset does not do.
    """
    import pandas as pd

    name = _check_info(dataset)
    assert root is not None or not dataset.info.needs_root, f"{name}: reads files, give the check a root"
    records = dataset.read(None if root is None else Path(root), options or dataset.Options())
    table = records.table
    assert len(table) > 0, f"{name}: no films found"
    assert records.labels, f"{name}: no labels"
    assert records.normal not in records.labels, f"{name}: the normal class {records.normal!r} must not be a label too"
    for column in ("image", "path", "patient"):
        kinds = {type(value).__name__ for value in table[column]}
        assert kinds == {"str"}, f"{name}: column {column!r} must hold text, it holds {sorted(kinds)}"
    for label in records.labels:
        assert pd.api.types.is_float_dtype(table[label]), (
            f"{name}: label column {label!r} is {table[label].dtype}, not float"
        )
        wrong = set(table[label].dropna()) - {0.0, 1.0}
        assert not wrong, f"{name}: label column {label!r} holds {sorted(wrong)}; valid are 1, 0 and NaN"
    _check_metadata(name, records)
    _check_splits(name, records)
    _check_films(name, records)


def _check_info(strategy: Strategy) -> str:
    from zoo.options import describe

    info = strategy.info
    assert info.name, f"{type(strategy).__name__}: info.name is empty"
    assert info.name == "".join(info.name.lower().split()), f"{info.name!r}: names are lower case without spaces"
    assert len(info.summary.splitlines()) == 1, f"{info.name}: info.summary must be one line"
    for option in describe(strategy.Options):
        assert option.help, (
            f"{info.name}: option {option.name!r} has no help text; declare it with zoo.contracts.option"
        )
    return info.name


def _tasks(strategy: Strategy) -> list[Task]:
    kinds = strategy.info.tasks
    unknown = set(kinds) - set(ALL_TASKS)
    assert not unknown, f"{strategy.info.name}: info.tasks has {sorted(unknown)}; valid are {', '.join(ALL_TASKS)}"
    return [EXAMPLE_TASKS[kind] for kind in ALL_TASKS if kind in kinds]


def _numpy(tensor: Any) -> np.ndarray:
    import keras

    return keras.ops.convert_to_numpy(tensor)


def _pixels(size: int, count: int = 4) -> np.ndarray:
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, (count, size, size, 1), dtype=np.uint8)


def _check_logits(name: str, network: keras.Model, task: Task, size: int) -> None:
    import keras
    import numpy as np

    assert network.input_shape == (None, size, size, 1), (
        f"{name}: input {network.input_shape}, not (None, {size}, {size}, 1)"
    )
    pixels = _pixels(size)
    logits = network(pixels.astype("float32"), training=False)
    where = f"{name} ({task.kind})"
    assert tuple(logits.shape) == (4, task.outputs), f"{where}: logits {tuple(logits.shape)}, not (4, {task.outputs})"
    dtype = keras.backend.standardize_dtype(logits.dtype)
    assert dtype == "float32", f"{where}: logits are {dtype}, not float32"
    assert np.isfinite(_numpy(logits)).all(), f"{where}: logits of raw pixels in [0, 255] are not finite"
    from_bytes = _numpy(network(pixels, training=False))
    assert np.allclose(from_bytes, _numpy(logits), atol=1e-5), (
        f"{where}: uint8 pixels give other logits than float ones"
    )


def _check_saving(name: str, network: keras.Model, size: int) -> None:
    import keras
    import numpy as np

    pixels = _pixels(size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        network.save(path)
        loaded = keras.saving.load_model(path, compile=False)
    before, after = (_numpy(each(pixels, training=False)) for each in (network, loaded))
    assert np.allclose(before, after, atol=1e-5), f"{name}: a saved and loaded network gives other logits"


def _check_gradients(name: str, network: keras.Model, size: int) -> None:
    """One training step with an optimizer that leaves in each weight its gradient."""
    import numpy as np

    generator = np.random.default_rng(0)
    for weight in network.trainable_variables:
        values = _numpy(weight)
        if not values.any():  # a layer that starts at zero hides the gradients of those behind it
            weight.assign(generator.normal(0, 0.05, values.shape))
    before = [_numpy(weight).copy() for weight in network.trainable_variables]
    network.compile(optimizer=_gradient_optimizer(), loss="mse", run_eagerly=_eager())
    pixels = _pixels(size, 8)
    with warnings.catch_warnings():  # Keras warns of what is asserted below
        warnings.simplefilter("ignore", UserWarning)
        network.train_on_batch(pixels.astype("float32"), generator.normal(0, 3, (8, network.output_shape[-1])))
    for weight, old in zip(network.trainable_variables, before, strict=True):
        gradient = _numpy(weight)
        assert np.isfinite(gradient).all(), f"{name}: the gradient of {weight.path} is not finite"
        reached = gradient.any() and not np.array_equal(gradient, old)
        assert reached, f"{name}: no gradient reaches {weight.path}; a weight that is not used must not be trainable"


def _eager() -> bool:
    """Whether one step is faster without compiling: tracing a deep network costs TensorFlow more than the step does."""
    import keras

    return bool(keras.backend.backend() != "jax")


def _gradient_optimizer() -> keras.optimizers.Optimizer:
    import keras

    class LeaveGradients(keras.optimizers.Optimizer):
        """Sets each weight to its gradient: the way to read gradients that is the same on every backend."""

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            self.assign(variable, gradient)

    return LeaveGradients(learning_rate=1.0)


def _label_rows(task: Task) -> np.ndarray:
    """Six rows of float32 labels that show every class present and absent."""
    import numpy as np

    if task.exclusive:
        return np.eye(task.outputs, dtype="float32")[np.arange(6) % task.outputs]
    return ((np.arange(6)[:, None] + np.arange(task.outputs)) % 2).astype("float32")


def _check_extremes(where: str, function: Callable[[Any, Any], Any], labels: np.ndarray) -> None:
    import keras
    import numpy as np

    for precision in ("float16", "float32"):
        for sign in (1, -1):
            logits = (80 * sign * (2 * labels - 1)).astype(precision)
            try:
                values = _numpy(function(keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(logits)))
            except Exception as error:
                raise AssertionError(f"{where}: fails for {precision} logits, cast them to float32: {error}") from error
            finite = np.isfinite(values.astype("float32")).all()
            assert finite, f"{where}: not finite for {precision} logits of ±80; compute from logits, in float32"
    for sign in (1, -1):
        gradient = _loss_gradient(function, labels, (80 * sign * (2 * labels - 1)).astype("float32"))
        assert np.isfinite(gradient).all(), f"{where}: the gradient is not finite for logits of ±80"


def _check_direction(where: str, function: Callable[[Any, Any], Any], task: Task) -> None:
    """The loss of a row falls as the logits move toward its labels."""
    import numpy as np

    for labels in np.unique(_label_rows(task), axis=0):
        steps = np.linspace(-2, 2, 5, dtype="float32")[:, None]
        rows = np.repeat(labels[None], len(steps), axis=0)
        losses = _numpy(function(rows, steps * (2 * rows - 1))).sum(axis=1)
        falls = (np.diff(losses) < 0).all()
        assert falls, (
            f"{where}: does not fall as the logits move toward the labels {labels.tolist()}: {losses.tolist()}"
        )


def _check_loss_gradient(where: str, function: Callable[[Any, Any], Any], labels: Any, logits: np.ndarray) -> None:
    """The gradient of the sum against central differences, logit by logit."""
    import numpy as np

    step = 1e-2
    expected = np.zeros(logits.shape)
    for index in np.ndindex(*logits.shape):
        change = np.zeros_like(logits)
        change[index] = step
        above, below = (_numpy(function(labels, logits + s * change)).astype(float).sum() for s in (1, -1))
        expected[index] = (above - below) / (2 * step)
    gradient = _loss_gradient(function, labels, logits)
    off = float(np.abs(gradient - expected).max())
    assert off < 5e-3, f"{where}: the gradient is off from finite differences by {off:.3g}"


def _loss_gradient(function: Callable[[Any, Any], Any], labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    import keras

    class Logits(keras.Model):
        """The logits are the weights."""

        def __init__(self) -> None:
            super().__init__()
            self.logits = self.add_weight(shape=logits.shape, initializer="zeros", name="logits")

        def call(self, inputs: Any) -> Any:
            return keras.ops.convert_to_tensor(self.logits)

        def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *rest: Any, **more: Any) -> Any:
            return keras.ops.sum(function(y, y_pred))

    probe = Logits()
    probe.logits.assign(logits)
    probe.compile(optimizer=_gradient_optimizer(), run_eagerly=True)
    probe.train_on_batch(labels, labels)
    return _numpy(probe.logits)


def _check_batch(where: str, got: tuple[np.ndarray, np.ndarray], images: np.ndarray, labels: np.ndarray) -> None:
    import numpy as np

    for value, given, what in zip(got, (images, labels), ("images", "labels"), strict=True):
        assert value.shape == given.shape, f"{where}: {what} of shape {given.shape} come back as {value.shape}"
        assert value.dtype == np.float32, f"{where}: {what} come back as {value.dtype}, not float32"
    low, high = float(got[0].min()), float(got[0].max())  # NaN fails the comparison too
    assert 0 <= low <= high <= 255, f"{where}: pixels leave [0, 255]: {low:g} to {high:g}"
    assert np.isnan(got[1][np.isnan(labels)]).all(), f"{where}: an unknown label (NaN) came back as known"
    known = got[1][~np.isnan(got[1])]
    assert ((known >= 0) & (known <= 1)).all(), f"{where}: labels leave [0, 1]"


def _check_compiled(name: str, augment: Any, images: np.ndarray, labels: np.ndarray) -> None:
    """Once as a graph with batches of unknown size, once under XLA, which training on a GPU uses."""
    import keras

    class Wrapper(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.augment, self.seed = augment, keras.random.SeedGenerator(7)

        def call(self, inputs: Any) -> Any:
            return self.augment(*inputs, self.seed)

    modes = {"compiled": False, "compiled with XLA": True}
    if not getattr(augment, "supports_jit", True):  # a Keras layer may say so of itself
        del modes["compiled with XLA"]
    for mode, jit in modes.items():
        wrapper = Wrapper()
        wrapper.compile(jit_compile=jit)
        try:
            images_out, labels_out = wrapper.predict((images, labels), batch_size=8 if jit else 5, verbose=0)
        except Exception as error:
            raise AssertionError(f"{name}: fails {mode}: {type(error).__name__}: {str(error)[:500]}") from error
        _check_batch(f"{name} ({mode})", (images_out, labels_out), images, labels)


def _check_metadata(name: str, records: Records) -> None:
    table = records.table
    for column, valid in (("view", {"PA", "AP", "LATERAL"}), ("sex", {"M", "F"})):
        if column in table.columns:
            values = set(table[column].dropna())
            wrong = sorted(map(str, values - valid - {""}))
            assert not wrong, f"{name}: column {column!r} holds {wrong[:5]}; valid are {sorted(valid)} and missing"
    boxes = records.boxes
    if len(boxes):
        strangers = set(boxes["image"]) - set(table["image"])
        assert not strangers, f"{name}: boxes name images that are not in the table, such as {min(strangers)!r}"
        corners = boxes[["x", "y", "width", "height"]].to_numpy(dtype=float)
        inside = (corners >= 0).all() and (corners[:, :2] + corners[:, 2:] <= 1 + 1e-6).all()
        assert inside, f"{name}: boxes must be fractions of the film, within [0, 1]"


def _check_splits(name: str, records: Records) -> None:
    from zoo.data.records import SPLITS

    if "split" not in records.table.columns:
        assert not records.official_split, f"{name}: official_split is set, but there is no column 'split'"
        return
    known = records.table.dropna(subset=["split"])
    wrong = set(known["split"]) - {*SPLITS, "train_val"}
    assert not wrong, f"{name}: column 'split' holds {sorted(map(str, wrong))}; valid are train, val, train_val, test"
    splits = known.groupby("patient")["split"].nunique()
    shared = splits.index[splits > 1]
    assert shared.empty, f"{name}: {len(shared)} patients are in more than one split, such as {shared[0]!r}"


def _check_films(name: str, records: Records) -> None:
    import numpy as np

    try:
        copy = pickle.loads(pickle.dumps(records.source))
    except Exception as error:
        raise AssertionError(f"{name}: its image source cannot be pickled for worker processes: {error}") from error
    paths = list(records.table["path"][:3])
    for path in paths:
        pixels, note = records.source.read(path)
        assert pixels.dtype == np.uint8, f"{name}: film {path!r} is read as {pixels.dtype}, not uint8"
        assert pixels.ndim == 2, f"{name}: film {path!r} has shape {pixels.shape}, not (H, W)"
        assert isinstance(note, str), f"{name}: the note on film {path!r} is {type(note).__name__}, not text"
        assert np.array_equal(copy.read(path)[0], pixels), f"{name}: a pickled source reads film {path!r} differently"
    marks = {source.fingerprint(paths) for source in (records.source, copy)}
    assert len(marks) == 1, f"{name}: fingerprints of the same films differ: {sorted(marks)}"
    assert all(marks), f"{name}: the fingerprint is empty"


__all__ = ["check_augmenter", "check_dataset", "check_loss", "check_model"]
