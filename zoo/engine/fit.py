"""The training loop: phases of `keras.Model.fit`, from the start or from a checkpoint."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import keras
import numpy as np

from zoo.config.optimizers import PlateauOptions
from zoo.config.run_config import RunConfig
from zoo.core.calls import call
from zoo.core.errors import UsageError, ZooError
from zoo.core.progress import Progress
from zoo.data.batches import TrainingBatches
from zoo.data.checked import naming_damage
from zoo.data.pipeline import ImageSet
from zoo.engine.checkpoints import Checkpoint, CheckpointFolder
from zoo.engine.epochs import Epochs, Phase, Policy
from zoo.engine.features import FeatureCache, backbone_in_inference, cached_features
from zoo.engine.feed import training_feed
from zoo.engine.job import Job
from zoo.engine.layer_rates import ShareOf, layer_rates
from zoo.engine.optimizers import build_optimizer
from zoo.engine.recorder import Recorder
from zoo.engine.replicas import DeviceContext
from zoo.engine.signals import Signals
from zoo.engine.state import (
    TrainingState,
    assign_weights,
    read_state,
    restore_metrics,
    restore_model,
    restore_optimizer,
)
from zoo.engine.steps import Steps
from zoo.engine.training import Trainer
from zoo.evaluation.thresholds import monitor_threshold
from zoo.nn.fused_norm import fused_batch_norm
from zoo.nn.hard_swish import memory_efficient_hard_swish
from zoo.nn.keras_compat import flatten_layers

logger = logging.getLogger(__name__)


class FitCallbacks(keras.callbacks.CallbackList):
    """The callbacks of one call of `fit`; Keras' own list would fetch the loss from the device after every step."""

    def __init__(self, model: Trainer, steps: Steps, epochs: Epochs, at_begin: Callable[[], None]) -> None:
        super().__init__(add_history=True, model=model)
        self._steps, self._epochs, self._at_begin = steps, epochs, at_begin

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._at_begin()
        self._steps.begin_epoch()

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Nothing listens."""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._steps.after((logs or {})["loss"])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epochs.finish(float((logs or {})["loss"]))


def fit(
    job: Job,
    network: Any,
    images: ImageSet,
    signals: Signals,
    folder: CheckpointFolder,
    checkpoint: Checkpoint | None,
    context: DeviceContext,
) -> None:
    """Train in phases and leave the best epoch's weights in `network`; the arguments are those of `Fitting`.

    Raises:
        UsageError: `freeze` is asked of a network without a layer named backbone.
        DivergedTraining: the loss is no longer finite.
        Interrupted: the user asked to stop; the state is saved.
        ZooError: a file cannot be written, or the checkpoint is of another network.
    """
    settings = job.config.settings
    if not phases_of(job.config):
        return
    with (
        context.adapted(network),
        fused_batch_norm(network, deterministic=settings.deterministic) as fused,
        memory_efficient_hard_swish(network),
    ):
        fitting = Fitting(job, network, images, signals, folder, checkpoint, context)
        for each in job.observers:
            each.on_start(job.run.path, job.config.to_dict(), tuple(fitting.state.rows))
        fitting.carry_out()
    if context.first:
        best, monitor = fitting.state.best_epoch, settings.monitor
        job.run.update_info(best_epoch=best, monitor=monitor, fused_norm_layers=fused, status="evaluating")


class Fitting:
    """One training: the trainer, its phases and its state.

    Args:
        job: the configuration, the run and its observers.
        network: the network to train, in place.
        images: training and validation images.
        signals: SIGINT and SIGTERM.
        folder: where checkpoints are written.
        checkpoint: what to start from.
        context: the devices that train.
    """

    def __init__(
        self,
        job: Job,
        network: Any,
        images: ImageSet,
        signals: Signals,
        folder: CheckpointFolder,
        checkpoint: Checkpoint | None,
        context: DeviceContext,
    ) -> None:
        config, settings, find = job.config, job.config.settings, job.registry.get
        self.network, self.config, self.signals, self.context = network, config, signals, context
        loss = find("loss", config.loss.name)
        augmenter = find("augmenter", config.augment.name)
        self.batches = _training_batches(images, settings.batch_size, settings.seed)
        self.trainer = Trainer(
            network,
            images.task,
            call(loss.build, images.task, images.count_labels("train", images.balance), config.loss.options),
            call(augmenter.build, settings.image_size, config.augment.options),
            settings.seed,
        )
        context.share_loss(self.trainer)
        self.phases = phases_of(config)
        self.augmenter = call(augmenter.effect, config.augment.options)
        self.blocks = find("model", config.model.name).blocks
        self.features: FeatureCache | None = None
        self.checkpoint = checkpoint
        self.state = self._start(checkpoint)
        recorder = Recorder(job.run, self.trainer, self.state, folder, writes=context.first)
        if checkpoint is not None:
            recorder.saved = self.state.position
            recorder.publish_again()
        self.progress = Progress("Training", self._images_left())
        every, on_cpu, group = job.checkpoint_every, context.on_cpu, context.group
        self.steps = Steps(
            recorder, images, self.batches, signals, self.progress, every=every, on_cpu=on_cpu, group=group
        )
        plateau = config.schedule.options if isinstance(config.schedule.options, PlateauOptions) else None
        policy = Policy(settings.monitor, settings.patience, plateau, monitor_threshold(settings.threshold))
        self.epochs = Epochs(recorder, self.steps, images, self.batches, self.phases, policy, job.observers)

    def carry_out(self) -> None:
        """Train the remaining phases, then load the best epoch's weights.

        Raises:
            ZooError: Keras' `fit` came back before the phase was over.
        """
        deferred: AbstractContextManager[None] = self.signals.deferred()
        with deferred, self.progress:
            for number, phase in enumerate(self.phases):
                if number < self.state.phase:
                    continue
                self._fit_phase(phase)
                if self.state.phase != number + 1:
                    raise ZooError(
                        f"Keras ended the training at {self.state.position}, before epoch {phase.end} was done: something in this "
                        "process limits it, such as keras.config.set_max_epochs. Start again without that."
                    )
        assign_weights(self.network, self.state.best_weights)

    def _start(self, checkpoint: Checkpoint | None) -> TrainingState:
        if checkpoint is None:
            return TrainingState(epoch=self.phases[0].first_epoch, steps=self.batches.steps)
        state = read_state(checkpoint)
        restore_model(self.trainer, checkpoint)
        if state.steps != self.batches.steps:  # other images, accepted by the user: their epoch starts anew
            state.step, state.steps, state.epoch_seconds = 0, self.batches.steps, 0.0
        done = "the training is done" if state.phase >= len(self.phases) else f"going on from {state.position}"
        logger.info(f"Checkpoint: {done}")
        return state

    def _images_left(self) -> int:
        left = sum(phase.epochs for phase in self.phases[self.state.phase + 1 :]) * self.batches.steps
        if self.state.phase < len(self.phases):
            left += (self.phases[self.state.phase].end - self.state.epoch) * self.batches.steps - self.state.step
        return left * self.batches.batch_size

    def _fit_phase(self, phase: Phase) -> None:
        settings, state = self.config.settings, self.state
        number = state.phase
        alone = phase.name == "head"
        freeze(self.network, alone, settings.freeze_norm)
        self.epochs.features = self.features = self._features(phase)
        self.epochs.begin_phase()
        self._compile(phase)
        checkpoint, self.checkpoint = self.checkpoint, None
        if checkpoint is not None:
            restore_optimizer(self.trainer, checkpoint)
        with ExitStack() as contexts:
            if self.features:
                contexts.enter_context(self.features.feeding(self.trainer))
            elif alone:
                contexts.enter_context(backbone_in_inference(self.network))
            if checkpoint is not None and state.step:
                self._finish_epoch(checkpoint)
            if state.phase == number:
                self._fit_epochs(state.epoch, phase.end, lambda: None)

    def _features(self, phase: Phase) -> FeatureCache | None:
        """The cached output of the frozen backbone, if it can be cached."""
        if phase.name != "head":
            return None
        images = self.epochs.images
        return cached_features(
            self.trainer,
            self.augmenter,
            self.batches,
            images.rows[images.of("val")],
            views=self.config.settings.feature_views,
            epochs=phase.epochs,
            # several hosts exchange signals between steps only
            after_batch=self.signals.check if self.context.group is None else lambda: None,
            context=self.context,
        )

    def _finish_epoch(self, checkpoint: Checkpoint) -> None:
        """The remaining steps of a half-finished epoch."""

        def restore() -> None:  # Keras resets its metrics when an epoch begins
            restore_metrics(self.trainer, checkpoint)

        if self.state.step < self.state.steps:
            self._fit_epochs(self.state.epoch, self.state.epoch + 1, restore)
            return
        restore()
        self.steps.begin_epoch()
        self.epochs.finish(float(self.trainer.get_metrics_result()["loss"]))

    def _fit_epochs(self, first: int, end: int, at_begin: Callable[[], None]) -> None:
        if first >= end:
            return
        steps, done = self.batches.steps, self.state.step
        feed = self.features.feed if self.features else functools.partial(training_feed, self.batches)
        with naming_damage(self.batches.images):
            self.trainer.fit(
                feed(first * steps + done, end * steps),
                initial_epoch=first,
                epochs=end,
                steps_per_epoch=steps - done,
                callbacks=FitCallbacks(self.trainer, self.steps, self.epochs, at_begin),
                shuffle=False,
                verbose=0,
            )

    def _compile(self, phase: Phase) -> None:
        # the head alone trains at a constant rate ten times that of the whole network: it starts from nothing
        head = phase.name == "head"
        optimizer = build_optimizer(
            self.config.optimizer.name,
            self.config.optimizer.options,
            "constant" if head else self.config.schedule.name,
            self.config.schedule.options,
            phase.epochs * self.batches.steps,
            self.config.settings.precision,
            scale=10.0 if head else 1.0,
            share_of=None if head else self._share_of(),
        )
        self.trainer.compile(optimizer=optimizer, jit_compile=self.network.jit_compile)
        optimizer.build(self.trainer.trainable_variables)
        self.context.sum_gradients(optimizer)

    def _share_of(self) -> ShareOf | None:
        """The learning-rate factor of each variable; None without layer-wise decay."""
        decay = self.config.optimizer.options.layer_decay
        if decay is None:
            return None
        rates = layer_rates(self.network, decay, self.blocks)
        logger.info(rates.summary)
        return rates.share_of


def phases_of(config: RunConfig) -> list[Phase]:
    """The phases of a configuration: the head alone if the backbone is frozen first, then the whole network.

    Empty for a network that is already trained and used as it is.
    """
    settings = config.settings
    frozen = settings.freeze_epochs if settings.freeze else 0
    head = [Phase("head", 0, frozen)] if frozen else []
    return [*head, Phase("all", frozen, settings.epochs)] if settings.epochs else head


def freeze(network: Any, backbone: bool, norm: bool) -> None:
    """Freeze or unfreeze the backbone; with `norm` always freeze its batch normalisation."""
    if "backbone" not in [layer.name for layer in network.layers]:
        if backbone or norm:
            raise UsageError(f"freezing needs a layer named 'backbone'; {network.name} has none.")
        return
    network.get_layer("backbone").trainable = not backbone
    if norm:
        for layer in flatten_layers(network.get_layer("backbone")):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False


def _training_batches(images: ImageSet, batch_size: int, seed: int) -> TrainingBatches:
    """The batches of the training images, with labels by row of the store, so that one index serves both."""
    labels = np.full((len(images.store.images), images.labels.shape[1]), np.nan, np.float32)
    labels[images.rows] = images.labels
    factors = None if images.balance is None else images.balance.factors
    return TrainingBatches(images.store.images, labels, images.rows[images.of("train")], batch_size, seed, factors)
