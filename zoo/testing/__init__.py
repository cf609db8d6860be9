"""Public conformance checks: what every strategy must do, whoever wrote it.

Each check raises AssertionError with a sentence that says what is wrong, and returns nothing where all is well. Use them
in the tests of a plugin, on whichever Keras backend is active:

    from zoo.testing import check_model

    def test_my_model():
        check_model(MyModel())

`zoo plugin check NAME` carries them out from the command line, on every backend that is installed.
"""

from __future__ import annotations

from zoo.testing.augmenters import check_augmenter
from zoo.testing.datasets import check_dataset
from zoo.testing.losses import check_loss
from zoo.testing.models import check_model
from zoo.testing.recipes import check_recipe
from zoo.testing.trackers import check_tracker

__all__ = ["check_augmenter", "check_dataset", "check_loss", "check_model", "check_recipe", "check_tracker"]
