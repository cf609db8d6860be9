"""No augmentation."""

from __future__ import annotations

from typing import Any

from zoo import Augmenter, AugmenterInfo, AugmentFunction, hookimpl


class NoAugmentation(Augmenter):
    """Batches as they are."""

    info = AugmenterInfo(name="none", summary="no augmentation", licence="Apache-2.0", per_image=True, random=False)

    def build(self, image_size: int, options: Any) -> AugmentFunction:
        def unchanged(images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
            return images, labels

        return unchanged


@hookimpl
def zoo_augmenters() -> list[Augmenter]:
    return [NoAugmentation()]
