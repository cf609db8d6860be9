"""zoo: train, evaluate and compare chest X-ray classifiers built from plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.api import list_models, load, train

    __version__: str

__all__ = ["__version__", "list_models", "load", "train"]


def __getattr__(name: str) -> Any:
    """What is imported when it is asked for, so that `import zoo` costs nothing."""
    if name == "__version__":
        from importlib.metadata import version

        return version("cxr-zoo")
    if name in __all__:
        from zoo import api

        return getattr(api, name)
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")
