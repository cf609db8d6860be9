"""The application: the page and the REST interface with its OpenAPI document."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from importlib import resources
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse

from zoo.core.errors import ZooError
from zoo.core.text import RESEARCH_ONLY
from zoo.serve import cards
from zoo.serve.errors import APIError, ClientGone
from zoo.serve.jobs import Done, Jobs
from zoo.serve.limits import Limits
from zoo.serve.metrics import Metrics
from zoo.serve.responses import ErrorResponse, Health, Predictions, RunInfo, Runs
from zoo.serve.security import SecurityMiddleware
from zoo.serve.service import InferenceService
from zoo.serve.uploads import Uploads

if TYPE_CHECKING:
    from zoo.runs.run import Run

T = TypeVar("T")
PAGE = {"": "text/html", "app.js": "text/javascript", "style.css": "text/css", "icon.svg": "image/svg+xml"}
_MEANINGS: dict[int, str] = {
    403: "Sent by a page of another site.",
    404: "There is no such run or label.",
    408: "The upload stalled.",
    413: "The file is larger, or the image has more pixels, than the server takes.",
    415: "A form instead of the file itself.",
    421: "Requested under a host name that is not the server's.",
    422: "The image cannot be read, with the reason; or a parameter is wrong.",
    500: "An error in the server. It is logged there.",
    503: "The queue is full, or the server is stopping.",
}
_RETRY = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}


def _errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    documented: dict[int | str, dict[str, Any]] = {
        code: {"model": ErrorResponse, "description": _MEANINGS[code]} for code in (*codes, 421, 500)
    }
    if 503 in documented:
        documented[503]["headers"] = _RETRY
    return documented


def _text(media_type: str, description: str) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": {"type": "string"}}}}


_EMPTY, _TIMING = "Heat-Map-Empty", "Server-Timing"
_HEAT_MAP: dict[str, Any] = {
    "description": "To lay over the image; transparent where there is no heat.",
    "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
    "headers": {
        _EMPTY: {
            "description": "true where the map is zero everywhere.",
            "schema": {"type": "string", "enum": ["true", "false"]},
        }
    },
}
_IMAGE = {
    "requestBody": {
        "required": True,
        "description": "The file itself: PNG, JPEG, TIFF, DICOM and others, recognised by its content.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary", "minLength": 1}}},
    }
}
_UPLOAD = _errors(403, 404, 408, 413, 415, 422, 503)
Names = Annotated[list[str], Query(alias="run", description="Use this run only; may be repeated.")]

routes = APIRouter(prefix="/api")


@routes.get("/health", responses=_errors())
async def health(request: Request) -> Health:
    """Whether the server responds, and how busy it is."""
    state = request.app.state
    return Health(status="ok", runs=len(state.service.classifiers), waiting=state.jobs.waiting, queue=state.jobs.limit)


@routes.get(
    "/metrics",
    response_class=Response,
    responses=_errors() | {200: _text("text/plain", "The text format of Prometheus.")},
)
async def metrics(request: Request) -> Response:
    """Requests, queue, dropped images, crashed decoders and memory."""
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@routes.get("/runs", responses=_errors())
async def runs(request: Request) -> Runs:
    """The runs that are served, and the limits."""
    state = request.app.state
    return Runs(
        runs=state.service.infos,
        max_bytes=state.limits.max_bytes,
        max_pixels=state.limits.max_pixels,
        version=version("cxr-zoo"),
    )


@routes.get("/runs/{run}", responses=_errors(404, 422))
async def one_run(request: Request, run: str) -> RunInfo:
    """One run."""
    service: InferenceService = request.app.state.service
    name = service.select([run])[0]
    return next(each for each in service.infos if each.run == name)


@routes.get(
    "/runs/{run}/card",
    response_class=Response,
    responses=_errors(404, 422) | {200: _text("text/markdown", "The model card.")},
)
async def card(request: Request, run: str) -> Response:
    """The model card of a run, as Markdown."""
    return Response(await _card(request, run), media_type="text/markdown; charset=utf-8")


@routes.post("/images", responses=_UPLOAD, openapi_extra=_IMAGE)
async def image(
    request: Request,
    response: Response,
    names: Names = [],  # noqa: B006  # FastAPI copies it
    picture: Annotated[bool, Query(description="Give the image back as a PNG.")] = False,
) -> Predictions:
    """The runs' predictions for one image, sent as the request's body. Nothing of it is kept."""
    service: InferenceService = request.app.state.service
    selected = service.select(names)
    done = await _work(request, lambda data: service.predict(data, selected, picture))
    response.headers[_TIMING] = done.server_timing
    return done.result


@routes.post(
    "/heat-maps",
    response_class=Response,
    responses=_UPLOAD | {200: _HEAT_MAP},
    openapi_extra=_IMAGE,
)
async def heat_map(
    request: Request,
    run: Annotated[str, Query(description="A run that is served.")],
    label: Annotated[str, Query(description="A label of the run.")],
    method: Annotated[Literal["gradcam", "gradcam++"], Query()] = "gradcam",
) -> Response:
    """The places of an image, sent as the request's body, that raise a run's probability of a label."""
    service: InferenceService = request.app.state.service
    name = service.select([run])[0]
    done = await _work(request, lambda data: service.heat_map(data, name, label, method))
    picture, empty = done.result
    headers = {_EMPTY: str(empty).lower(), _TIMING: done.server_timing}
    return Response(picture, media_type="image/png", headers=headers)


async def _work(request: Request, work: Callable[[bytes], T]) -> Done[T]:
    """Receive the body and work on it in the queue; given up when the client goes away."""
    jobs: Jobs = request.app.state.jobs
    jobs.check()  # before megabytes are received in vain
    async with request.app.state.uploads.body(request) as data:
        return await _unless_gone(request, jobs.run(lambda: work(data)))


async def _unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What is awaited, or ClientGone and the work cancelled when the connection ends first."""
    result = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((result, gone), return_when=asyncio.FIRST_COMPLETED)
        if not result.done():
            raise ClientGone
        return result.result()
    finally:
        gone.cancel()
        if not result.done():
            result.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        await asyncio.sleep(0.1)  # where a server gives another message at once, others have their turn


async def _card(request: Request, run: str, made: Callable[[str], str] = str) -> str:
    """What `made` makes of the card of a run, in the thread for cards: it may take seconds."""
    state = request.app.state
    served: Run = state.service.classifiers[state.service.select([run])[0]].run
    jobs: Jobs = state.card_jobs
    try:
        return (await jobs.run(lambda: made(state.cards.markdown(served)))).result
    except ZooError:
        raise APIError(404, "the run has no model card: zoo report makes one.") from None


async def card_page(request: Request, run: str) -> HTMLResponse:
    """A model card for people."""
    return HTMLResponse(await _card(request, run, lambda text: cards.page(run, text)))


def create_app(service: InferenceService, limits: Limits, *, names: Iterable[str] = ()) -> SecurityMiddleware:
    """The application of a server; `names` are the host names that requests may carry."""
    app = FastAPI(
        title="zoo serve",
        version=version("cxr-zoo"),
        description=f"Chest X-ray classifiers behind a REST interface. {RESEARCH_ONLY}",
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's pages load scripts from other hosts
        redoc_url=None,
    )
    jobs, uploads = Jobs(limits.queue), Uploads(limits)
    app.state.service, app.state.limits, app.state.cards = service, limits, cards.Cards()
    app.state.card_jobs = Jobs(limits.queue)
    app.state.jobs, app.state.uploads, app.state.metrics = jobs, uploads, Metrics(jobs, uploads, service.decoder)
    app.include_router(routes)
    app.add_api_route("/cards/{run:path}", card_page, include_in_schema=False)
    for name, media_type in PAGE.items():
        app.add_api_route(f"/{name}", _page_file(name, media_type), include_in_schema=False)
    app.add_exception_handler(RequestValidationError, _wrong_parameter)
    app.add_exception_handler(Exception, _internal)
    return SecurityMiddleware(app, app.state.metrics, names)


def _page_file(name: str, media_type: str) -> Callable[[], Awaitable[Response]]:
    content = (resources.files("zoo.serve") / "page" / (name or "index.html")).read_bytes()

    async def give() -> Response:
        return Response(content, media_type=f"{media_type}; charset=utf-8")

    return give


async def _wrong_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return JSONResponse({"detail": f"{first['loc'][-1]}: {str(first['msg']).lower()}."}, 422)


async def _internal(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": "something went wrong in the server."}, 500)
