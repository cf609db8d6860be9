"""zoo: train, evaluate and compare chest X-ray classifiers built from plugins."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.api import list_models, load, train

    __version__: str

__all__ = ["__version__", "list_models", "load", "train"]

logging.getLogger(__name__).addHandler(logging.NullHandler())  # what is shown is for the caller to decide


def __getattr__(name: str) -> Any:
    """What is imported when it is asked for, so that `import zoo` costs nothing."""
    if name == "__version__":
        from importlib.metadata import version

        return version("cxr-zoo")
    if name in __all__:
        from zoo import api

        return getattr(api, name)
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")
