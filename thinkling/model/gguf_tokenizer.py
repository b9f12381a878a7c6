"""The tokenizer and the chat template that a GGUF file carries in its metadata, as a checkpoint's files would say it.

A cut that no name of llama.cpp's has: words as qwen2's, digits with the space before them ("x = 12" is "x", " =", " 1",
"2"), as the built-in models cut. It is written as qwen2, with the tokens " 0" to " 9" user-defined: whatever reads GGUF
takes those out of a text before it cuts the rest. Left out: tokenizers other than byte-level BPE (tokenizer.ggml.model
"gpt2"), and ways to cut text into words that are not listed here.
"""

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

from thinkling.errors import UserError
from thinkling.model.gguf_file import Gguf

CONTROL, USER_DEFINED = 3, 4  # tokenizer.ggml.token_type
ENDS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<|end_of_text|>")  # as llama.cpp knows them by name
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS = {  # tokenizer.ggml.pre: how text is cut before merging
    "qwen2": _WORDS.replace("DIGITS", r"\p{N}"),
    "deepseek-r1-qwen": _WORDS.replace("DIGITS", r"\p{N}"),
    "llama-bpe": _WORDS.replace("DIGITS", r"\p{N}{1,3}"),
    "tekken": _TEKKEN,
}
PLAIN = ("gpt-2", "smollm")  # GPT-2's own cut; SmolLM's takes every digit apart first
WHOLE_FIRST = ("llama-bpe", "tekken")  # a word that is a token stays one, whatever the merges say
SPACED_DIGITS = tuple(f" {digit}" for digit in range(10))


def gguf_backend(file: Gguf) -> tokenizers.Tokenizer:
    """Raises UserError naming the key that is missing, senseless or of an unknown kind."""
    kind, cut = file.metadata.get("tokenizer.ggml.model"), file.metadata.get("tokenizer.ggml.pre")
    if kind != "gpt2":
        raise UserError(f"{file.path}: tokenizer.ggml.model is {kind!r}; thinkling reads 'gpt2', a byte-level BPE")
    if cut not in SPLITS and cut not in PLAIN:
        known = ", ".join([*SPLITS, *PLAIN])
        raise UserError(f"{file.path}: tokenizer.ggml.pre is {repr(cut)[:40]}; thinkling knows {known}")
    names, kinds = _strings(file, "tokens"), file.metadata.get("tokenizer.ggml.token_type")
    if not isinstance(kinds, list) or len(kinds) != len(names) or len(set(names)) != len(names):
        raise UserError(
            f"{file.path}: tokenizer.ggml.tokens and token_type do not fit each other, or one is twice there"
        )
    merges = [tuple(merge.split(" ")) for merge in _strings(file, "merges")]
    spaced = {name for name, own in zip(names, kinds, strict=True) if own == USER_DEFINED and name in SPACED_DIGITS}
    vocab = {f"Ġ{name[1]}" if name in spaced else name: i for i, name in enumerate(names)}
    merges += [("Ġ", name[1]) for name in sorted(spaced)]
    try:
        backend = tokenizers.Tokenizer(models.BPE(vocab, merges, ignore_merges=cut in WHOLE_FIRST))
    except Exception as error:  # the library raises a bare Exception, and TypeError for a merge of three
        raise UserError(f"{file.path}: tokenizer.ggml.merges: {str(error)[:100]}") from None
    backend.pre_tokenizer, backend.decoder = cutter(cut, bool(spaced)), decoders.ByteLevel()
    if cut in ("qwen2", "deepseek-r1-qwen") and not spaced:
        backend.normalizer = normalizers.NFC()
    for wanted, add in ((CONTROL, backend.add_special_tokens), (USER_DEFINED, backend.add_tokens)):
        add([AddedToken(name, normalized=False, special=wanted == CONTROL)
             for name, own in zip(names, kinds, strict=True) if own == wanted and name not in spaced])  # fmt: skip
    first = _token(file, "bos")
    if first is not None and file.metadata.get("tokenizer.ggml.add_bos_token", cut == "llama-bpe"):
        backend.post_processor = processors.TemplateProcessing(
            single=f"{first} $A", pair=f"{first} $A $B:1", special_tokens=[(first, names.index(first))]
        )
    return backend


def cutter(cut: str, spaced: bool = False) -> pre_tokenizers.PreTokenizer:
    """What cuts a text into words; spaced: digits keep the space before them."""
    steps = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=cut in PLAIN)]
    if cut in SPLITS:
        words = SPLITS[cut].replace(r"|\p{N}|", r"| ?[0-9]|\p{N}|") if spaced else SPLITS[cut]
        steps.insert(0, pre_tokenizers.Split(Regex(words), "isolated"))
    elif cut == "smollm":
        steps.insert(0, pre_tokenizers.Digits(individual_digits=True))
    return pre_tokenizers.Sequence(steps)


def gguf_stop_ids(file: Gguf) -> tuple[int, ...]:
    names = _strings(file, "tokens")
    kinds = file.metadata.get("tokenizer.ggml.token_type")
    told = [file.metadata.get(f"tokenizer.ggml.{end}_token_id") for end in ("eos", "eot", "eom")]
    known = [i for i, name in enumerate(names) if name in ENDS and isinstance(kinds, list) and kinds[i] == CONTROL]
    found = [token for token in [*told, *known] if type(token) is int and 0 <= token < len(names)]
    if not found:
        raise UserError(f"{file.path}: no tokenizer.ggml.eos_token_id, so no answer would ever end")
    return tuple(dict.fromkeys(found))


def gguf_kept(file: Gguf) -> dict[str, dict]:
    """What tokenizer_config.json would say."""
    config: dict = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    names = {f"{kind}_token": _token(file, kind) for kind in ("bos", "eos")}
    config |= {key: name for key, name in names.items() if name is not None}
    if isinstance(template := file.metadata.get("tokenizer.chat_template"), str):
        config["chat_template"] = template
    return {"tokenizer_config.json": config}


def _token(file: Gguf, kind: str) -> str | None:
    token, names = file.metadata.get(f"tokenizer.ggml.{kind}_token_id"), _strings(file, "tokens")
    return names[token] if type(token) is int and 0 <= token < len(names) else None


def _strings(file: Gguf, key: str) -> list[str]:
    found = file.metadata.get(f"tokenizer.ggml.{key}")
    if not isinstance(found, list) or not found or not all(isinstance(name, str) for name in found):
        raise UserError(f"{file.path}: tokenizer.ggml.{key} is missing, or no list of texts")
    return found
