"""zoo: train, evaluate and compare chest X-ray classifiers built from plugins."""

from __future__ import annotations

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version

        return version("cxr-zoo")
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")
