"""The routes: a request is read, checked and planned, and what the desk draws goes out in the shape asked for.

Everything that a route needs is in `Api`; nothing is global, so that several servers can live in one process.
"""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from thinkling.errors import UserError
from thinkling.generate.engine import Engine
from thinkling.scale.methods import Recipe
from thinkling.serve.answering import Answering, Last, timed, whole
from thinkling.serve.asks import Asked, ChatAsk, chat_ask, chat_plans, check_method, text_plans
from thinkling.serve.body import read_json
from thinkling.serve.desk import Desk, Generation, Nothing, Source
from thinkling.serve.methods import MethodRun
from thinkling.serve.metrics import Group, Metrics
from thinkling.serve.parameters import CHAT, RESPONSES, TEXT, of_endpoint, read
from thinkling.serve.refusals import ApiError, bad
from thinkling.serve.reply_parser import Delta, TokenFact
from thinkling.serve.responses import ResponseBuilder, responses_ask
from thinkling.serve.security import Access, Guard, refusal
from thinkling.serve.served import Served
from thinkling.serve.shapes import ChatShape, Shape, TextShape, TokenWords, encoded, event, usage
from thinkling.serve.side_routes import side_routes
from thinkling.serve.weights import Weights


@dataclass(frozen=True)
class Limits:
    """queue: choices that may wait for a row. request_seconds: for a whole answer. client_seconds: for a client to send
    a request, or to read when its connection is full. connections: at once."""

    queue: int = 256
    request_seconds: float = 600.0
    client_seconds: float = 20.0
    connections: int = 1024


@dataclass(frozen=True)
class Job:
    """What a request comes to: its sources, made when the work begins; how many tokens its prompts have."""

    sources: Any
    num_prompt: int
    dropped: int = 0


class Api:
    """The server's routes, around one model."""

    def __init__(
        self, served: Served, limits: Limits, access: Access, folder: Path | None = None, group: Group | None = None
    ) -> None:
        """folder: what other weights may be taken from while it runs. group: the processes of which this is one."""
        self.served, self.limits, self.access, self.group = served, limits, access, group
        self.weights = Weights(served.model, folder) if folder is not None else None
        self.metrics, self.words = Metrics(), TokenWords(served.model.tokenizer)
        self.desk: Desk | None = None  # from the moment that the event loop runs

    def app(self) -> Starlette | Guard:
        routes = {
            (CHAT, "POST"): self.chat, (TEXT, "POST"): self.text, (RESPONSES, "POST"): self.responses,
            **side_routes(self.served, self.metrics, self.limits.client_seconds, lambda: self.desk, self.weights,
                          self.group),
        }  # fmt: skip
        app = Starlette(
            routes=[Route(path, route, methods=[method]) for (path, method), route in routes.items()],
            exception_handlers={HTTPException: no_route, ApiError: told}, lifespan=self.lifespan,
        )  # fmt: skip
        return Guard(app, self.access, self.metrics, [path for path, _ in routes])

    @property
    def version(self) -> str | None:
        """What the weights are called by which an answer begins; None where they never change."""
        return None if self.weights is None else self.weights.version

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self.desk = desk = Desk(self.served.model, self.limits.queue, self.metrics)
        engine = self.served.model.engine
        self.metrics.gauges |= {
            "choices_under_way": ("Choices that run or wait", lambda: desk.taken),
            "rows_running": ("Requests in the engine's batch", lambda: len(engine.running)),
            "rows": ("Requests that fit into the batch", lambda: engine.max_rows),
            "reused_tokens": ("Tokens of prompts that were known from earlier requests", lambda: reused(engine)),
        }
        yield
        desk.tokenizing.shutdown(wait=False, cancel_futures=True)
        self.served.model.engine_thread.stop()

    # --- chats, completions, responses ---

    async def chat(self, request: Request) -> Response:
        values = read(await read_json(request, self.limits.client_seconds), CHAT)
        if values["messages"] is None:
            raise bad("messages", "is missing")
        recipe = self.served.method(values["model"])
        if recipe is not None:
            check_method(recipe, values, of_endpoint(CHAT))
        ask = chat_ask(values)
        score = values["prompt_logprobs"]

        async def answer(job: Job, asked: Asked | None) -> AsyncIterator[bytes]:
            prompts = [plan.prompt for plan in asked.plans] if asked else [()]
            scored = [await self.desk.score(prompts[0], score)] if score is not None and asked else []
            shape = ChatShape(self.words, values["model"] or self.served.name, int(time.time()), values["logprobs"],
                              bool(values["return_token_ids"]), prompts, scored, self.version)  # fmt: skip
            async with aclosing(self._parts(job, shape, values)) as parts:
                async for part in parts:
                    yield part

        return await self._chatting(ask, recipe, values, client_of(request, values), ask.n, answer)

    async def responses(self, request: Request) -> Response:
        values = read(await read_json(request, self.limits.client_seconds), RESPONSES)
        recipe = self.served.method(values["model"])
        if recipe is not None:
            check_method(recipe, values, of_endpoint(RESPONSES))
        ask = responses_ask(values)

        async def answer(job: Job, asked: Asked | None) -> AsyncIterator[bytes]:
            builder = ResponseBuilder(self.words, values, values["model"] or self.served.name, int(time.time()),
                                      job.num_prompt)  # fmt: skip
            begun = [event(data, name) for name, data in builder.start()]
            if values["stream"]:
                yield b"".join(begun)
            async with aclosing(timed(self.desk, job.sources())) as grown:
                async for some in grown:
                    made = [event(data, name) for _, delta in some for name, data in builder.push(delta)]
                    if values["stream"] and made:
                        piece = b"".join(made)
                        yield piece if builder.response["status"] == "in_progress" else Last(piece)
            if not values["stream"]:
                yield encoded(builder.response)

        return await self._chatting(ask, recipe, values, client_of(request, values), 1, answer)

    async def _chatting(
        self, ask: ChatAsk, recipe: Recipe | None, values: Mapping[str, Any], client: str, n: int, answer: Any
    ) -> Response:
        """A chat's answer, by the model or by a method."""
        places = n if recipe is None or recipe.kind.unit not in ("samples", "paths") else n * recipe.budgets[0]
        self.desk.take(places, client)
        try:
            if recipe is None:
                asked = await chat_plans(ask, self.served, self.desk)
                job = Job(lambda: [Generation(self.desk, plan, client) for plan in asked.plans],
                          asked.num_prompt_tokens, asked.dropped)  # fmt: skip
            else:
                asked, job = None, await self._method_job(ask, recipe, client)
        except BaseException:
            self.desk.give_back(places, self.desk.pace, client)
            raise
        headers = {"x-dropped-turns": str(job.dropped)} if job.dropped else {}
        self.metrics.count("prompt_tokens", job.num_prompt)
        self.metrics.count("dropped_turns", job.dropped)
        return Answering(self.desk, client, places, self.limits.request_seconds, lambda: answer(job, asked),
                         values["stream"], headers)  # fmt: skip

    async def _method_job(self, ask: ChatAsk, recipe: Recipe, client: str) -> Job:
        if ask.chat.begun is not None or ask.chat.begun_thinking is not None:
            raise bad("messages", "a method answers a question: let the user's message be the last")
        context = self.served.model.engine.max_length
        limit = ask.length[1] or context // 2  # a method's own questions are longer than the user's
        room = context - limit
        asked = await chat_plans(replace(ask, length=(ask.length[0], limit)), self.served, self.desk)

        def sources() -> list[Source]:
            try:
                return [
                    MethodRun(self.desk, recipe, ask.chat, plan.sampling, ask.parameters["temperature"], room, client)
                    for plan in asked.plans
                ]
            except UserError as error:
                raise ApiError(400, str(error), "temperature") from None

        return Job(sources, asked.num_prompt_tokens, asked.dropped)

    async def text(self, request: Request) -> Response:
        values = read(await read_json(request, self.limits.client_seconds), TEXT)
        if self.served.method(values["model"]) is not None:
            raise bad("model", f"a method answers chats: ask {CHAT}")
        asked = await text_plans(values, self.served, self.desk)
        places, client = len(asked.plans), client_of(request, values)
        self.desk.take(places, client)
        self.metrics.count("prompt_tokens", asked.num_prompt_tokens)
        job = Job(lambda: self._generations(asked, values["max_tokens"], client), asked.num_prompt_tokens)

        async def answer() -> AsyncIterator[bytes]:
            shape = TextShape(
                self.words, values["model"] or self.served.name, int(time.time()), values["logprobs"] is not None,
                bool(values["return_token_ids"]), [plan.prompt for plan in asked.plans],
                await self._scored(asked, values["logprobs"] if values["echo"] else None), self.version,
                echo=values["echo"], prompt_logprobs=await self._scored(asked, values["prompt_logprobs"]),
            )  # fmt: skip
            async with aclosing(self._parts(job, shape, values)) as parts:
                async for part in parts:
                    yield part

        return Answering(self.desk, client, places, self.limits.request_seconds, answer, values["stream"])

    def _generations(self, asked: Asked, max_tokens: int, client: str) -> list[Source]:
        return [Generation(self.desk, plan, client) if max_tokens else Nothing() for plan in asked.plans]

    async def _scored(self, asked: Asked, num: int | None) -> list[Sequence[TokenFact]]:
        """Each choice's prompt with its log-probabilities and the `num` likeliest; of None nothing."""
        if num is None:
            return []
        prompts = dict.fromkeys(plan.prompt for plan in asked.plans)
        known = {prompt: await self.desk.score(prompt, num) for prompt in prompts}
        return [known[plan.prompt] for plan in asked.plans]

    async def _parts(self, job: Job, shape: Shape, values: Mapping[str, Any]) -> AsyncIterator[bytes]:
        """The body of a chat's or a completion's answer."""
        sources = job.sources()
        grown = timed(self.desk, sources)
        if not values["stream"]:
            found = await whole(sources, grown)
            yield encoded(shape.whole(found, self._usage(job, found)))
            return
        begun: set[int] = set()
        last: dict[int, Delta] = {}
        async with aclosing(grown):
            async for some in grown:
                chunks = []
                for i, delta in some:
                    chunks.append(event(shape.chunk(i, delta, first=i not in begun)))
                    begun.add(i)
                    last[i] = delta
                yield b"".join(chunks)
        counted = (values["stream_options"] or {}).get("include_usage")
        end = event(shape.last_chunk(self._usage(job, list(last.values())))) if counted else b""
        yield Last(end + b"data: [DONE]\n\n")

    def _usage(self, job: Job, ends: Sequence[Delta]) -> dict:
        return usage(job.num_prompt, sum(end.num_tokens for end in ends), sum(end.num_thinking for end in ends))


def client_of(request: Request, values: Mapping[str, Any]) -> str:
    """Whose turn it is: the address that a request comes from, and its user where it names one."""
    host = request.client.host if request.client else ""
    return f"{host} {values['user'] or ''}"


def reused(engine: Engine) -> int:
    return engine.prefixes.reused if engine.prefixes is not None else 0


async def told(request: Request, error: ApiError) -> Response:
    return refusal(error)


async def no_route(request: Request, error: HTTPException) -> Response:
    """headers: Allow, which says the methods that the path takes."""
    another = error.status_code == 405
    what = "takes another method" if another else "is not offered here: see /openapi.json"
    code = "method_not_allowed" if another else "not_found"
    return refusal(ApiError(error.status_code, f"this path {what}", code=code, headers=dict(error.headers or {})))
