"""zoo: train, evaluate and compare chest X-ray classifiers built from plugins.

Everything a plugin author or a notebook needs is imported from here: `from zoo import Model, option, hookimpl`. Names are
loaded on first use, so `import zoo` loads neither NumPy nor Keras.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.api import Trained, list_models, load, train
    from zoo.config.arguments import TrainingArguments
    from zoo.core.contracts import (
        ALL_TASKS,
        Augmenter,
        AugmenterInfo,
        AugmentFunction,
        Dataset,
        DatasetInfo,
        Download,
        Info,
        LabelCounts,
        Loss,
        LossFunction,
        Model,
        ModelInfo,
        NoOptions,
        Recipe,
        Tracker,
        option,
    )
    from zoo.core.errors import DataError, UsageError, ZooError
    from zoo.core.hookspecs import hookimpl
    from zoo.core.listing import Faults, Listing
    from zoo.core.observers import Observer, Pruned
    from zoo.core.records import BadImage, ImageSource, Records
    from zoo.core.registry import registry
    from zoo.core.tasks import Task
    from zoo.data.images import ArraySource, FileSource
    from zoo.nn.backbone import (
        CENTRED,
        NORMALISED,
        SYMMETRIC,
        ApplicationModel,
        BackboneModel,
        BackboneOptions,
        Scaling,
    )

    __version__: str

__all__ = [
    "ALL_TASKS",
    "CENTRED",
    "NORMALISED",
    "SYMMETRIC",
    "ApplicationModel",
    "ArraySource",
    "AugmentFunction",
    "Augmenter",
    "AugmenterInfo",
    "BackboneModel",
    "BackboneOptions",
    "BadImage",
    "DataError",
    "Dataset",
    "DatasetInfo",
    "Download",
    "Faults",
    "FileSource",
    "ImageSource",
    "Info",
    "LabelCounts",
    "Listing",
    "Loss",
    "LossFunction",
    "Model",
    "ModelInfo",
    "NoOptions",
    "Observer",
    "Pruned",
    "Recipe",
    "Records",
    "Scaling",
    "Task",
    "Tracker",
    "Trained",
    "TrainingArguments",
    "UsageError",
    "ZooError",
    "__version__",
    "hookimpl",
    "list_models",
    "load",
    "option",
    "registry",
    "train",
]

_MODULES = {
    "zoo.api": "Trained list_models load train",
    "zoo.config.arguments": "TrainingArguments",
    "zoo.core.contracts": "ALL_TASKS Augmenter AugmenterInfo AugmentFunction Dataset DatasetInfo Download Info LabelCounts Loss "
    "LossFunction Model ModelInfo NoOptions Recipe Tracker option",
    "zoo.core.errors": "DataError UsageError ZooError",
    "zoo.core.hookspecs": "hookimpl",
    "zoo.core.listing": "Faults Listing",
    "zoo.core.observers": "Observer Pruned",
    "zoo.core.records": "BadImage ImageSource Records",
    "zoo.core.registry": "registry",
    "zoo.core.tasks": "Task",
    "zoo.data.images": "ArraySource FileSource",
    "zoo.nn.backbone": "CENTRED NORMALISED SYMMETRIC ApplicationModel BackboneModel BackboneOptions Scaling",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

logging.getLogger(__name__).addHandler(logging.NullHandler())  # what is shown is for the caller to decide


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name == "__version__":
        from importlib.metadata import version

        return version("cxr-zoo")
    if name not in _HOME:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
