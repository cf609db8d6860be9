"""Runtimes: equal predictions from all of them, conversions kept and proven, and what is chosen when."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from zoo.core.errors import UsageError, ZooError
from zoo.core.options import validate
from zoo.core.registry import registry
from zoo.core.tasks import Task
from zoo.engine.weights import build_network
from zoo.inference.evaluate import CHUNK, runtime_logits
from zoo.inference.features import with_features
from zoo.inference.runtimes import artifacts, runtime
from zoo.inference.runtimes.runtime import MANY, open_runtime
from zoo.runs.run import Run

TASK = Task("multilabel", ("Mass", "Effusion", "Nodule"))
SIZE = 32
CONVERTED = ("litert", "onnx")

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="conversion is TensorFlow's")


def make_run(folder: Path, model: str = "tiny-cnn", size: int = SIZE, **options: Any) -> Run:
    """A run with an untrained network whose batch normalisations have something to do."""
    keras.utils.set_random_seed(3)
    strategy = registry().get("model", model)
    network, _ = build_network(strategy, TASK, size, None, validate(strategy.Options, options, "model", ""))
    random = np.random.default_rng(4)
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            width = layer.moving_mean.shape
            layer.moving_mean.assign(random.normal(0, 0.1, width))
            layer.moving_variance.assign(random.uniform(0.8, 1.2, width))
    run = Run(folder)
    run.path.mkdir(parents=True)
    network.save(run.model_file)
    run.write_json("run.json", {"status": "complete", "image_size": size, "task": TASK.kind, "labels": TASK.labels})
    return run


def some_images(count: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, size, size), dtype=np.uint8)


def by_keras(run: Run, images: np.ndarray) -> list[np.ndarray]:
    """The logits of the network as it was saved, in stock Keras, and its features."""
    network = keras.saving.load_model(run.model_file, compile=False)
    logits, features = with_features(network).predict(images[..., None], verbose=0)
    np.testing.assert_allclose(logits, network.predict(images[..., None], verbose=0), atol=1e-6)
    return [logits, features]


def agree(got: tuple[np.ndarray, np.ndarray], expected: list[np.ndarray]) -> None:
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.dtype == np.float32
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4 * max(1.0, float(np.abs(theirs).max())))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was opened in every runtime."""
    run = make_run(tmp_path_factory.mktemp("runs") / "converted")
    for name in CONVERTED:
        open_runtime(run, name).close()
    return run.path


@pytest.fixture
def run(converted: Path, tmp_path: Path) -> Run:
    shutil.copytree(converted, tmp_path / "run")
    return Run(tmp_path / "run")


@pytest.fixture
def fresh(run: Run) -> Run:
    """A run that was never converted."""
    shutil.rmtree(run.path / "compiled")
    return run


@pytest.fixture
def worth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every conversion pays: how fast a network of a few hundred weights is says nothing."""
    monkeypatch.setattr(artifacts, "WORTH", 0.0)


@pytest.fixture
def quick(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Converting takes the file that was made of the same network before."""
    (file,) = (converted / "compiled").glob("*.tflite")
    monkeypatch.setattr(artifacts, "to_litert", lambda network, target, **options: shutil.copy(file, target))


@pytest.fixture(scope="module", params=["keras", *CONVERTED])
def opened(request: pytest.FixtureRequest, converted: Path) -> Iterator[Any]:
    with closing(open_runtime(Run(converted), request.param)) as opened:
        yield opened


@pytest.mark.parametrize("count", [1, 3, 32, 45])
def test_every_runtime_gives_the_saved_network_s_outputs(opened: Any, converted: Path, count: int) -> None:
    images = some_images(count)
    agree(opened.predict(images), by_keras(Run(converted), images))


def test_no_images_give_empty_outputs(opened: Any, converted: Path) -> None:
    one = opened.predict(some_images(1))
    assert [each.shape for each in opened.predict(some_images(0))] == [(0, each.shape[1]) for each in one]


def test_an_output_does_not_depend_on_the_other_images(opened: Any) -> None:
    images = some_images(40)
    order = np.random.default_rng(0).permutation(40)
    for straight, shuffled in zip(opened.predict(images), opened.predict(images[order]), strict=True):
        # the last images stand alone or in a batch that is filled up; within full batches the bits are the same
        np.testing.assert_allclose(shuffled, straight[order], rtol=0, atol=1e-5)
    for straight, shuffled in zip(opened.predict(images[:32]), opened.predict(images[:32][::-1]), strict=True):
        np.testing.assert_array_equal(shuffled, straight[::-1])


def test_chunks_come_back_in_order(opened: Any) -> None:
    images = some_images(CHUNK + 90)
    rows = np.random.default_rng(1).permutation(len(images))[: CHUNK + 70]
    expected = np.concatenate([opened.predict(images[rows][start : start + 1])[0] for start in range(0, len(rows), 37)])
    np.testing.assert_allclose(runtime_logits(opened, images, rows)[::37], expected, rtol=0, atol=1e-5)


# every kind of layer there is; what each family's network becomes as a file stands in docs/export.md
KINDS = ("densenet121", "efficientnetb0", "convnexttiny", "mobilenetv3", "vit-tiny")


@pytest.mark.slow
@pytest.mark.parametrize("model", KINDS)
@pytest.mark.parametrize("name", CONVERTED)
def test_a_model_of_every_kind_is_equal_in_every_runtime(name: str, model: str, tmp_path: Path) -> None:
    size = max(64, registry().get("model", model).info.min_image_size)
    run, images = make_run(tmp_path / "run", model, size), some_images(5, size)
    with closing(open_runtime(run, name)) as opened:
        agree(opened.predict(images), by_keras(run, images))


# ---- what is chosen


def test_few_images_are_computed_by_keras_at_once(fresh: Run, worth: None, logged: list[str]) -> None:
    for images in (None, MANY - 1):
        with closing(open_runtime(fresh, images=images)) as opened:
            assert opened.name == "keras"
    assert logged == ["Runtime: compiled Keras"] * 2
    assert not (fresh.path / "compiled").exists()


@pytest.mark.slow
def test_many_images_are_worth_a_conversion_which_is_kept(fresh: Run, worth: None, logged: list[str]) -> None:
    with closing(open_runtime(fresh, images=MANY)) as opened:
        assert opened.name == "litert"
    assert logged[0] == "Converting the network for LiteRT, once"
    assert logged[-1] == "Runtime: LiteRT"
    logged.clear()
    with closing(open_runtime(fresh)) as opened:
        assert opened.name == "litert"
    assert logged == ["Runtime: LiteRT"]


def test_what_is_not_faster_is_not_used_unless_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "WORTH", 1e9)
    with closing(open_runtime(run, images=MANY)) as opened:
        assert opened.name == "keras"
    with closing(open_runtime(run, "onnx")) as opened:
        assert opened.name == "onnx"


def test_the_next_best_is_taken_where_litert_is_not_installed(
    run: Run, worth: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(runtime.MODULES, "litert", "no_such_module")
    with closing(open_runtime(run)) as opened:
        assert opened.name == "onnx"
    monkeypatch.setitem(runtime.MODULES, "onnx", "no_such_module")
    with closing(open_runtime(run)) as opened:
        assert opened.name == "keras"
    with pytest.raises(ZooError, match=r"pip install 'cxr-zoo\[litert\]'"):
        open_runtime(run, "litert")


def test_a_converted_network_opens_without_keras_or_tensorflow(run: Run, run_python: Callable[..., Any]) -> None:
    code = """
        import sys
        from pathlib import Path
        import numpy as np
        from zoo.inference.runtimes import artifacts
        from zoo.inference.runtimes.runtime import open_runtime
        from zoo.runs.run import Run
        artifacts.WORTH = 0.0
        opened = open_runtime(Run(Path(sys.argv[1])))
        opened.predict(np.zeros((3, 32, 32), np.uint8))
        print(opened.name, {"keras", "tensorflow", "jax"} & set(sys.modules))
    """
    done = run_python("-c", textwrap.dedent(code), str(run.path))
    assert (done.stdout, done.stderr) == ("litert set()\n", "")


def test_on_a_gpu_it_is_keras(run: Run, worth: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_gpu", lambda: True)
    with closing(open_runtime(run)) as opened:
        assert opened.name == "keras"
    with pytest.raises(UsageError, match="computes on the CPU"):
        open_runtime(run, "litert", device="gpu")


def test_names_and_files_that_are_not_there(run: Run) -> None:
    with pytest.raises(UsageError, match=r"unknown runtime 'litter'\. Did you mean 'litert'"):
        open_runtime(run, "litter")
    with pytest.raises(UsageError, match="unknown device 'tpu'"):
        open_runtime(run, device="tpu")
    run.model_file.unlink()
    with pytest.raises(ZooError, match=r"model\.keras is missing"):
        open_runtime(run)


# ---- what is kept


@pytest.mark.slow
def test_another_network_is_converted_anew(run: Run, tmp_path: Path, worth: None) -> None:
    other = make_run(tmp_path / "other", width=4, depth=1)
    shutil.copy(other.model_file, run.model_file)
    with closing(open_runtime(run)) as opened:
        assert opened.name == "keras"
    with closing(open_runtime(run, "litert")) as opened:
        agree(opened.predict(some_images(3)), by_keras(run, some_images(3)))
    assert len(list((run.path / "compiled").glob("litert-*"))) == 2  # the file and its record: the old ones are gone


def test_another_version_is_converted_anew(run: Run, worth: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert artifacts.find(run, "litert") is not None
    monkeypatch.setattr(artifacts, "version", lambda package: "0.0")
    assert artifacts.find(run, "litert") is None


@pytest.mark.parametrize("harm", ["bit", "half", "gone", "record"])
def test_a_damaged_file_is_never_opened(run: Run, worth: None, harm: str) -> None:
    (file,) = (run.path / "compiled").glob("*.tflite")
    content = bytearray(file.read_bytes())
    if harm == "bit":
        content[len(content) // 2] ^= 4
        file.write_bytes(content)
    elif harm == "half":
        file.write_bytes(content[: len(content) // 2])
    elif harm == "gone":
        file.unlink()
    else:
        file.with_suffix(".json").write_text('{"digest": ')
    assert artifacts.find(run, "litert") is None


def test_a_run_that_cannot_be_written_uses_the_cache(fresh: Run, cache: Path, worth: None, quick: None) -> None:
    (fresh.path / "compiled").write_text("in the way")
    open_runtime(fresh, "litert").close()
    assert [file.suffix for file in sorted((cache / "compiled").iterdir())] == [".json", ".tflite"]
    with closing(open_runtime(fresh)) as opened:
        assert opened.name == "litert"
    shutil.rmtree(cache)
    cache.write_text("in the way too")
    with pytest.raises(ZooError, match="ZOO_CACHE"):
        open_runtime(fresh, "litert")
    with closing(open_runtime(fresh, images=MANY)) as opened:
        assert opened.name == "keras"


def test_a_network_that_computes_something_else_is_refused_for_good(
    fresh: Run, worth: None, quick: None, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    real = artifacts._tried

    def wrong(opened: Any, images: np.ndarray) -> Any:
        (logits, features), seconds = real(opened, images)
        return (logits + (1e-2 if opened.name != "keras" else 0), features), seconds

    monkeypatch.setattr(artifacts, "_tried", wrong)
    with closing(open_runtime(fresh, images=MANY)) as opened:
        assert opened.name == "keras"
    assert any(line.startswith("LiteRT is left out: its outputs differ") for line in logged)
    assert not list((fresh.path / "compiled").glob("*.tflite"))
    monkeypatch.setattr(artifacts, "_tried", real)
    with pytest.raises(ZooError, match="its outputs differ from Keras'"):
        open_runtime(fresh, "litert")


def test_half_precision_is_not_converted(tmp_path: Path) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        run = make_run(tmp_path / "half")
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(ZooError, match="computes in bfloat16"):
        open_runtime(run, "litert")
    with closing(open_runtime(run)) as opened:
        assert opened.predict(some_images(2))[0].shape == (2, 3)


def test_trial_images_are_the_run_s_own_where_they_still_are(run: Run, tmp_path: Path) -> None:
    drawn = artifacts.trial_images(run, SIZE)
    assert drawn.shape == (artifacts.TRIAL, SIZE, SIZE)
    assert drawn.std() > 20
    images = some_images(70)
    (tmp_path / "store").mkdir()
    np.save(tmp_path / "store" / "images.npy", images)
    run.write_json("data.json", {"store": str(tmp_path / "store")})
    own = {image.tobytes() for image in images}
    assert all(image.tobytes() in own for image in artifacts.trial_images(run, SIZE))
    np.testing.assert_array_equal(artifacts.trial_images(run, 48).shape, (artifacts.TRIAL, 48, 48))


# ---- on JAX

ON_JAX = """
import sys
class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NotInstalled())
from pathlib import Path
import numpy as np
from zoo.core.errors import ZooError
from zoo.inference.runtimes.runtime import open_runtime
from zoo.runs.run import Run
run = Run(Path(sys.argv[1]))
opened = open_runtime(run, images=10**6)
for name, values in zip(("logits", "features"), opened.predict(np.load("images.npy"))):
    np.save(name, values)
opened.close()
try:
    open_runtime(run, "litert")
except ZooError as error:
    import keras
    print(keras.backend.backend(), opened.name, error)
"""


@pytest.mark.slow
def test_on_jax_without_tensorflow_it_is_compiled_keras(
    fresh: Run, run_python: Callable[..., Any], tmp_path: Path
) -> None:
    pytest.importorskip("jax")
    images = some_images(34)
    (tmp_path / "work").mkdir()
    np.save(tmp_path / "work" / "images.npy", images)
    done = run_python("-c", ON_JAX, str(fresh.path), KERAS_BACKEND="jax")
    assert done.stdout.startswith("jax keras a network becomes LiteRT on the TensorFlow"), done.stderr
    agree(tuple(np.load(tmp_path / "work" / f"{name}.npy") for name in ("logits", "features")), by_keras(fresh, images))
    # what another backend cannot do is no score on the network
    assert artifacts.find(fresh, "litert") is None


def test_the_record_says_what_was_found_out(run: Run) -> None:
    for name in CONVERTED:
        (record,) = (json.loads(file.read_text()) for file in (run.path / "compiled").glob(f"{name}-*.json"))
        assert record["difference"] <= artifacts.TOLERANCE
        assert record["speed"] > 0
        assert record["refused"] == ""
