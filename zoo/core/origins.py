"""Where strategies come from: the plugin, its distribution and version."""

from __future__ import annotations

from dataclasses import dataclass

OWN_DISTRIBUTION = "cxr-zoo"


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from: its entry-point name, distribution and version, and the module of its hooks."""

    plugin: str
    distribution: str = "?"
    version: str = "?"
    module: str = ""

    def __str__(self) -> str:
        return f"{self.plugin} ({self.distribution} {self.version})"

    @property
    def own(self) -> bool:
        """Whether it is built in."""
        return self.distribution == OWN_DISTRIBUTION

    @property
    def package(self) -> str:
        """The top-level package of its code; "" where it is not known."""
        return self.module.partition(".")[0]
