"""The devices of a training: one, or several that share every batch, on one host or several."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.config.settings import Settings
from zoo.core.errors import UsageError
from zoo.engine import devices
from zoo.nn.override_call import override_call

if TYPE_CHECKING:
    from zoo.engine.process_group import ProcessGroup


@dataclass(frozen=True)
class DeviceContext:
    """The devices of a training.

    Args:
        line: their description for people.
        replicas: number of devices on all hosts; each gets an equal part of every batch.
        strategy: the `MirroredStrategy` of several devices on TensorFlow.
        group: the process group of several hosts.
    """

    line: str
    replicas: int = 1
    strategy: Any = None
    group: ProcessGroup | None = None

    @property
    def on_cpu(self) -> bool:
        return "CPU (" in self.line

    @property
    def hosts(self) -> int:
        return 1 if self.group is None else self.group.count

    @property
    def first(self) -> bool:
        """Whether this process writes the run: only the first of several hosts does."""
        return self.group is None or self.group.first

    def jit(self, setting: str) -> bool | str:
        """As `devices.jit_setting`; TensorFlow cannot compile a step of several devices with XLA.

        Raises:
            UsageError: `setting` is "on" with several devices on TensorFlow.
        """
        if self.strategy is None:
            return devices.jit_setting(setting, self.line.rpartition("× ")[2].partition(" on ")[0])
        if setting == "on":
            raise UsageError(
                "--jit on: TensorFlow compiles for one device only. Leave it out, or use KERAS_BACKEND=jax."
            )
        return False

    def share_loss(self, trainer: Any) -> None:
        """Let each replica of a trainer compute its share of the loss, with random draws of its own."""
        if self.strategy is not None:
            from zoo.engine.mirrored import total

            trainer.replicas, trainer.total = self.replicas, total
            self.separate_seeds(trainer)

    def separate_seeds(self, model: Any) -> None:
        """Let random draws differ between replicas; JAX draws for the whole batch at once."""
        if self.strategy is not None:
            from zoo.engine.mirrored import separate_seeds

            separate_seeds(model)

    def sum_gradients(self, optimizer: Any) -> None:
        """Let an optimizer update by the gradient of the whole batch, which is what JAX computes anyway."""
        if self.strategy is not None:
            from zoo.engine.mirrored import sum_gradients

            sum_gradients(optimizer)

    @contextmanager
    def adapted(self, network: Any) -> Iterator[None]:
        """Let a network normalise over the images of all replicas, and gather its output on every host."""
        with ExitStack() as stack:
            if self.strategy is not None:
                from zoo.engine.mirrored import synchronised_norm

                stack.enter_context(synchronised_norm(network, self.replicas))
            if self.group is not None:
                stack.enter_context(override_call([network], _call_gathered))
            yield


@contextmanager
def device_context(settings: Settings, group: ProcessGroup | None = None) -> Iterator[DeviceContext]:
    """Set seeds, precision and devices for what is built inside.

    Raises:
        UsageError: a device does not exist, or a batch cannot be divided among the devices.
        ZooError: the backend cannot be loaded.
    """
    keras = devices.import_keras()
    if settings.deterministic:
        devices.make_deterministic()  # before JAX looks for devices
    one_device = settings.devices is None and group is None
    names, kind = ([], "") if one_device else devices.several(_wanted(settings))
    if len(names) < 2 and group is None:
        device = names[0].partition(":")[0] if names else settings.device
        with devices.session(device, settings.precision, settings.seed) as line:
            yield DeviceContext(line)
        return
    replicas = len(names) * (group.count if group else 1)
    if settings.batch_size % replicas:
        lower = settings.batch_size // replicas * replicas
        raise UsageError(
            f"a batch of {settings.batch_size} images cannot be divided equally among {replicas} devices. --batch-size counts the "
            f"images of all devices together: use {lower or replicas} or {lower + replicas}."
        )
    line = f"{replicas} × {kind}" + (f" on {group.count} hosts" if group else "")
    with devices.numerics(settings.precision, settings.seed):
        if keras.backend.backend() == "tensorflow":
            from zoo.engine.mirrored import mirrored_strategy

            strategy = mirrored_strategy(tuple(names))
            with strategy.scope():
                yield DeviceContext(line, replicas, strategy)
        else:
            with _parallel(names, group):
                yield DeviceContext(line, replicas, group=group)


def _wanted(settings: Settings) -> str | int:
    """The devices of each host, where --device may have named one."""
    if settings.devices is not None:
        return settings.devices
    meant = {"auto": "all", "cpu": "cpu:1", "gpu": "1"}
    if settings.device not in meant:
        raise UsageError(f"--device {settings.device} does not go with --hosts. Use --devices all, N or cpu:N.")
    return meant[settings.device]


@contextmanager
def _parallel(names: list[str], group: ProcessGroup | None) -> Iterator[None]:
    """JAX divides every batch among the devices, on all hosts, and keeps the weights on each."""
    keras = devices.import_keras()
    everywhere = keras.distribution.list_devices(names[0].partition(":")[0]) if group else names
    # the feed gives each host its own part already
    distribution = keras.distribution.DataParallel(devices=everywhere, auto_shard_dataset=False)
    with distribution.scope():
        yield


def gathered(values: Any) -> Any:
    """Under a distribution of JAX, the same values `(N, …)` on every device, so that every host can read them."""
    import keras

    distribution = keras.distribution.distribution()
    if distribution is None:
        return values
    layout = keras.distribution.TensorLayout([None] * len(values.shape), distribution.device_mesh)
    return keras.distribution.distribute_tensor(values, layout)


def one_device(model: Any) -> bool:
    """Whether a Keras model computes on a single device."""
    import keras

    if keras.backend.backend() == "jax":
        return keras.distribution.distribution() is None
    return bool(model.distribute_strategy.num_replicas_in_sync == 1)


def own_part(batch: Any) -> Any:
    """The part of a batch that this host gives to its devices: all of it, except under a distribution over several hosts."""
    import keras

    if keras.backend.backend() != "jax" or keras.distribution.distribution() is None:
        return batch
    import jax

    size = len(batch) // jax.process_count()
    return batch[jax.process_index() * size :][:size]


def _call_gathered(network: Any, *inputs: Any, **keywords: Any) -> Any:
    return gathered(type(network).call(network, *inputs, **keywords))
