"""The application: the page, and the REST interface with its OpenAPI document."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from importlib import resources
from importlib.metadata import version
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from zoo.core.errors import ZooError
from zoo.core.text import RESEARCH_ONLY
from zoo.serve import cards
from zoo.serve.errors import ClientGone, Refusal
from zoo.serve.jobs import Jobs
from zoo.serve.limits import Limits
from zoo.serve.metrics import MEDIA_TYPE, Counts, resident_bytes
from zoo.serve.responses import Health, ImageAnswer, Problem, RunInfo, Served
from zoo.serve.security import Shield, answer_to
from zoo.serve.service import Desk
from zoo.serve.uploads import Uploads

T = TypeVar("T")
PAGE = {"": "text/html", "app.js": "text/javascript", "style.css": "text/css", "icon.svg": "image/svg+xml"}
_SAID: dict[int, str] = {
    403: "Sent by a page of another site.",
    404: "There is no such run or label.",
    408: "The upload stalled.",
    413: "The file is larger, or the image has more pixels, than the server takes.",
    415: "A form instead of the file itself.",
    421: "Asked under a host name that is not the server's.",
    422: "The image cannot be read, with the reason; or a parameter is wrong.",
    500: "An error in the server. It is logged there.",
    503: "The queue is full, or the server is stopping.",
}
_RETRY = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}


def _problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    said: dict[int | str, dict[str, Any]] = {
        code: {"model": Problem, "description": _SAID[code]} for code in (*codes, 421, 500)
    }
    if 503 in said:
        said[503]["headers"] = _RETRY
    return said


def _text(media_type: str, said: str) -> dict[str, Any]:
    return {"description": said, "content": {media_type: {"schema": {"type": "string"}}}}


_EMPTY = "Heat-Map-Empty"
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
        "description": "The file itself: PNG, JPEG, TIFF, DICOM and others, told by its content.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary", "minLength": 1}}},
    }
}
_UPLOAD = _problems(403, 404, 408, 413, 415, 422, 503)
Names = Annotated[list[str], Query(alias="run", description="Ask this run only; may be repeated.")]

routes = APIRouter(prefix="/api")


@routes.get("/health", responses=_problems())
async def health(request: Request) -> Health:
    """Whether the server answers, and how busy it is."""
    state = request.app.state
    return Health(status="ok", runs=len(state.desk.classifiers), waiting=state.jobs.waiting, queue=state.jobs.limit)


@routes.get(
    "/metrics",
    response_class=Response,
    responses=_problems() | {200: _text("text/plain", "The text format of Prometheus.")},
)
async def metrics(request: Request) -> Response:
    """Requests, queue, dropped images, crashed decoders and memory."""
    state = request.app.state
    jobs, desk = state.jobs, state.desk
    gauges = {
        "zoo_queue_images": ("gauge", "Images waiting.", jobs.waiting),
        "zoo_queue_limit_images": ("gauge", "Images that may wait.", jobs.limit),
        "zoo_jobs_total": ("counter", "Images and heat maps worked on.", jobs.done),
        "zoo_jobs_dropped_total": ("counter", "Taken out of the queue, their client being gone.", jobs.dropped),
        "zoo_decoder_restarts_total": ("counter", "Decoders that crashed or hung.", desk.decoder.worker.restarts),
        "zoo_uploads_held_bytes": ("gauge", "Bytes of uploads in memory.", state.uploads.held),
    }
    resident = resident_bytes()
    if resident is not None:
        gauges["process_resident_memory_bytes"] = ("gauge", "Resident memory.", resident)
    return Response(state.counts.text(gauges), media_type=MEDIA_TYPE)


@routes.get("/runs", responses=_problems())
async def runs(request: Request) -> Served:
    """The runs that are served, and the limits."""
    state = request.app.state
    return Served(
        runs=state.desk.infos,
        max_bytes=state.limits.max_bytes,
        max_pixels=state.limits.max_pixels,
        version=version("cxr-zoo"),
    )


@routes.get("/runs/{run}", responses=_problems(404))
async def one_run(request: Request, run: str) -> RunInfo:
    """One run."""
    desk: Desk = request.app.state.desk
    name = desk.choose([run])[0]
    return next(each for each in desk.infos if each.run == name)


@routes.get(
    "/runs/{run}/card",
    response_class=Response,
    responses=_problems(404) | {200: _text("text/markdown", "The model card.")},
)
async def card(request: Request, run: str) -> Response:
    """The model card of a run, as Markdown."""
    return Response(await _card(request, run), media_type="text/markdown; charset=utf-8")


@routes.post("/images", responses=_UPLOAD, openapi_extra=_IMAGE)
async def image(
    request: Request,
    names: Names = [],  # noqa: B006  (FastAPI copies it)
    picture: Annotated[bool, Query(description="Give the image back as a PNG.")] = False,
) -> ImageAnswer:
    """What the runs say of one image, sent as the request's body. Nothing of it is kept."""
    desk: Desk = request.app.state.desk
    chosen = desk.choose(names)
    return await _work(request, lambda data: desk.answer(data, chosen, picture))


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
    """Where in an image, sent as the request's body, a run's answer for a label comes from."""
    desk: Desk = request.app.state.desk
    name = desk.choose([run])[0]
    picture, empty = await _work(request, lambda data: desk.heat_map(data, name, label, method))
    return Response(picture, media_type="image/png", headers={_EMPTY: str(empty).lower()})


async def _work(request: Request, work: Callable[[bytes], T]) -> T:
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
        pass


async def _card(request: Request, run: str) -> str:
    state = request.app.state
    name = state.desk.choose([run])[0]
    try:
        text: str = await asyncio.to_thread(state.cards.markdown, state.desk.classifiers[name].run)
    except ZooError:
        raise Refusal(404, "the run has no model card: zoo report makes one.") from None
    return text


async def card_page(request: Request, run: str) -> HTMLResponse:
    """A model card for people."""
    return HTMLResponse(cards.page(run, await _card(request, run)))


def create_app(desk: Desk, limits: Limits, *, names: Iterable[str] = ()) -> Shield:
    """The application of a server; `names` are the host names that requests may carry."""
    app = FastAPI(
        title="zoo serve",
        version=version("cxr-zoo"),
        description=f"Chest X-ray classifiers behind a REST interface. {RESEARCH_ONLY}",
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's pages load scripts from other hosts
        redoc_url=None,
    )
    counts = Counts()
    app.state.desk, app.state.limits, app.state.counts = desk, limits, counts
    app.state.jobs, app.state.uploads, app.state.cards = Jobs(limits.queue), Uploads(limits), cards.Cards()
    app.include_router(routes)
    app.add_api_route("/cards/{run:path}", card_page, include_in_schema=False)
    for name, media_type in PAGE.items():
        app.add_api_route(f"/{name}", _page_file(name, media_type), include_in_schema=False)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(RequestValidationError, _wrong_parameter)
    app.add_exception_handler(HTTPException, _plain)
    app.add_exception_handler(Exception, _internal)
    return Shield(app, counts, names)


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, without the answers that FastAPI adds to every route with a parameter."""
    if app.openapi_schema is None:
        made = FastAPI.openapi(app)
        for operation in (each for path in made["paths"].values() for each in path.values()):
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
        for name in ("HTTPValidationError", "ValidationError"):
            made["components"]["schemas"].pop(name, None)
        app.openapi_schema = made
    return app.openapi_schema


def _page_file(name: str, media_type: str) -> Callable[[], Awaitable[Response]]:
    content = (resources.files("zoo.serve") / "page" / (name or "index.html")).read_bytes()

    async def give() -> Response:
        return Response(content, media_type=f"{media_type}; charset=utf-8")

    return give


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return answer_to(error)


async def _wrong_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    sentence = f"{first['loc'][-1]}: {str(first['msg']).lower()}."
    return JSONResponse({"detail": sentence}, 422)


async def _plain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": f"{str(error.detail).lower()}."}, error.status_code, error.headers)


async def _internal(request: Request, error: Exception) -> Response:
    return answer_to(Refusal(500, "something went wrong in the server."))
