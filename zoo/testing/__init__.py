"""Public conformance checks: what every strategy, built in or from a plugin, must pass.

Each check raises AssertionError with a message that says what is wrong. Use them in the tests of a plugin, on the active
Keras backend:

    from zoo.testing import check_model

    def test_my_model():
        check_model(MyModel())

`zoo plugin check NAME` runs them from the command line, on every installed backend.
"""

from __future__ import annotations

from zoo.testing.augmenters import check_augmenter
from zoo.testing.datasets import check_dataset
from zoo.testing.losses import check_loss
from zoo.testing.models import check_model
from zoo.testing.recipes import check_recipe
from zoo.testing.trackers import check_tracker

__all__ = ["check_augmenter", "check_dataset", "check_loss", "check_model", "check_recipe", "check_tracker"]
