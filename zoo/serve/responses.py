"""What the REST interface gives back: the fields of its answers, as its OpenAPI document describes them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from zoo.core.text import RESEARCH_ONLY


class Problem(BaseModel):
    """Why there is no result."""

    detail: str = Field(description="One sentence in plain words.")


class LabelAnswer(BaseModel):
    """What a run says of one label."""

    label: str
    probability: float = Field(ge=0, le=1, description="Calibrated where the run has a calibration.")
    threshold: float | None = Field(description="The operating point; null for exclusive classes, which need none.")
    positive: bool = Field(description="At or above the operating point; of exclusive classes, the most probable one.")


class GuardAnswer(BaseModel):
    """Whether the image is unlike those that the run was made on."""

    flagged: bool
    distance: float | None
    limit: float | None
    reason: str = Field(description="Empty where the image is not flagged.")


class RunAnswer(BaseModel):
    """What one run says of the image."""

    run: str
    reason: str = Field(description="Why this run gives no answer; empty where it gives one.")
    labels: list[LabelAnswer]
    guard: GuardAnswer | None = Field(description="Null where the run has no guard.")


class ImageAnswer(BaseModel):
    """An image as it was read, and what each run says of it."""

    width: int
    height: int
    note: str = Field(description="What had to be normalised in reading the image; empty where nothing.")
    picture: str | None = Field(description="The image as a PNG in a data: URL, where it was asked for.")
    answers: list[RunAnswer]
    research_only: str = RESEARCH_ONLY


class LabelInfo(BaseModel):
    """A label of a run."""

    label: str
    threshold: float | None = Field(description="The operating point; null for exclusive classes.")


class RunInfo(BaseModel):
    """A run that is served."""

    run: str
    model: str
    dataset: str
    task: str = Field(description="binary, multilabel or multiclass.")
    image_size: int = Field(description="Side in pixels of the square that the network sees.")
    labels: list[LabelInfo]
    calibrated: bool
    guard: bool = Field(description="Whether images unlike those of its training are flagged.")
    runtime: str
    card: str = Field(description="Where the model card is, as a page.")


class Served(BaseModel):
    """The runs, and what an image may have."""

    runs: list[RunInfo]
    max_bytes: int
    max_pixels: int
    version: str
    research_only: str = RESEARCH_ONLY


class Health(BaseModel):
    """That the server answers, and how busy it is."""

    status: str
    runs: int
    waiting: int = Field(description="Images in the queue.")
    queue: int = Field(description="How many may wait.")
