"""Stub classifiers with predictions a test knows beforehand, and an application made of them."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import yaml
from PIL import Image

from zoo.core.tasks import Task
from zoo.inference.classifier import Prediction
from zoo.inference.ood import OODScore
from zoo.runs.run import Run
from zoo.serve.limits import Limits
from zoo.serve.security import SecurityMiddleware
from zoo.serve.service import InferenceService

TWO = Task("multilabel", ("Effusion", "Pleural_Thickening"))
ADDRESS = "http://127.0.0.1:8000"


class Stub:
    """Predicts the image's mean over 255 for the first label, and half of that for others."""

    def __init__(
        self, path: Path, task: Task = TWO, size: int = 16, views: frozenset[str] | None = None, detector: bool = True
    ) -> None:
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.yaml").write_text(yaml.safe_dump({"data": {"name": "phantom"}}))
        (path / "run.json").write_text(json.dumps({"model": "tiny-cnn", "task": task.kind, "labels": task.labels}))
        self.run, self.task, self.labels, self.image_size = Run(path), task, task.labels, size
        self.thresholds = {} if task.exclusive else dict.fromkeys(task.labels, 0.3)
        self.views, self.calibration, self.runtime = views, None, SimpleNamespace(name="stub")
        self.detector = object() if detector else None
        self.error: Exception | None = None
        self.reason = ""
        self.go, self.busy, self.asked = threading.Event(), threading.Event(), 0
        self.go.set()

    def predict_one(self, pixels: np.ndarray) -> Prediction:
        assert pixels.shape == (self.image_size, self.image_size)
        self.asked += 1
        self.busy.set()
        assert self.go.wait(120)
        if self.error is not None:
            raise self.error
        if self.reason:
            return Prediction("image", reason=self.reason)
        first = pixels.mean() / 255
        p = np.array([first] + [first / 2] * (len(self.labels) - 1))
        positive = p == p.max() if self.task.exclusive else p >= 0.3
        score = OODScore(bool(first > 0.9), float(first), 0.9, "too bright" if first > 0.9 else "")
        return Prediction("image", logits=p, probabilities=p, positive=positive, ood=score if self.detector else None)

    def heat(self, images: np.ndarray, columns: list[int], method: str) -> np.ndarray:
        """One in the image's middle row for the first label, and for others in its middle column."""
        maps = np.zeros(images.shape, np.float32)
        middle = self.image_size // 2
        if columns[0] == 0:
            maps[:, middle - 1 : middle + 1] = 1
        else:
            maps[:, :, middle - 1 : middle + 1] = 1
        return maps

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Client:
    """Asks an application directly, without a socket."""

    app: SecurityMiddleware

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


@dataclass(frozen=True)
class Served:
    """An application, what it is made of, and the lines it logs."""

    app: SecurityMiddleware
    service: InferenceService
    limits: Limits
    lines: list[str]

    @property
    def client(self) -> Client:
        return Client(self.app)

    def post(self, data: bytes, path: str = "/api/images", **options: Any) -> httpx.Response:
        return self.client.post(path, content=data, **options)

    def exchange(
        self, *messages: dict[str, Any], path: str = "/api/images", pause: float = 0.0
    ) -> list[dict[str, Any]]:
        """Send a request as the server does, message by message, then silence; gives what is sent back."""
        sent: list[dict[str, Any]] = []
        headers = [(b"host", b"127.0.0.1:8000")]
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http"}
        scope |= {"path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": headers}
        scope |= {"client": ("127.0.0.1", 9), "server": ("127.0.0.1", 8000)}
        left = list(messages)

        async def receive() -> dict[str, Any]:
            if not left:
                await asyncio.sleep(60)
            if left[0]["type"] == "http.disconnect":
                await asyncio.sleep(pause)
            return left.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.app(scope, receive, send))
        return sent


def part(data: bytes, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


GONE = {"type": "http.disconnect"}


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def flat(value: int, height: int = 20, width: int = 20) -> bytes:
    return png(np.full((height, width), value, np.uint8))


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)
