"""phantom: synthetic frontal chest X-rays, made on the spot from a seed. The default dataset: nothing to download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Le

from zoo import Dataset, DatasetInfo, Records, hookimpl, option

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Effusion", "Nodule", "Pneumothorax")
NORMAL = "No Finding"


@dataclass(frozen=True)
class PhantomOptions:
    """Options of the phantom dataset."""

    patients: Annotated[int, Ge(1)] = option(3000, "number of patients, each with one to five images")
    seed: Annotated[int, Ge(0)] = option(0, "seed of all anatomy, disease and exposure")
    size: Annotated[int, Ge(48), Le(1024)] = option(96, "height and width of an image in pixels")
    abnormal: Annotated[float, Ge(0), Le(1)] = option(0.5, "expected share of images with at least one finding")


class Phantom(Dataset):
    """Images of drawn anatomy with known findings and boxes; for trying the tool, for tests and for teaching."""

    info = DatasetInfo(
        name="phantom",
        summary="synthetic frontal chest X-rays with known findings, made from a seed: no download, no patients",
        licence="Apache-2.0",
        needs_root=False,
        image_size=96,
        default_weights="none",
    )
    Options = PhantomOptions

    def read(self, root: Path | None, options: Any) -> Records:
        """List the images without rendering them; `root` is not used. Pixels are made when the source reads an image."""
        import pandas as pd

        from zoo.datasets._phantom_findings import box
        from zoo.datasets._phantom_image import PhantomSource
        from zoo.datasets._phantom_patient import images_of

        rows, boxes = [], []
        for patient in range(1, options.patients + 1):
            for image in images_of(options.seed, patient, options.abnormal):
                name = f"{patient:08d}_{image.number:03d}.png"
                present = {f.label for f in image.findings}
                known = (f"{patient:08d}", image.view, image.age, image.sex, image.number)
                rows.append((name, f"{patient}/{image.number}", *known, *(float(label in present) for label in LABELS)))
                boxes += [(name, f.label, *box(image, f)) for f in image.findings]
        columns = ["image", "path", "patient", "view", "age", "sex", "follow_up", *LABELS]
        return Records(
            table=pd.DataFrame(rows, columns=columns),
            labels=LABELS,
            source=PhantomSource(options.seed, options.size, options.abnormal),
            normal=NORMAL,
            boxes=pd.DataFrame(boxes, columns=["image", "label", "x", "y", "width", "height"]),
            notes=("phantom images are drawn, not taken: scores on them say nothing about real patients",),
        )


@hookimpl
def zoo_datasets() -> list[Dataset]:
    return [Phantom()]
