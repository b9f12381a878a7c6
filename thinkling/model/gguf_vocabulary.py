"""A tokenizer as the metadata of a GGUF file says it: the way back of gguf_tokenizer.py.

llama.cpp knows a way to cut text into words by its name only (`tokenizer.ggml.pre`), so a tokenizer that cuts otherwise
cannot be written. It also leaves out what a tokenizer does before it cuts: Qwen's composes accents (NFC), so that text
which is not composed gets other tokens there.
"""

import json

from thinkling.errors import UserError
from thinkling.model.gguf_tokenizer import (
    CONTROL,
    ENDS,
    PLAIN,
    SPACED_DIGITS,
    SPLITS,
    USER_DEFINED,
    WHOLE_FIRST,
    cutter,
)
from thinkling.model.tokenizer import Tokenizer

NORMAL, UNUSED = 1, 5  # of tokenizer.ggml.token_type, as the others
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
Value = str | int | bool | list[str] | list[int]


def vocabulary(tokenizer: Tokenizer, vocab_size: int) -> dict[str, Value]:
    """The keys `tokenizer.*`. Raises UserError for a tokenizer that llama.cpp has no name for, or that ends, begins or
    normalises in a way that GGUF cannot say."""
    stored = json.loads(tokenizer.backend.to_str())
    cut, spaced = cut_of(stored)
    names = [f"[PAD{i}]" for i in range(vocab_size)]
    kinds = [UNUSED] * vocab_size
    for name, token in stored["model"]["vocab"].items():
        digit = name.replace("Ġ", " ")
        names[token], kinds[token] = (digit, USER_DEFINED) if spaced and digit in SPACED_DIGITS else (name, NORMAL)
    for token in stored["added_tokens"]:
        names[token["id"]] = token["content"]
        kinds[token["id"]] = CONTROL if token["special"] else USER_DEFINED
    if len(set(names)) < vocab_size:
        raise UserError("the tokenizer has two tokens of one name, which GGUF cannot hold")
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in stored["model"]["merges"]]
    merges = [" ".join(pair) for pair in pairs if not (spaced and "".join(pair).replace("Ġ", " ") in SPACED_DIGITS)]
    keys: dict[str, Value] = {
        "model": "gpt2", "pre": cut, "tokens": names, "token_type": kinds, "merges": merges,
        **ends(tokenizer), **first(tokenizer),
    }  # fmt: skip
    padding = tokenizer.special_id("<|endoftext|>")
    keys |= {} if padding is None else {"padding_token_id": padding}
    found = {f"tokenizer.ggml.{key}": value for key, value in keys.items()}
    return found | ({} if tokenizer.template is None else {"tokenizer.chat_template": tokenizer.template})


def cut_of(stored: dict) -> tuple[str, bool]:
    """The name of the cut of this tokenizer.json, and whether its digits keep the space before them."""
    words, whole = steps_of(stored["pre_tokenizer"]), bool(stored["model"].get("ignore_merges"))
    for cut in (*SPLITS, *PLAIN):
        wanted = steps_of(json.loads(cutter(cut).__getstate__()))
        plain, spaced = words, False
        if cut == "qwen2" and len(words) == 2 and r"| ?\p{N}|" in words[0][1]:
            regex = words[0][1].replace(r"| ?\p{N}|", r"|\p{N}|")
            regex = regex if regex.startswith(_CONTRACTIONS) else _CONTRACTIONS + regex
            plain, spaced = [(words[0][0], regex, *words[0][2:]), words[1]], True
        if plain == wanted and whole == (cut in WHOLE_FIRST):
            if (stored["normalizer"] or {"type": "NFC"})["type"] != "NFC":
                raise UserError(f"the tokenizer changes text before it cuts it ({stored['normalizer']['type']}), which "
                                "llama.cpp does not: this model cannot be written as GGUF")  # fmt: skip
            return cut, spaced
    raise UserError("the tokenizer cuts text into words in a way that llama.cpp has no name for (tokenizer.ggml.pre): "
                    f"{str(words)[:80]}...; known are {', '.join([*SPLITS, *PLAIN])}")  # fmt: skip


def steps_of(step: dict | None) -> list[tuple]:
    """What cuts, one step after another, without what changes no token."""
    if step is None:
        return []
    if step["type"] == "Sequence":
        return [found for inner in step["pretokenizers"] for found in steps_of(inner)]
    pattern = step.get("pattern", {})
    kept = ("behavior", "invert", "individual_digits", "add_prefix_space", "use_regex")
    return [(step["type"], pattern.get("Regex", pattern.get("String", "")), *(step.get(key) for key in kept))]


def ends(tokenizer: Tokenizer) -> dict[str, Value]:
    """GGUF has three keys for tokens that end; those that llama.cpp knows by name need none."""
    keys = ("eos_token_id", "eot_token_id", "eom_token_id")
    stop_ids = [token for token in tokenizer.stop_ids if token < tokenizer.num_ids]
    own = [token for token in stop_ids[1:] if tokenizer.backend.id_to_token(token) not in ENDS]
    found = [stop_ids[0], *own]
    if len(found) > len(keys):
        raise UserError(f"the model has {len(found)} tokens that end a reply, and GGUF has room for {len(keys)}")
    return dict(zip(keys, found, strict=False))


def first(tokenizer: Tokenizer) -> dict[str, Value]:
    """The token before every text, if there is one."""
    if len(tokenizer.first_ids) > 1:
        raise UserError(f"the tokenizer puts {len(tokenizer.first_ids)} tokens before a text; GGUF has room for one")
    if tokenizer.first_ids:
        return {"bos_token_id": tokenizer.first_ids[0], "add_bos_token": True}
    told = tokenizer.kept.get("tokenizer_config.json", {}).get("bos_token")
    token = tokenizer.special_id(told.get("content") if isinstance(told, dict) else told) if told else None
    return {"add_bos_token": False} | ({} if token is None else {"bos_token_id": token})
