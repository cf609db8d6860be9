"""Responses of the REST interface, as its OpenAPI document describes them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from zoo.core.text import RESEARCH_ONLY


class ErrorResponse(BaseModel):
    """Why there is no result."""

    detail: str = Field(description="One sentence in plain words.")


class LabelPrediction(BaseModel):
    """A run's prediction for one label."""

    label: str
    probability: float = Field(ge=0, le=1, description="Calibrated where the run has a calibration.")
    threshold: float | None = Field(description="The operating point; null for exclusive classes, which need none.")
    positive: bool = Field(description="At or above the operating point; of exclusive classes, the most probable one.")


class OODResult(BaseModel):
    """Whether the image is out of distribution: unlike those that the run was validated on."""

    flagged: bool
    score: float | None = Field(description="Higher: more unlike.")
    threshold: float | None = Field(description="Images with a higher score are flagged.")
    reason: str = Field(description="Empty where the image is not flagged.")


class RunPrediction(BaseModel):
    """One run's predictions for the image."""

    run: str
    reason: str = Field(description="Why this run makes no prediction; empty where it makes one.")
    note: str = Field(default="", description="What this run, unlike the others, has not seen of the image.")
    labels: list[LabelPrediction]
    ood: OODResult | None = Field(description="Null where the run has no out-of-distribution detector.")


class Predictions(BaseModel):
    """An image as it was read, and each run's predictions."""

    width: int
    height: int
    note: str = Field(description="What had to be normalised in reading the image; empty where nothing.")
    picture: str | None = Field(description="The image as a PNG in a data: URL, where requested.")
    predictions: list[RunPrediction]
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
    ood_detector: bool = Field(description="Whether out-of-distribution images are flagged.")
    runtime: str
    card: str = Field(description="Where the model card is, as a page.")


class Runs(BaseModel):
    """The runs that are served, and the limits of an image."""

    runs: list[RunInfo]
    max_bytes: int
    max_pixels: int
    version: str
    research_only: str = RESEARCH_ONLY


class Health(BaseModel):
    """The server responds, and how busy it is."""

    status: str
    runs: int
    waiting: int = Field(description="Images in the queue.")
    queue: int = Field(description="How many may wait.")
