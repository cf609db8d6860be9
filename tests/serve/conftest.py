"""What the tests of the server share with those of the core, and runs without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stub_server import Served, Stub

from zoo.serve.api import create_app
from zoo.serve.decoding import Decoder
from zoo.serve.limits import Limits
from zoo.serve.service import InferenceService

Serve = Callable[..., Served]


@pytest.fixture(scope="session")
def decoders() -> Iterator[dict[object, Decoder]]:
    """Decoders by their settings: starting one takes a second."""
    made: dict[object, Decoder] = {}
    yield made
    for each in made.values():
        each.close()


@pytest.fixture
def serve(tmp_path: Path, decoders: dict[object, Decoder], logged: list[str]) -> Iterator[Serve]:
    """Make an application of stubs, by default one of two labels."""
    made: list[Served] = []

    def make(*stubs: Stub, names: tuple[str, ...] = (), force: bool = False, **limits: Any) -> Served:
        chosen = stubs or (Stub(tmp_path / "first"),)
        bounds = Limits(**limits)
        service = InferenceService(chosen, bounds, force)
        service.decoder = decoders.setdefault((bounds.max_pixels, bounds.decode_s, force), service.decoder)
        service.decoder.worker.restarts = 0
        served = Served(create_app(service, bounds, names=names), service, bounds, logged)
        made.append(served)
        return served

    yield make
    for each in made:
        for stub in each.service.classifiers.values():
            stub.go.set()
        each.app.app.state.jobs.close()
        each.app.app.state.card_jobs.close()
