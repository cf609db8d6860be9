"""The task: it determines outputs, activation, label arrays and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TaskKind = Literal["binary", "multilabel", "multiclass"]
TASKS: dict[str, str] = {
    "binary": "normal or abnormal: one output, sigmoid",
    "multilabel": "every finding on its own: one sigmoid output per finding, several can be present",
    "multiclass": "exactly one class per image: softmax over the classes",
}


_HEALTHY = ("no finding", "normal", "healthy")


def means_normal(label: str) -> bool:
    """Whether a label says that nothing is there, such as "No Finding"."""
    return label.strip().lower().replace("_", " ").replace("-", " ") in _HEALTHY


@dataclass(frozen=True)
class Task:
    """A task on named labels.

    Labels are float arrays `(N, outputs)`: 1 present, 0 absent, NaN unknown; one-hot rows for multiclass.
    Networks return logits of the same shape; `activation` turns them into probabilities.
    """

    kind: TaskKind
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.kind not in TASKS:
            raise ValueError(f"task kind {self.kind!r} is none of {sorted(TASKS)}")
        if self.kind == "binary" and len(self.labels) != 1:
            raise ValueError(f"a binary task has one label, not {len(self.labels)}: {self.labels}")
        if self.kind == "multiclass" and len(self.labels) < 2:
            raise ValueError(f"a multiclass task needs at least two classes, not {self.labels}")
        if not self.labels or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels must be distinct and at least one: {self.labels}")

    def __str__(self) -> str:
        """In brief: "binary (Abnormal)", "multilabel (14 labels)"."""
        return f"{self.kind} ({', '.join(self.labels) if len(self.labels) <= 3 else f'{len(self.labels)} labels'})"

    @property
    def outputs(self) -> int:
        """Number of logits per image."""
        return len(self.labels)

    @property
    def exclusive(self) -> bool:
        """Whether exactly one label holds per image."""
        return self.kind == "multiclass"

    @property
    def activation(self) -> Literal["sigmoid", "softmax"]:
        return "softmax" if self.exclusive else "sigmoid"

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics reported for this task, the one that ranks runs first."""
        shared = ("auroc", "auprc", "sensitivity", "specificity", "f1")
        return (*shared, "accuracy") if self.kind != "multilabel" else shared
