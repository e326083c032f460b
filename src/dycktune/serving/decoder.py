"""The thread that decodes: all prompts that wait are decoded together, and a stream alone."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, Queue
from threading import Event, Thread

from dycktune.inference.reference import Prompt, Reply
from dycktune.inference.speculative import decode
from dycktune.inference.stream import OnText, stream_prompt
from dycktune.models.loading import LoadedModel


class _Unread(Exception):  # noqa: N818 - not an error: nobody reads the reply any more
    """Ends a decoding."""


@dataclass(frozen=True, kw_only=True)
class _Job:
    prompt: Prompt
    on_text: OnText | None = None
    """Called with the text as it grows; None to decode the prompt with others."""
    reply: Future[Reply] = field(default_factory=Future)


class Decoder:
    """Decodes the prompts of many requests with one model. Each reply is that of its prompt alone."""

    def __init__(self, loaded: LoadedModel) -> None:
        """Start the thread, which ends with the program."""
        self._loaded = loaded
        self._waiting: Queue[_Job] = Queue()
        Thread(target=self._run, name="decoder", daemon=True).start()

    async def reply(self, prompt: Prompt) -> Reply:
        """The reply to a prompt."""
        return await asyncio.wrap_future(self._submit(_Job(prompt=prompt)))

    async def stream(self, prompt: Prompt) -> AsyncIterator[str | Reply]:
        """The text of the reply each time it has grown, and at the end the reply."""
        loop, unread = asyncio.get_running_loop(), Event()
        texts: asyncio.Queue[str | None] = asyncio.Queue()

        def show(text: str | None) -> None:
            if unread.is_set():
                raise _Unread
            loop.call_soon_threadsafe(texts.put_nowait, text)

        def end(_: Future[Reply]) -> None:
            with suppress(_Unread, RuntimeError):  # the loop may be closed
                show(None)

        reply = self._submit(_Job(prompt=prompt, on_text=show))
        reply.add_done_callback(end)
        try:
            while (text := await texts.get()) is not None:
                yield text
            yield reply.result()
        finally:
            unread.set()

    def _submit(self, job: _Job) -> Future[Reply]:
        self._waiting.put(job)
        return job.reply

    def _run(self) -> None:
        while True:
            jobs = [job for job in self._next() if job.reply.set_running_or_notify_cancel()]
            self._decode([job for job in jobs if job.on_text is None])
            for job in jobs:
                if job.on_text is not None:
                    self._show(job, job.on_text)

    def _next(self) -> list[_Job]:
        """All jobs that wait, at least one."""
        jobs = [self._waiting.get()]
        while True:
            try:
                jobs.append(self._waiting.get_nowait())
            except Empty:
                return jobs

    def _decode(self, jobs: list[_Job]) -> None:
        if not jobs:
            return
        try:
            replies = decode(self._loaded, [job.prompt for job in jobs])
        except Exception as error:
            for job in jobs:
                job.reply.set_exception(error)
            return
        for job, reply in zip(jobs, replies, strict=True):
            job.reply.set_result(reply)

    def _show(self, job: _Job, on_text: OnText) -> None:
        try:
            job.reply.set_result(stream_prompt(self._loaded, job.prompt, on_text))
        except Exception as error:
            job.reply.set_exception(error)
