"""The server of the page: what a browser can ask for, and the limits on what it sends."""

import asyncio
import json
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path
from typing import TypeAlias

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from dycktune.app.access import DOCUMENT_POLICY, Access
from dycktune.app.answers import MAX_QUESTION, Event, answer
from dycktune.app.choices import Choice, Offer, offer
from dycktune.app.doctor import examine
from dycktune.app.models import Models
from dycktune.errors import DycktuneError, ItemError, RunError
from dycktune.run_list import RunSummary
from dycktune.runs import RunFolder
from dycktune.tasks.examples import example_question

STATIC = Path(__file__).parent / "static"

MAX_UPLOAD = 32 * 2**20
"""Bytes of a log."""
MAX_REQUEST = 64 * 2**10
"""Bytes of any other request."""
RECEIVE_SECONDS = 60.0
"""For the whole content of a request."""
ANSWER_SECONDS = 900.0
"""For a whole answer."""
MAX_ANSWERS = 4
"""Answers at the same time, those that wait for a model included."""
MAX_PAGES = 16
"""Doctor's pages that are kept."""

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


class TooMuchError(DycktuneError):
    """A request that is too large, or too slow."""


class _Stopped(Exception):  # noqa: N818 - not an error: nobody reads the answer any more
    """Ends a decoding."""


def make_app(
    root: Path, *, first: Choice | None, hosts: Collection[str] | None, token: str | None
) -> Starlette:
    """The application.

    Args:
        root: The folder of runs.
        first: The model to begin with; the newest run's where None.
        hosts: As of `Access`.
        token: As of `Access`.

    Returns:
        The application; `state.stop` ends all answers that are being written.
    """
    page = _Page(root, first)
    routes = [
        Route("/", _file("index.html", "text/html")),
        Route("/app.js", _file("app.js", "text/javascript")),
        Route("/app.css", _file("app.css", "text/css")),
        Route("/api/state", _plainly(page.state)),
        Route("/api/check", _plainly(page.check), methods=["POST"]),
        Route("/api/example", _plainly(page.example), methods=["POST"]),
        Route("/api/ask", _plainly(page.ask), methods=["POST"]),
        Route("/api/doctor", _plainly(page.examine), methods=["POST"]),
        Route("/pages/{number:int}", _plainly(page.doctor_page)),
        Route("/reports/{run}", _plainly(page.report)),
    ]
    guard = Middleware(Access, hosts=hosts, token=token)
    app = Starlette(routes=routes, middleware=[guard])
    app.state.stop = page.stop
    return app


class _Page:
    """What the page can do."""

    def __init__(self, root: Path, first: Choice | None) -> None:
        self._root, self._first = root, first
        self._models = Models()
        self._answers: set[_Events] = set()
        self._opened = False
        """Whether a browser has opened the page."""
        self._pages: OrderedDict[int, str] = OrderedDict()
        self._examined = 0

    async def _begin_loading(self, choice: Choice) -> None:
        threading.Thread(target=self._load, args=(choice,), daemon=True).start()

    def _load(self, choice: Choice) -> None:
        try:
            with self._models.borrow(choice.reference):
                pass
        except DycktuneError:
            return  # the first answer will say why

    def _offer(self) -> Offer:
        return offer(self._root, self._first)

    async def state(self, _: Request) -> Response:
        """The models to choose from, and the runs."""
        now = await run_in_threadpool(self._offer)
        content = {
            "models": [choice.to_json() for choice in now.choices.values()],
            "runs": [_run_event(run, now) for run in now.runs],
            "folder": str(self._root),
        }
        # The first model is loaded while the user types. Not before the page is there: importing torch would delay it.
        first, self._opened = not self._opened, True
        preload = BackgroundTask(self._begin_loading, next(iter(now.choices.values()))) if first else None
        return JSONResponse(content, background=preload)

    async def check(self, request: Request) -> Response:
        """The question as the task reads it, or why it does not."""
        choice, question = await self._asked(request)
        return JSONResponse({"question": await run_in_threadpool(_as_read, choice, question)})

    async def example(self, request: Request) -> Response:
        """A question of the task, drawn at random."""
        choice, _ = await self._asked(request)
        return JSONResponse({"question": await run_in_threadpool(_example, choice)})

    async def ask(self, request: Request) -> Response:
        """A model's answer: an event a line, as it grows."""
        choice, question = await self._asked(request)
        await run_in_threadpool(_as_read, choice, question)
        if len(self._answers) >= MAX_ANSWERS:
            raise TooMuchError(f"{MAX_ANSWERS} answers are being written; wait for one of them, or stop it")
        return StreamingResponse(self._answer(choice, question), media_type="application/x-ndjson")

    async def _answer(self, choice: Choice, question: str) -> AsyncIterator[str]:
        events = _Events()
        self._answers.add(events)
        work = asyncio.create_task(asyncio.to_thread(_answer_into, events, self._models, choice, question))
        work.add_done_callback(lambda _: self._answers.discard(events))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                async for event in events:
                    yield json.dumps(event, ensure_ascii=False) + "\n"
        except TimeoutError:
            problem = f"stopped after {ANSWER_SECONDS / 60:.0f} minutes"
            yield json.dumps({"kind": "problem", "text": problem}) + "\n"
        finally:
            events.stop()

    def stop(self) -> None:
        """End all answers: the server stops."""
        for events in self._answers:
            events.stop()

    async def examine(self, request: Request) -> Response:
        """Read an uploaded log; the address of the doctor's page."""
        name = request.query_params.get("name", "log")[:200]
        content = await _content(request, MAX_UPLOAD)
        page = await run_in_threadpool(examine, name, content)
        self._examined += 1
        self._pages[self._examined] = page
        while len(self._pages) > MAX_PAGES:
            self._pages.popitem(last=False)
        return JSONResponse({"page": f"/pages/{self._examined}"})

    async def doctor_page(self, request: Request) -> Response:
        """The doctor's page of a log."""
        page = self._pages.get(request.path_params["number"])
        if page is None:
            raise RunError("this page is no longer kept; give the log again")
        return _document(page)

    async def report(self, request: Request) -> Response:
        """The report of a run of the folder."""
        runs = {run.name: run for run in (await run_in_threadpool(self._offer)).runs}
        run = runs.get(request.path_params["run"])
        if run is None or not _own_report(run):
            raise RunError(f"no run of {self._root} with this name has a report")
        page = RunFolder(run.path).report
        return _document(await run_in_threadpool(page.read_text, encoding="utf-8", errors="replace"))

    async def _asked(self, request: Request) -> tuple[Choice, str]:
        """The choice and the question of a request."""
        try:
            content = json.loads(await _content(request, MAX_REQUEST))
            key, question = str(content["model"]), str(content.get("question", ""))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ItemError("the request is no JSON object with a model and a question") from error
        if len(question) > MAX_QUESTION:
            raise ItemError(f"the question has {len(question)} characters; {MAX_QUESTION} are the most here")
        choices = (await run_in_threadpool(self._offer)).choices
        if key not in choices:
            raise ItemError(
                f"there is no model {key[:80]!r} any more; choose another, or load the page again"
            )
        return choices[key], question


class _Events:
    """Events from the thread that decodes to the response that is sent."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._stopped = threading.Event()

    def send(self, event: Event | None) -> None:
        """Send an event from the thread; None is the end."""
        if self._stopped.is_set():
            raise _Stopped
        self._loop.call_soon_threadsafe(self._queue.put_nowait, event)

    def stop(self) -> None:
        """End the answer: nobody reads it any more."""
        self._stopped.set()
        self._loop.call_soon_threadsafe(self._queue.put_nowait, None)

    async def __aiter__(self) -> AsyncIterator[Event]:
        while (event := await self._queue.get()) is not None:
            yield event


def _answer_into(events: _Events, models: Models, choice: Choice, question: str) -> None:
    try:
        try:
            answer(models, choice, question, events.send)
        except DycktuneError as error:
            events.send({"kind": "problem", "text": str(error)})
        except _Stopped:
            raise
        except Exception as error:  # the page must say that the answer ends here, whatever happened
            events.send({"kind": "problem", "text": f"{type(error).__name__}: {error}"})
            raise
        finally:
            events.send(None)
    except _Stopped:
        return


def _as_read(choice: Choice, question: str) -> str:
    task = choice.task()
    return task.to_text(task.from_text(question))


def _example(choice: Choice) -> str:
    return example_question(choice.task())


def _run_event(run: RunSummary, now: Offer) -> Event:
    score = run.exact_match
    model = next(
        (key for part in ("merged", "adapter") if (key := f"{run.name} {part}") in now.choices), None
    )
    return {
        **run.to_json(),
        "run": run.name,
        "when": f"{run.when:%Y-%m-%d %H:%M}",
        "score": score and f"{score.value:.3f} [{score.ci95[0]:.3f}, {score.ci95[1]:.3f}]",
        "model": model,
        "report": _own_report(run),
        "command": f"dycktune report {run.path}",
    }


def _own_report(run: RunSummary) -> bool:
    """Whether the run has a report that lies in its folder; a link could lead elsewhere."""
    report = RunFolder(run.path).report
    return report.is_file() and report.resolve().is_relative_to(run.path.resolve())


async def _content(request: Request, limit: int) -> bytes:
    """The content of a request. Raises TooMuchError for one that is too large or takes too long."""
    content = bytearray()
    try:
        async with asyncio.timeout(RECEIVE_SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > limit:
                    raise TooMuchError(f"more than {limit / 2**20:g} MiB; give a part of it")
    except TimeoutError:
        raise TooMuchError(f"the content did not arrive within {RECEIVE_SECONDS:.0f} seconds") from None
    return bytes(content)


def _plainly(handler: Handler) -> Handler:
    """The handler, with a user's errors as one line for the page."""

    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except TooMuchError as error:
            return JSONResponse({"problem": str(error)}, 413, {"connection": "close"})
        except DycktuneError as error:
            return JSONResponse({"problem": str(error)}, 404 if request.method == "GET" else 400)

    return answered


def _file(name: str, kind: str) -> Handler:
    async def answered(_: Request) -> Response:
        return FileResponse(STATIC / name, media_type=kind)

    return answered


def _document(html: str) -> Response:
    """A page that is not this program's own: sandboxed."""
    return Response(html, media_type="text/html", headers={"content-security-policy": DOCUMENT_POLICY})
