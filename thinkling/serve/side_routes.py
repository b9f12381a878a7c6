"""The routes beside the answers: which models there are, text and tokens, health, version, metrics, the schema."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from thinkling import __version__
from thinkling.errors import UserError
from thinkling.serve.asks import chat_of, clean
from thinkling.serve.body import read_json
from thinkling.serve.context import prompt_tokens
from thinkling.serve.desk import Desk
from thinkling.serve.metrics import Group, Metrics
from thinkling.serve.openapi import document
from thinkling.serve.parameters import DETOKENIZE, TOKENIZE, read
from thinkling.serve.refusals import ApiError, bad
from thinkling.serve.served import Served
from thinkling.serve.shapes import TokenWords, encoded
from thinkling.serve.weights import INFO, UPDATE, Weights

Endpoint = Callable[[Request], Awaitable[Response]]


def side_routes(
    served: Served, metrics: Metrics, client_seconds: float, desk: Callable[[], Desk], weights: Weights | None,
    group: Group | None,
) -> dict[tuple[str, str], Endpoint]:  # fmt: skip
    """By path and method. desk: there once the server runs. weights: where others may be taken. group: the processes of
    which this is one, None for a server that is alone."""
    cards = cards_of(served)

    async def models(request: Request) -> Response:
        return json_page({"object": "list", "data": cards})

    async def one_model(request: Request) -> Response:
        name = request.path_params["name"]
        if not name:  # /v1/models/
            return await models(request)
        served.method(name)  # raises ApiError for a name that is not served
        return json_page(cards[0] | {"id": name})

    async def health(request: Request) -> Response:
        return Response()

    async def version(request: Request) -> Response:
        return json_page({"version": __version__})

    async def metrics_page(request: Request) -> Response:
        others = await group.others() if group is not None else ()
        return Response(metrics.text(others), media_type="text/plain; version=0.0.4")

    schema = encoded(document(served.name, updates=weights is not None))

    async def openapi(request: Request) -> Response:
        return Response(schema, media_type="application/json")

    updates = weight_routes(weights, client_seconds) if weights is not None else {}
    if group is not None:
        updates = no_weight_routes(group.size, client_seconds)
    return text_routes(served, client_seconds, desk) | updates | {
        ("/v1/models", "GET"): models, ("/v1/models/{name:path}", "GET"): one_model, ("/health", "GET"): health,
        ("/version", "GET"): version, ("/metrics", "GET"): metrics_page, ("/openapi.json", "GET"): openapi,
    }  # fmt: skip


def text_routes(served: Served, client_seconds: float, desk: Callable[[], Desk]) -> dict[tuple[str, str], Endpoint]:
    model, words = served.model, TokenWords(served.model.tokenizer)

    async def tokenize(request: Request) -> Response:
        values = read(await read_json(request, client_seconds), TOKENIZE)
        served.method(values["model"])
        if (values["prompt"] is None) == (values["messages"] is None):
            raise bad("prompt", "give either a prompt or messages")
        if values["prompt"] is not None:
            tokens = await spelt(desk(), "prompt", model.text_prompt, values["prompt"])
        else:
            switch = (values["chat_template_kwargs"] or {}).get("enable_thinking")
            chat = chat_of(clean(values["messages"], "messages"), switch)
            tokens = await spelt(desk(), "messages", prompt_tokens, model, chat.messages, chat)
        told = {"token_strs": list(map(words.text, tokens))} if values["return_token_strs"] else {}
        return json_page({"tokens": tokens, "count": len(tokens), "max_model_len": model.engine.max_length} | told)

    async def detokenize(request: Request) -> Response:
        values = read(await read_json(request, client_seconds), DETOKENIZE)
        served.method(values["model"])
        tokens, most = values["tokens"], model.network.config.vocab_size
        if tokens is None:
            raise bad("tokens", "is missing")
        wrong = next((token for token in tokens if not 0 <= token < most), None)
        if wrong is not None:
            raise bad("tokens", f"{str(wrong)[:40]} is no token id: they go from 0 to {most - 1:,}")
        return json_page({"prompt": model.tokenizer.decode(tokens)})

    return {(TOKENIZE, "POST"): tokenize, (DETOKENIZE, "POST"): detokenize}


def weight_routes(weights: Weights, client_seconds: float) -> dict[tuple[str, str], Endpoint]:
    async def update(request: Request) -> Response:
        await weights.take(await read_json(request, client_seconds))
        return await info(request)

    async def info(request: Request) -> Response:
        return json_page({"weight_version": weights.version})

    return {(UPDATE, "POST"): update, (INFO, "GET"): info}


def no_weight_routes(size: int, client_seconds: float) -> dict[tuple[str, str], Endpoint]:
    async def refuse(request: Request) -> Response:
        if request.method == "POST":
            await read_json(request, client_seconds)
        raise bad(None, f"weights would change in one of this server's {size} processes only: start it without "
                  "--data-parallel-size")  # fmt: skip

    return {(UPDATE, "POST"): refuse, (INFO, "GET"): refuse}


def cards_of(served: Served) -> list[dict]:
    """What /v1/models says of each name."""
    return [
        {"id": name, "object": "model", "created": served.created, "owned_by": "thinkling",
         "max_model_len": served.model.engine.max_length} for name in served.names
    ]  # fmt: skip


def json_page(value: Any) -> Response:
    return Response(encoded(value), media_type="application/json")


async def spelt(desk: Desk, param: str, make: Callable[..., list[int]], *given: object) -> list[int]:
    try:
        return await desk.tokenized(make, *given)
    except UserError as error:
        raise ApiError(400, f"{param}: {error}", param) from None
