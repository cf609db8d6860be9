"""Devices, memory growth, precision and seeds: everything that is set once before a network is built."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from zoo.config.devices import check_device, check_devices, parts_of_cpu
from zoo.core.errors import UsageError, ZooError
from zoo.core.quiet import import_matplotlib, quiet_start
from zoo.nn import keras_compat

logger = logging.getLogger(__name__)

BACKENDS = ("tensorflow", "jax")
_CHOOSE = (
    "Install it (pip install tensorflow, or pip install 'cxr-zoo[jax]') or choose the other one with KERAS_BACKEND=tensorflow or "
    "KERAS_BACKEND=jax."
)


def import_keras() -> Any:
    """Import Keras, and give its settings of the whole process the values that zoo relies on (`keras_compat.SETTINGS`).

    Raises:
        ZooError: Keras or the chosen backend cannot be loaded, or works in a way that zoo cannot change.
    """
    try:
        with quiet_start():
            import_matplotlib()  # else Keras does
            import keras

            if keras.backend.backend() == "jax":
                with suppress(ImportError):
                    import tensorflow  # noqa: F401  # else Keras does it during the first training, with all its messages
    except Exception as error:  # what is wrong with keras.json or a variable comes as any exception
        raise _unloadable(error) from error
    backend = keras.backend.backend()
    if backend not in BACKENDS:
        raise ZooError(
            f"the Keras backend '{backend}' is not supported: set KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax."
        )
    if keras.config.is_nnx_enabled():
        raise ZooError(
            f"Keras' NNX mode is not supported. Take it out: KERAS_NNX_ENABLED, or nnx_enabled in {_keras_json()}."
        )
    changed = keras_compat.apply_settings()
    if changed:
        values = ", ".join(f"{name} {keras_compat.SETTINGS[name]} (was {value})" for name, value in changed.items())
        logger.warning(
            f"Keras' settings that keras.json, a variable or other code changed are set back, as zoo relies on them: {values}"
        )
    return keras


def _unloadable(error: Exception) -> ZooError:
    reason = " ".join(str(error).split()) or type(error).__name__
    chosen = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if isinstance(error, ImportError) or "backend" in reason:
        return ZooError(f"the Keras backend '{chosen}' cannot be loaded ({reason}). {_CHOOSE}")
    names = sorted(name for name in os.environ if name.startswith("KERAS_"))
    places = [*names, *([str(_keras_json())] if _keras_json().exists() else [])]
    where = f" Its settings come from {', '.join(places)}: correct or remove what is wrong there." if places else ""
    return ZooError(f"Keras cannot be loaded ({type(error).__name__}: {reason}).{where}")


def _keras_json() -> Path:
    """Where Keras looks for its settings."""
    home = os.environ.get("KERAS_HOME")
    return Path(home or os.path.join(os.path.expanduser("~"), ".keras"), "keras.json")


def select(device: str) -> tuple[str, str]:
    """Make Keras compute on `device`: auto, cpu, gpu or gpu:N.

    Returns:
        Keras' name of the device ("cpu:0", "gpu:1") and a line that describes it.

    Raises:
        UsageError: no such device is visible to the backend.
    """
    check_device(device)
    keras = import_keras()
    kind, _, number = device.partition(":")
    backend = keras.backend.backend()
    names = _tensorflow_gpus() if backend == "tensorflow" else _jax_gpus()
    index = int(number or 0)
    if kind == "gpu" and index >= len(names):
        seen = f"{len(names)} GPU(s)" if names else "no GPU"
        raise UsageError(
            f"--device {device}: {backend} sees {seen} here. Use --device cpu, or install the extra 'gpu' (or 'jax')."
        )
    if kind == "cpu" or not names:
        return "cpu:0", f"CPU ({backend})"
    return f"gpu:{index}", f"{names[index]} ({backend})"


def _tensorflow_gpus() -> list[str]:
    import tensorflow as tf

    with quiet_start():
        gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            break  # devices are initialised already: growth was set the first time or is not ours to set
    return [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]


def _jax_gpus() -> list[str]:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    return [device.device_kind for device in jax.local_devices() if device.platform in ("gpu", "cuda", "rocm")]


def split_cpu(devices: str | int | None) -> None:
    """Where `devices` is cpu:N let the backend see the CPU as N devices. It must not have looked for devices before."""
    count = parts_of_cpu(devices)
    if count < 2:
        return
    if import_keras().backend.backend() == "tensorflow":
        import tensorflow as tf

        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
        with suppress(RuntimeError):  # it has looked: `several` says so where the parts do not suffice
            tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
        return
    flags = os.environ.get("XLA_FLAGS", "")
    if JAX_CPU_PARTS not in flags:  # what the user set stands
        os.environ["XLA_FLAGS"] = f"{flags} {JAX_CPU_PARTS}={count}".strip()


def several(devices: str | int) -> tuple[list[str], str]:
    """The devices of this process that are meant by all, N or cpu:N.

    Returns:
        Keras' names of the devices and a line that describes one of them.

    Raises:
        UsageError: the backend does not see so many.
    """
    check_devices(devices)
    backend = import_keras().backend.backend()
    gpus = _tensorflow_gpus() if backend == "tensorflow" else _jax_gpus()
    if count := parts_of_cpu(devices):
        seen = _cpus(backend)
        if len(seen) < count:
            raise UsageError(
                f"--devices {devices}: {backend} has begun with {len(seen)} CPU device(s) in this process. Start a new one."
            )
        return seen[:count], f"CPU ({backend})"
    if not gpus and devices in ("all", "1", 1):
        return _cpus(backend)[:1], f"CPU ({backend})"
    count = len(gpus) if devices == "all" else int(devices)
    if count > len(gpus):
        seen_gpus = f"{len(gpus)} GPU(s)" if gpus else "no GPU"
        raise UsageError(
            f"--devices {devices}: {backend} sees {seen_gpus} here. Use --devices all, or cpu:{devices} to try it without."
        )
    return [f"gpu:{index}" for index in range(count)], f"{gpus[0]} ({backend})"


def _cpus(backend: str) -> list[str]:
    if backend == "tensorflow":
        import tensorflow as tf

        return [f"cpu:{index}" for index in range(len(tf.config.list_logical_devices("CPU")))]
    import jax

    return [f"cpu:{device.id}" for device in jax.local_devices(backend="cpu")]


@contextmanager
def session(device: str, precision: str, seed: int, *, deterministic: bool = False) -> Iterator[str]:
    """Seed everything, and set precision and device for what is built inside; yields the line that describes the device.

    With `deterministic` the same seed gives the same bits on a GPU too (`make_deterministic`). On a CPU it always does.

    Raises:
        UsageError: the device is not there.
        ZooError: the backend cannot be loaded.
    """
    keras = import_keras()
    if deterministic:
        make_deterministic()
    name, line = select(device)
    with numerics(precision, seed), keras.device(name):
        yield line


@contextmanager
def numerics(precision: str, seed: int) -> Iterator[None]:
    """Seed everything, and set the precision for what is built inside."""
    keras = import_keras()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


JAX_DETERMINISM = "--xla_gpu_deterministic_ops=true"
JAX_CPU_PARTS = "--xla_force_host_platform_device_count"


def make_deterministic() -> None:
    """Allow only operations that repeat to the last digit, for the rest of the process.

    TensorFlow replaces or refuses the others (`tf.config.experimental.enable_op_determinism`). XLA, and with it JAX, takes
    the flag --xla_gpu_deterministic_ops from the environment when JAX first looks for devices: in a process that has
    used JAX before, set XLA_FLAGS yourself.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        return
    flags = os.environ.get("XLA_FLAGS", "")
    if JAX_DETERMINISM.partition("=")[0] not in flags:  # what the user set stands
        os.environ["XLA_FLAGS"] = f"{flags} {JAX_DETERMINISM}".strip()


def jit_setting(jit: str, device: str) -> bool | str:
    """What Keras takes as `jit_compile` for `jit` on the device that `select` described.

    On TensorFlow "auto" compiles on GPU alone: its CPU kernels are many times faster than XLA's. JAX always compiles.
    """
    if jit == "auto" and device == "CPU (tensorflow)":
        return False
    return "auto" if jit == "auto" else jit == "on"


def versions() -> dict[str, str]:
    """Versions of what decides a run's result."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("cxr-zoo", "keras", "tensorflow", "jax", "numpy", "pandas", "pillow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
