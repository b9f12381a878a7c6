"""How a checkpoint's makers sample from it: generation_config.json, as far as `Sampling` has it."""

from collections.abc import Mapping
from dataclasses import replace

from thinkling.errors import UserError
from thinkling.generate.sampling import Sampling

NAMES = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


def recommended(generation_config: Mapping) -> dict[str, float]:
    """The sampling parameters by name; {} where the file asks for greedy decoding, or says nothing.

    Raises UserError for a value that cannot be meant.
    """
    if generation_config.get("do_sample") is not True:
        return {}
    found = {name: generation_config[name] for name in NAMES if generation_config.get(name) is not None}
    if found.get("top_k") == -1:  # how some write "off"
        found["top_k"] = 0
    for name, value in found.items():
        if type(value) not in (int, float) or (name == "top_k" and type(value) is not int):
            raise UserError(f"generation_config.json: {name} must be a number, not {repr(value)[:40]}")
    replace(Sampling(), **found)  # raises UserError where one is out of bounds
    return found


def chosen(flags: Mapping[str, float | None], generation_config: Mapping) -> tuple[dict[str, float], str]:
    """What the flags say and, where they say nothing, the checkpoint; and a line that says what was taken from the
    checkpoint ("" for nothing)."""
    given = {name: value for name, value in flags.items() if value is not None}
    own = recommended(generation_config)
    if given.get("temperature") == 0:  # greedy: nothing else means anything
        own = {}
    taken = {name: value for name, value in own.items() if name not in given}
    words = ", ".join(f"{name.replace('_', '-')} {value:g}" for name, value in taken.items())
    return own | given, f"sampling as the checkpoint recommends: {words}" if words else ""


def greedy_thinking(generation_config: Mapping) -> str:
    """A warning for whoever lets a model think greedily that should be sampled, else ""."""
    if not recommended(generation_config):
        return ""
    return ("warning: at temperature 0 this model may repeat itself in its thinking without end; its makers recommend "
            f"temperature {recommended(generation_config).get('temperature', 1):g}")  # fmt: skip
