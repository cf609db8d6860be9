"""What a run was trained with and is not installed here."""

from __future__ import annotations

from zoo.core.errors import ZooError
from zoo.core.registry import Registry
from zoo.runs.run import Run


def missing_plugins(run: Run, registry: Registry) -> str:
    """A sentence that names the strategies and distributions of a run that are not installed here; "" if all are."""
    kept = run.info().get("plugins") or []
    missing = [each for each in kept if each["name"] not in registry.names(each["kind"])]
    if not missing:
        return ""
    what = ", ".join(f"the {p['kind']} '{p['name']}' of {p['distribution']} {p['version']}" for p in missing)
    needed = " ".join(dict.fromkeys(p["distribution"] for p in missing))
    return f"The run {run.name} was trained with {what}, which is not installed here: pip install {needed}"


def demand_plugins(run: Run, registry: Registry) -> None:
    """Raise ZooError if something that the run was trained with is not installed here."""
    if sentence := missing_plugins(run, registry):
        raise ZooError(sentence)
