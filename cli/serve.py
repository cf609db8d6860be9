"""`zoo serve`: a page and a REST interface for runs."""

from __future__ import annotations

import logging
import os
import socket
import sys
from pathlib import Path
from typing import Any

import click

from zoo.cli.options import DEVICE, FORCE, RUNS_DIR, RUNTIME, command
from zoo.cli.printing import print_line
from zoo.core.errors import UsageError
from zoo.core.logs import show_times
from zoo.serve.limits import Limits

logger = logging.getLogger(__name__)

EXTRA = ("fastapi", "starlette", "uvicorn", "h11", "markdown_it", "prometheus_client")


@command()
@click.argument("references", metavar="RUN...", nargs=-1, required=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port; 0: any free one.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on; 0.0.0.0 opens it to the network.",
)
@click.option(
    "--allow-host", "names", multiple=True, metavar="NAME", help="Host name that requests may use; may be repeated."
)
@click.option("--max-bytes", type=click.IntRange(1), default=Limits.max_bytes, show_default=True, help="Largest file.")
@click.option(
    "--max-pixels", type=click.IntRange(1), default=Limits.max_pixels, show_default=True, help="Largest image."
)
@click.option(
    "--queue",
    type=click.IntRange(1),
    default=Limits.queue,
    show_default=True,
    help="Images that may wait; more are refused.",
)
@click.option(
    "--upload-seconds",
    type=click.FloatRange(1),
    default=Limits.upload_s,
    show_default=True,
    help="Time limit for uploading one image.",
)
@RUNTIME
@DEVICE
@FORCE
@RUNS_DIR
def serve(
    references: tuple[str, ...],
    port: int,
    host: str,
    names: tuple[str, ...],
    runs_dir: Path,
    **options: Any,
) -> None:
    """Serve one or several runs as a web page and a REST API.

    The page takes an image by drag and drop and shows the predictions of all runs side by side. Only this machine can reach it
    unless --host is given. No image is stored. /api/openapi.json describes the API.

    \b
    zoo serve NAME
    zoo serve NAME OTHER --port 8080
    curl --data-binary @image.png http://127.0.0.1:8000/api/images
    """
    from zoo.runs.run import Run

    found = [Run.find(reference, runs_dir) for reference in references]
    _check_extra()
    from zoo.serve.server import bind, is_loopback, url
    from zoo.serve.server import serve as run_server

    limits = Limits(options["max_bytes"], options["max_pixels"], options["queue"], upload_s=options["upload_seconds"])
    listener = bind(host, port)

    show_times()

    def ready() -> None:
        print_line(f"{', '.join(run.name for run in found)}: {url(listener, host)}  (Ctrl-C stops it)")
        if not is_loopback(host):
            address = url(listener, socket.gethostname())
            logger.warning(f"open to the network, without a password: {address}")

    with listener:
        classifiers = [_open(run, options) for run in found]
        ended = run_server(
            classifiers,
            listener,
            limits,
            names=[*names, host],
            force=options["force"],
            ready=ready,
        )
    logger.info("Stopped.")
    if not ended:
        sys.stdout.flush()
        os._exit(0)  # a network amid a prediction cannot be interrupted


def _open(run: Any, options: dict[str, Any]) -> Any:
    from zoo.inference.classifier import Classifier

    logger.info(f"loading {run.name}")
    return Classifier.open(run, runtime=options["runtime"], device=options["device"], force=options["force"])


def _check_extra() -> None:
    from importlib.util import find_spec

    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"zoo serve needs the extra 'serve' ({', '.join(missing)} missing): pip install 'cxr-zoo[serve]'"
        )
