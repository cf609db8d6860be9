"""An ensemble of finished runs as a model. It is registered only where an ensemble is made or resumed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zoo.core.contracts import Model, ModelInfo, option
from zoo.core.errors import UsageError
from zoo.core.registry import Entry, Registry
from zoo.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import keras

    from zoo.core.tasks import Task

NAME = "ensemble"
WAYS = {
    "mean": "the mean of the runs' probabilities",
    "weighted": "a weighted mean of the runs' probabilities",
    "features": "a new head, trained on the features of the frozen runs side by side",
}


@dataclass(frozen=True)
class EnsembleOptions:
    """Options of an ensemble."""

    members: tuple[str, ...] = option((), "the runs that are joined")
    by: Literal["mean", "weighted", "features"] = option("mean", "how they are joined")
    weights: tuple[float, ...] = option((), "weights of the runs' probabilities, with the sum 1")
    fitted: bool = option(False, "whether the weights were fitted to the validation images")


class Ensemble(Model):
    """The networks of several runs as one."""

    Options = EnsembleOptions
    info = ModelInfo(
        name=NAME, summary="finished runs joined into one network", parameters=0, min_image_size=1, trained=True
    )

    def build(self, task: Task, image_size: int, weights: str | None, options: Any) -> keras.Model:
        from zoo.engine.load import load_network
        from zoo.ensemble import network

        used = _used(options)
        missing = [path for path, _ in used if not Run(path).model_file.is_file()]
        if missing:
            raise UsageError(f"the run {missing[0]}, which is part of the ensemble, no longer has its model.keras.")
        networks = [load_network(Run(path)) for path, _ in used]
        if options.by == "features":
            return network.concatenated(networks, task)
        return network.averaged(networks, [share / sum(s for _, s in used) for _, share in used], task)

    def sources(self, options: Any) -> tuple[Path, ...]:
        return tuple(Run(path).model_file for path, _ in _used(options))


def _used(options: Any) -> list[tuple[Path, float]]:
    """The members with their weights, without those of weight 0, which need not be computed."""
    shares = options.weights or (1.0,) * len(options.members)
    return [(Path(path), share) for path, share in zip(options.members, shares, strict=True) if share > 0]


def with_ensembles(registry: Registry) -> Registry:
    """The registry with the ensemble model added."""
    own = next(entry.origin for entry in registry.entries("augmenter") if entry.name == "none")
    return registry.including(Entry("model", Ensemble(), own))


def refuse_to_train(layers: Iterable[Mapping[str, Any]]) -> None:
    """Raise UsageError if the configuration is that of an ensemble, whose members must be checked first."""
    for layer in layers:
        model = layer.get("model")
        if isinstance(model, dict) and model.get("name") == NAME and "members" in model:
            runs = " ".join(str(each) for each in model["members"])
            raise UsageError(
                f"this is the configuration of an ensemble, which zoo train cannot make. Make it again with: zoo ensemble "
                f"{runs} --by {model.get('by', 'mean')}"
            )
