"""The OpenAPI document of the server, made from the table of parameters; and that table as Markdown, for people."""

import re

from thinkling import __version__
from thinkling.serve.parameters import CHAT, DETOKENIZE, PARAMETERS, REFUSED, RESPONSES, TEXT, TOKENIZE, of_endpoint
from thinkling.serve.schema import Schema
from thinkling.serve.weights import FIELDS, INFO, UPDATE

SUMMARIES = {
    CHAT: "The reply to a chat", TEXT: "The completion of a text", RESPONSES: "The reply to a chat, as items",
    TOKENIZE: "Text as token ids", DETOKENIZE: "Token ids as text",
}  # fmt: skip
REQUIRED = {
    CHAT: {"required": ["messages"]}, TEXT: {"required": ["prompt"]}, RESPONSES: {"required": ["input"]},
    TOKENIZE: {"oneOf": [{"required": [name], "properties": {name: {"not": {"type": "null"}}}}
                         for name in ("prompt", "messages")]},
    DETOKENIZE: {"required": ["tokens"]},
}  # fmt: skip
TURN = {"role": "user", "content": "What is 17 + 25?"}
EXAMPLES = {
    CHAT: {"messages": [TURN], "max_completion_tokens": 64}, TEXT: {"prompt": "Question: What is 17 + 25?\nAnswer:\n"},
    RESPONSES: {"input": "What is 17 + 25?"}, TOKENIZE: {"prompt": "17 + 25"}, DETOKENIZE: {"tokens": [1, 2, 3]},
}  # fmt: skip
PAGES = {
    "/v1/models": "The names that requests may use", "/health": "Does the server run?", "/version": "Its version",
    "/metrics": "Counts and times, for Prometheus", "/openapi.json": "This document",
}  # fmt: skip
ERROR = {
    "type": "object", "required": ["error"],
    "properties": {"error": {"type": "object", "required": ["message", "type"], "properties": {
        "message": {"type": "string"}, "type": {"type": "string"}, "param": {"type": ["string", "null"]},
        "code": {"type": ["string", "null"]},
    }}},
}  # fmt: skip
REFUSALS = {
    "400": "A parameter is unknown, wrong or not offered; param names it", "401": "The token is missing or wrong",
    "403": "The Host or Origin is not known", "404": "There is no such model or path",
    "405": "The path takes another method", "408": "The body came too slowly", "413": "The body is too large",
    "415": "The body is no application/json", "429": "The queue is full", "431": "The headers are too large",
    "500": "The server failed", "503": "There are too many connections", "504": "The answer took too long",
}  # fmt: skip


def document(name: str, updates: bool = False) -> dict:
    """name: what clients call the model; behind it a method may stand. updates: are other weights taken?"""
    paths = {endpoint: {"post": operation(endpoint, name)} for endpoint in SUMMARIES}
    paths |= {path: {"get": {"summary": summary, "responses": answers("")}} for path, summary in PAGES.items()}
    if updates:
        paths |= {INFO: {"get": {"summary": "What the weights are called", "responses": answers("")}},
                  UPDATE: {"post": update()}}  # fmt: skip
    return {
        "openapi": "3.1.0",
        "info": {"title": "thinkling serve", "version": __version__},
        "components": {
            "schemas": {"Error": ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "paths": paths,
    }


def operation(endpoint: str, name: str) -> dict:
    rows = [row for row in of_endpoint(endpoint).values() if not row.why]
    names = {"model": {"pattern": rf"^{re.escape(name)}(\+[a-z0-9-]{{1,30}}(@[0-9]{{1,6}})?)?$"}}
    properties = {row.name: row.schema | names.get(row.name, {}) for row in rows}
    schema = with_null({"type": "object", "additionalProperties": False, "properties": properties} | REQUIRED[endpoint])
    for row in rows:
        schema["properties"][row.name]["description"] = row.help
    body = {"required": True, "content": {"application/json": {"schema": schema, "example": EXAMPLES[endpoint]}}}
    return {"summary": SUMMARIES[endpoint], "requestBody": body, "responses": answers(endpoint)}


def with_null(schema: Schema) -> Schema:
    """The schema, with null for every property that may be left out: clients send it, and it means the same."""
    found = dict(schema)
    if "items" in found:
        found["items"] = with_null(found["items"])
    if "anyOf" in found:
        found["anyOf"] = [with_null(option) for option in found["anyOf"]]
    for name, own in schema.get("properties", {}).items():
        own = with_null(own)
        if name not in schema.get("required", ()) and None not in own.get("enum", ()):
            own = {"anyOf": [*own.get("anyOf", [own]), {"type": "null"}]}
        found["properties"] = found["properties"] | {name: own}
    return found


def update() -> dict:
    schema = {"type": "object", "additionalProperties": False, "properties": FIELDS, "required": list(FIELDS)}
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"summary": "Other weights from now on", "requestBody": body, "responses": answers("")}


def answers(endpoint: str) -> dict:
    kinds = ["application/json"] + (["text/event-stream"] if endpoint in (CHAT, TEXT, RESPONSES) else [])
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    refusals = {status: {"description": why, "content": error} for status, why in REFUSALS.items()}
    return {
        "200": {"description": "The answer", **({"content": {k: {} for k in kinds}} if endpoint else {})}
    } | refusals


def table() -> str:
    """The parameters as Markdown: what each does, and why those that are refused are."""
    short = {CHAT: "chat", TEXT: "completions", RESPONSES: "responses", TOKENIZE: "tokenize", DETOKENIZE: "detokenize"}
    lines = ["| parameter | where | what it does |", "| --- | --- | --- |"]
    for row in PARAMETERS:
        where = ", ".join(short[endpoint] for endpoint in row.endpoints)
        lines.append(f"| `{row.name}` | {where} | {row.help} |")
    lines += ["", "| refused | where | why |", "| --- | --- | --- |"]
    for row in REFUSED:
        lines.append(f"| `{row.name}` | {', '.join(short[e] for e in row.endpoints)} | {row.why} |")
    return "\n".join(lines) + "\n"
