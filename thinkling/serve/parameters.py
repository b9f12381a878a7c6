"""Every parameter that the server knows, in one table: what it takes, what it does, or why it is refused.

Checks, the OpenAPI schema, the guide's table and the tests read these rows, so none can say what another does not do.
A parameter that is in no row is refused by name; so is one whose row says why, unless its value asks for nothing.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from thinkling.serve.refusals import bad
from thinkling.serve.schema import Schema, check

CHAT, TEXT, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
TOKENIZE, DETOKENIZE = "/tokenize", "/detokenize"
MOST_CHOICES, MOST_TOP, MOST_STOPS, MOST_PROMPTS = 128, 20, 16, 128
# Which part of the reply's tokens may be thinking, so that there is room left for the answer. xhigh: as much as comes.
EFFORTS = {"none": 0.0, "minimal": 1 / 8, "low": 1 / 4, "medium": 1 / 2, "high": 3 / 4, "xhigh": 1.0}


@dataclass(frozen=True)
class Parameter:
    """schema: what values it takes. help: what it does. default: of a request that does not give it; null is the same.

    why: of a parameter that is refused, the reason; nothing: values of it that ask for nothing, and so are taken.
    method: has it a meaning where a method answers (MODEL+vote@8)?
    """

    name: str
    endpoints: tuple[str, ...]
    schema: Schema
    help: str = ""
    default: Any = None
    why: str = ""
    nothing: tuple = ()
    method: bool = False


INTEGER, NUMBER, FLAG, STRING = ({"type": kind} for kind in ("integer", "number", "boolean", "string"))
COUNT = {"type": "integer", "minimum": 1, "maximum": 10_000_000}
TOP = {"type": "integer", "minimum": 0, "maximum": MOST_TOP}
EFFORT = {"type": "string", "enum": list(EFFORTS)}
TOKENS = {"type": "array", "items": {"type": "integer"}, "minItems": 1}
PROMPT = {"anyOf": [STRING, TOKENS, {"type": "array", "items": STRING, "minItems": 1, "maxItems": MOST_PROMPTS},
                    {"type": "array", "items": TOKENS, "minItems": 1, "maxItems": MOST_PROMPTS}]}  # fmt: skip
STOPS = {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": MOST_STOPS}


def record(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


NOTHING = {"enum": [None, "", [], {}]}  # of fields that clients send back with a reply, and that are empty here
PART = {"type": "array", "items": {"type": "object"}}
MESSAGE = record(
    role={"type": "string", "enum": ["system", "developer", "user", "assistant"]}, content={"anyOf": [STRING, PART]},
    reasoning=STRING, reasoning_content=STRING, name=STRING,
    type={"type": "string", "enum": ["text", "message"]},  # lm-evaluation-harness says of each that it is text
    **dict.fromkeys(("refusal", "tool_calls", "annotations", "audio", "function_call"), NOTHING),
) | {"required": ["role"]}  # fmt: skip
FORMAT = record(type={"type": "string", "enum": ["text"]})
ALL, BOTH, WORDS = (CHAT, TEXT, RESPONSES), (CHAT, TEXT), (TOKENIZE, DETOKENIZE)

PARAMETERS = (
    Parameter("model", (*ALL, *WORDS), STRING, "a name of /v1/models; the served model if left out", method=True),
    Parameter("messages", (CHAT,), {"type": "array", "items": MESSAGE, "minItems": 1},
              "the chat; if the last message is the assistant's, the reply continues it", method=True),
    Parameter("prompt", (TEXT,), PROMPT, "a text, token ids, or a list of either"),
    Parameter("input", (RESPONSES,), {"anyOf": [STRING, {"type": "array", "items": {"type": "object"}, "minItems": 1}]},
              "a text, or items: messages and reasoning", method=True),
    Parameter("instructions", (RESPONSES,), STRING, "a system message in front of the input", method=True),
    Parameter("n", BOTH, {"type": "integer", "minimum": 1, "maximum": MOST_CHOICES},
              "choices; the first is the one that n = 1 gives", 1, method=True),
    Parameter("user", ALL, STRING,
              "who asks, if several share one address: where more is asked than fits at once, clients take turns",
              method=True),
    Parameter("stream", ALL, FLAG, "send the answer as it grows, as server-sent events", False, method=True),
    Parameter("stream_options", BOTH, record(include_usage=FLAG),
              "include_usage: a last chunk counts the tokens", method=True),
    Parameter("stop", BOTH, {"anyOf": [{"type": "string", "minLength": 1}, STOPS]},
              "texts that end the answer and are cut off; in a chat they are not looked for in thinking"),
    Parameter("seed", ALL, {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
              "where the random numbers begin; the same request with the same seed has the same answer", method=True),
    Parameter("temperature", ALL, {"type": "number", "minimum": 0, "maximum": 100},
              "divides the logits; 0 is greedy; else as the checkpoint recommends, or 1", method=True),
    Parameter("top_p", ALL, {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
              "keeps the smallest set of tokens with this much probability", method=True),
    Parameter("top_k", ALL, {"type": "integer", "minimum": -1, "maximum": 10_000_000},
              "keeps the k likeliest tokens; 0 and -1 keep all", method=True),
    Parameter("min_p", ALL, {"type": "number", "minimum": 0, "maximum": 1},
              "drops tokens below this share of the likeliest's probability", method=True),
    Parameter("presence_penalty", BOTH, {"type": "number", "minimum": -2, "maximum": 2},
              "taken from the logit of a token that the reply has", method=True),
    Parameter("frequency_penalty", BOTH, {"type": "number", "minimum": -2, "maximum": 2},
              "taken once per time that the reply has it", method=True),
    Parameter("repetition_penalty", BOTH, {"type": "number", "minimum": 0.1, "maximum": 9},
              "divides the logit of what prompt or reply has", method=True),
    Parameter("max_tokens", (CHAT,), COUNT, "the old name of max_completion_tokens", method=True),
    Parameter("max_completion_tokens", (CHAT,), COUNT,
              "tokens of the reply at most, thinking included; else what the context leaves", method=True),
    Parameter("max_tokens", (TEXT,), {"type": "integer", "minimum": 0, "maximum": 10_000_000},
              "tokens of the completion at most; 0 only scores the prompt", 16),
    Parameter("max_output_tokens", (RESPONSES,), COUNT,
              "tokens of the reply at most, thinking included; else what the context leaves", method=True),
    Parameter("logprobs", (CHAT,), FLAG, "tell each token's log-probability, at temperature 1 and before cuts", False),
    Parameter("top_logprobs", (CHAT,), TOP, "and this many of the likeliest tokens in its place"),
    Parameter("logprobs", (TEXT,), TOP, "tell each token's log-probability, and this many of the likeliest"),
    Parameter("top_logprobs", (RESPONSES,), TOP, "with include: this many of the likeliest tokens in each place"),
    Parameter("include", (RESPONSES,),
              {"type": "array", "items": {"type": "string", "enum": ["message.output_text.logprobs"]}},
              "message.output_text.logprobs: tell the log-probabilities of the answer's tokens"),
    Parameter("echo", (TEXT,), FLAG, "the text begins with the prompt, and so do the log-probabilities", False),
    Parameter("prompt_logprobs", BOTH, TOP, "score the prompt's tokens, and tell this many of the likeliest"),
    Parameter("return_token_ids", BOTH, FLAG, "tell the ids of the prompt and of the sampled tokens", False),
    Parameter("chat_template_kwargs", (CHAT,), record(enable_thinking=FLAG),
              "enable_thinking: may the model think before it answers? No other key is taken", method=True),
    Parameter("reasoning_effort", (CHAT,), EFFORT,
              "a budget for thinking, as a part of the reply's tokens; none switches it off"),
    Parameter("reasoning", (RESPONSES,), record(effort=EFFORT), "effort: a budget for thinking"),
    Parameter("separate_reasoning", (CHAT,), FLAG,
              "true: thinking in reasoning and reasoning_content; false: in the content, with its tags", True),
    Parameter("continue_final_message", (CHAT,), FLAG,
              "false: a last message of the assistant's is complete, and a new one begins", True),
    Parameter("text", (RESPONSES,), record(format=FORMAT), "only plain text", method=True),
    Parameter("truncation", (RESPONSES,), {"type": "string", "enum": ["auto", "disabled"]},
              "auto drops the oldest turns that do not fit; disabled refuses the request", "disabled", method=True),
    Parameter("metadata", (RESPONSES,), {"type": "object"}, "given back with the response", method=True),
    Parameter("prompt", (TOKENIZE,), STRING, "a text; control tokens in it are ordinary characters"),
    Parameter("messages", (TOKENIZE,), {"type": "array", "items": MESSAGE, "minItems": 1}, "or a chat, as it is read"),
    Parameter("chat_template_kwargs", (TOKENIZE,), record(enable_thinking=FLAG), "of the chat"),
    Parameter("return_token_strs", (TOKENIZE,), FLAG, "tell each token's text too", False),
    Parameter("tokens", (DETOKENIZE,), TOKENS, "token ids"),
)  # fmt: skip

NO_TOOLS, STATELESS = "no tools are called here", "nothing is kept between requests: send the whole conversation"
REFUSED = tuple(
    Parameter(name, endpoints, {}, why=why, nothing=nothing, method=True)
    for name, endpoints, why, nothing in (
        ("store", (CHAT, RESPONSES), STATELESS, (False,)),
        ("previous_response_id", (RESPONSES,), STATELESS, ()),
        ("conversation", (RESPONSES,), STATELESS, ()),
        ("prompt", (RESPONSES,), "no prompts are kept here: send the text as input", ()),
        ("background", (RESPONSES,), STATELESS, (False,)),
        ("tools", (CHAT, RESPONSES), NO_TOOLS, ([],)),
        ("tool_choice", (CHAT, RESPONSES), NO_TOOLS, ("none", "auto")),
        ("functions", (CHAT,), NO_TOOLS, ([],)),
        ("function_call", (CHAT,), NO_TOOLS, ("none", "auto")),
        ("parallel_tool_calls", (CHAT, RESPONSES), NO_TOOLS, (True, False)),
        ("max_tool_calls", (RESPONSES,), NO_TOOLS, ()),
        ("response_format", (CHAT,), "answers are plain text", ({"type": "text"},)),
        ("verbosity", (CHAT,), "ask for the length in words", ()),
        ("modalities", (CHAT,), "answers are text", (["text"],)),
        ("audio", (CHAT,), "answers are text", ()),
        ("prediction", (CHAT,), "guesses are made from the text itself (serve --speculate)", ()),
        ("web_search_options", (CHAT,), NO_TOOLS, ()),
        ("logit_bias", BOTH, "logits are not changed here, but for penalties", ({},)),
        ("best_of", (TEXT,), "ask for n choices, or the model MODEL+best@N", (1,)),
        ("suffix", (TEXT,), "the model only writes forward", ("",)),
        ("metadata", (CHAT,), STATELESS, ({},)),
        ("safety_identifier", (CHAT, RESPONSES), "use user instead: it decides whose turn it is", ("",)),
        ("prompt_cache_key", (CHAT, RESPONSES), "every prompt is looked for among all earlier ones", ("",)),
        ("prompt_cache_retention", (CHAT, RESPONSES), STATELESS, ()),
        ("service_tier", (CHAT, RESPONSES), "there is one tier", ("auto", "default")),
        ("chat_template", (CHAT,), "a template from a request is never used", ()),
        ("add_generation_prompt", (CHAT,), "say continue_final_message", (True,)),
    )
)


def of_endpoint(endpoint: str) -> dict[str, Parameter]:
    """The endpoint's parameters by name, those that it refuses too."""
    return {row.name: row for row in PARAMETERS + REFUSED if endpoint in row.endpoints}


def read(body: Any, endpoint: str) -> dict[str, Any]:
    """The values of a request's parameters, defaults put in. Raises ApiError that names the first wrong one."""
    if not isinstance(body, dict):
        raise bad(None, "the body must be a JSON object")
    known = of_endpoint(endpoint)
    for name, value in body.items():
        row = known.get(name)
        if row is None:
            near = get_close_matches(name, known, 1)
            hint = f": did you mean {near[0]}?" if near else ""
            raise bad(name[:SHOWN_NAME], f"this parameter is not known{hint}")
        if value is None:
            continue
        if row.why:
            if not any(type(value) is type(none) and value == none for none in row.nothing):
                raise bad(name, f"not offered: {row.why}")
        else:
            check(row.schema, value, name)
    return {name: row.default if body.get(name) is None else body[name] for name, row in known.items() if not row.why}


SHOWN_NAME = 60  # characters of a name that is not known
