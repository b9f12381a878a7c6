"""From a request's parameters to what the desk draws: prompts, sampling, and how the reply is to be read.

One function for each endpoint; a chat and a response meet in ChatAsk. How parameters are checked: parameters.py.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from thinkling.errors import UserError
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.generate.thinking_budget import leaves_room
from thinkling.model.chat_template import END_THINK, THINK
from thinkling.scale.methods import Recipe
from thinkling.serve.context import Chat, fitted
from thinkling.serve.desk import Desk, Plan
from thinkling.serve.parameters import EFFORTS
from thinkling.serve.refusals import ApiError, bad
from thinkling.serve.served import Served

SAMPLING = ("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty")
REPLY_SHARE = 4  # without a limit of its own, a reply has at least a quarter of the context


@dataclass(frozen=True)
class ChatAsk:
    """A chat to go on with. length: which parameter limits the reply, and its value, None for no limit. drop: may old
    turns be left out? tell: likeliest tokens to be told, None for no log-probabilities. effort: of EFFORTS, or None."""

    chat: Chat
    parameters: Mapping[str, Any]
    length: tuple[str, int | None]
    n: int = 1
    stops: tuple[str, ...] = ()
    effort: str | None = None
    merged: bool = False
    tell: int | None = None
    told: bool = False
    drop: bool = True


@dataclass(frozen=True)
class Asked:
    """Plans, in the order of the choices; prompts: which of them each choice goes on from. dropped: turns."""

    plans: tuple[Plan, ...]
    dropped: int = 0

    @property
    def num_prompt_tokens(self) -> int:
        """Of each prompt once, however many choices it has."""
        return sum(map(len, dict.fromkeys(plan.prompt for plan in self.plans)))


def sampling_of(parameters: Mapping[str, Any], served: Served, max_tokens: int) -> Sampling:
    given = {name: parameters[name] for name in SAMPLING if parameters.get(name) is not None}
    own = {} if given.get("temperature") == 0 else served.defaults
    values = own | given
    values["top_k"] = max(0, values.get("top_k", 0))
    seed = parameters.get("seed")
    return Sampling(**values, max_tokens=max_tokens, seed=secrets.randbits(48) if seed is None else seed)


def choices(plan: Plan, n: int) -> list[Plan]:
    """So many of a plan, each with a random stream of its own; the first is the plan itself."""
    seed = plan.sampling.seed
    return [replace(plan, sampling=replace(plan.sampling, seed=derive_seed(seed, i))) if i else plan for i in range(n)]


def check_stream(values: Mapping[str, Any]) -> None:
    if values["stream_options"] is not None and not values["stream"]:
        raise bad("stream_options", "needs stream: true")


# --- chats ---


def chat_ask(values: Mapping[str, Any]) -> ChatAsk:
    """Of the parameters of /v1/chat/completions."""
    check_stream(values)
    length = [(name, values[name]) for name in ("max_completion_tokens", "max_tokens") if values[name] is not None]
    if len({value for _, value in length}) > 1:
        raise bad("max_tokens", "says another length than max_completion_tokens: leave it out")
    if values["top_logprobs"] is not None and not values["logprobs"]:
        raise bad("top_logprobs", "needs logprobs: true")
    switch = (values["chat_template_kwargs"] or {}).get("enable_thinking")
    return ChatAsk(
        chat=chat_of(clean(values["messages"], "messages"), switch, values["continue_final_message"]),
        parameters=values, length=length[0] if length else ("max_completion_tokens", None), n=values["n"],
        stops=stops_of(values["stop"]), effort=effort_of(values["reasoning_effort"], switch, "reasoning_effort"),
        merged=not values["separate_reasoning"],
        tell=(values["top_logprobs"] or 0) if values["logprobs"] else None,
        told=values["logprobs"] or values["return_token_ids"],
    )  # fmt: skip


def effort_of(effort: str | None, switch: bool | None, param: str) -> str | None:
    if switch is False and EFFORTS.get(effort or "none", 0.0) > 0:
        raise bad(param, f"{effort} asks for thinking, but enable_thinking is false")
    return effort


def stops_of(stop: str | list[str] | None) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


def clean(messages: Sequence[dict], param: str) -> list[dict]:
    """The messages as templates take them: text content, the thinking under one name, and who speaks (name), which few
    templates write."""
    found = []
    for i, message in enumerate(messages):
        where = f"{param}[{i}]"
        if message.get("role") is None:
            raise bad(f"{where}.role", "is missing")
        role = "system" if message["role"] == "developer" else message["role"]
        names = [name for name in ("reasoning_content", "reasoning") if message.get(name) is not None]
        if names and role != "assistant":
            raise bad(f"{where}.{names[0]}", "only the assistant's messages have thinking")
        if len({message[name] for name in names}) > 1:
            raise bad(f"{where}.reasoning", "says something else than reasoning_content")
        if message.get("content") is None and not names:
            raise bad(f"{where}.content", "is missing")
        text = text_of(message.get("content"), f"{where}.content")
        told = {"name": message["name"]} if message.get("name") is not None else {}
        told |= {"reasoning_content": message[names[0]]} if names else {}
        found.append({"role": role, "content": text} | told)
    return found


def text_of(content: str | list[dict] | None, where: str) -> str:
    """A text that may come in parts."""
    if isinstance(content, str) or content is None:
        return content or ""
    for j, part in enumerate(content):
        if part.get("type") not in ("text", "input_text", "output_text"):
            raise bad(f"{where}[{j}].type", f"only text is read here, not {str(part.get('type'))[:40]!r}")
        if not isinstance(part.get("text"), str):
            raise bad(f"{where}[{j}].text", "must be a text")
    return "".join(part["text"] for part in content)


def chat_of(messages: list[dict], switch: bool | None, goes_on: bool = True) -> Chat:
    """switch: may the model think, None for as it likes. goes_on: is a last message of the assistant's the beginning
    of the reply?"""
    thinking = switch is not False
    if messages[-1]["role"] != "assistant" or not goes_on:
        return Chat(tuple(messages), thinking)
    *before, last = messages
    if not before:
        raise bad("messages", "an assistant's message alone is no chat: begin with the user's")
    said, thought = last["content"], last.get("reasoning_content")
    if thought is None and said.startswith(THINK):
        thought, closes, said = said.removeprefix(THINK).partition(END_THINK)
        said = said.lstrip("\n") if closes else ""
        return Chat(tuple(before), True, said if closes else None, thought)
    return Chat(tuple(before), thinking or thought is not None, said or (None if thought is not None else ""), thought)


async def chat_plans(ask: ChatAsk, served: Served, desk: Desk) -> Asked:
    """What a chat asks of the desk. Raises UserError, with numbers, where the chat does not fit."""
    context = served.model.engine.max_length
    param, limit = ask.length
    if limit is not None and limit >= context:
        raise bad(param, f"{limit:,} tokens leave no room for a message: the context holds {context:,}")
    room = context - (limit or context // REPLY_SHARE)
    chat = replace(ask.chat, thinking=ask.chat.thinking and ask.effort != "none")
    try:
        found = await desk.tokenized(fitted, served.model, chat, room, ask.drop)
    except UserError as error:
        raise ApiError(400, f"messages: {error}", "messages", "context_length_exceeded") from None
    most = limit or context - len(found.tokens)
    budget = thinking_tokens(served, ask.effort, most)
    amid = chat.begun_thinking is not None and chat.begun is None
    opened = amid or (chat.begun is None and served.model.tokenizer.opens_thinking(found.tokens))
    plan = Plan(
        tuple(found.tokens), replace(sampling_of(ask.parameters, served, most), max_thinking_tokens=budget), ask.stops,
        split=True, opened=opened,
        merged=ask.merged, continued=amid, tell=ask.tell, told=ask.told,
    )  # fmt: skip
    return Asked(tuple(choices(plan, ask.n)), found.dropped)


def thinking_tokens(served: Served, effort: str | None, most: int) -> int | None:
    """How many tokens of thinking an effort allows in a reply of `most`; None for as many as come."""
    share, tokenizer = EFFORTS.get(effort, 1.0), served.model.tokenizer
    budget = max(1, int(share * most))
    fits = tokenizer.can_think and leaves_room(tokenizer, budget, most)
    return budget if share < 1 and fits else None


# --- plain completions ---


async def text_plans(values: Mapping[str, Any], served: Served, desk: Desk) -> Asked:
    """What /v1/completions asks: for each prompt, n choices."""
    check_stream(values)
    if values["prompt"] is None:
        raise bad("prompt", "is missing")
    scores = values["echo"] or values["prompt_logprobs"] is not None
    if values["max_tokens"] == 0 and not scores:
        raise bad("max_tokens", "0 asks for nothing, unless echo or prompt_logprobs scores the prompt")
    prompts = [await prompt_tokens(prompt, served, desk) for prompt in several(values["prompt"])]
    context, plans = served.model.engine.max_length, []
    for tokens in prompts:
        if len(tokens) + values["max_tokens"] > context:
            raise ApiError(400, f"prompt: {len(tokens):,} tokens and max_tokens {values['max_tokens']:,} are more than "
                           f"the context holds: {context:,}", "prompt", "context_length_exceeded")  # fmt: skip
        sampling = sampling_of(values, served, max(1, values["max_tokens"]))
        plan = Plan(
            tuple(tokens), sampling, stops_of(values["stop"]), tell=values["logprobs"],
            told=values["logprobs"] is not None or values["return_token_ids"],
        )  # fmt: skip
        plans += choices(plan, values["n"])
    return Asked(tuple(plans))


def several(prompt: Any) -> list[str | list[int]]:
    one = isinstance(prompt, str) or isinstance(prompt[0], int)
    return [prompt] if one else list(prompt)


async def prompt_tokens(prompt: str | list[int], served: Served, desk: Desk) -> list[int]:
    model = served.model
    if not isinstance(prompt, str):
        most = model.network.config.vocab_size
        wrong = next((token for token in prompt if not 0 <= token < most), None)
        if wrong is not None:
            raise bad("prompt", f"{wrong} is no token id: they go from 0 to {most - 1:,}")
        return prompt
    try:
        tokens = await desk.tokenized(model.text_prompt, prompt)
    except UserError as error:
        raise bad("prompt", str(error)) from None
    if not tokens:
        raise bad("prompt", "is empty: give it at least one token")
    return tokens


# --- methods ---


def check_method(recipe: Recipe, values: Mapping[str, Any], rows: Mapping[str, Any]) -> None:
    """Raises ApiError for a parameter that has no meaning where a method answers."""
    for name, value in values.items():
        if value is not None and value != rows[name].default and not rows[name].method:
            raise bad(name, f"has no meaning where a method answers ({recipe.name}): leave it out")
