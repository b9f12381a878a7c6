"""Text to token ids and back: a checkpoint's tokenizer, its chat template, streaming.

One rule runs through the file: a control token such as <|im_start|> is an id that the chat template puts in, never
something that text can spell. Left out: tokenizers other than byte-level BPE.
"""

import codecs
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import tokenizers

from thinkling.errors import FatalError, UserError
from thinkling.model.chat_template import END, END_THINK, JINJA, START, THINK, Mark, chat_pieces, settled
from thinkling.model.config_file import read_object, read_text
from thinkling.model.gguf_file import read_gguf
from thinkling.model.gguf_network import gguf_config
from thinkling.model.gguf_tokenizer import gguf_backend, gguf_kept, gguf_stop_ids
from thinkling.model.jinja_template import JinjaTemplate
from thinkling.runs import write_json, write_text

# What a checkpoint says beside its tokenizer.json: how others tokenize, chat and sample by default.
KEPT_JSON, KEPT_JINJA = ("tokenizer_config.json", "generation_config.json"), "chat_template.jinja"
CONFIG = "config.json"


class Tokenizer:
    """Encodes and decodes with a `tokenizer.json`.

    stop_ids: the ids that end a completion.
    special_ids: every added token of the file (in Qwen3 also <think>); `encode` never produces one.
    num_ids: all ids are below it.
    first_ids: what the file puts before a text that is no chat (Llama's <|begin_of_text|>); () for most.
    kept: of the checkpoint that it came from, the files of KEPT_JSON and KEPT_JINJA by name; a copy gets them too.
    """

    def __init__(
        self, backend: tokenizers.Tokenizer, stop_ids: tuple[int, ...], kept: Mapping[str, dict | str] | None = None
    ) -> None:
        stored = json.loads(backend.to_str())
        if stored["model"]["type"] != "BPE" or (stored["decoder"] or {}).get("type") != "ByteLevel":
            raise UserError("tokenizer.json: not a byte-level BPE; thinkling reads tokenizers of the kind Qwen3 uses")
        self.backend = backend
        self.stop_ids = stop_ids
        self.kept = dict(kept or {})
        self._added = {token["content"]: token for token in stored["added_tokens"]}
        self._id_of_special = {name: token["id"] for name, token in self._added.items()}
        self.special_ids = frozenset(self._id_of_special.values())
        self.num_ids = 1 + max([*stored["model"]["vocab"].values(), *self.special_ids], default=-1)
        self._skipped_ids = frozenset(token["id"] for token in stored["added_tokens"] if token["special"])
        self._text_backend = _without_special(stored, self.special_ids)
        self._bytes_of_id: dict[int, bytes] = {}
        self.first_ids = _before_text(backend, self._text_backend)

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """Read `tokenizer.json`, and the stop ids from generation_config.json or else config.json; or those of a GGUF.

        Raises UserError naming the file that is missing or broken, or a tokenizer with more ids than the network knows.
        """
        folder = Path(folder)
        if folder.suffix.lower() == ".gguf":
            file = read_gguf(folder)
            found = cls(gguf_backend(file), gguf_stop_ids(file), gguf_kept(file))
            _check_ids(folder, found, gguf_config(file).vocab_size)
            return found
        backend = read_backend(folder / "tokenizer.json")
        files: dict = {name: read_object(folder / name) for name in (*KEPT_JSON, CONFIG) if (folder / name).exists()}
        if (folder / KEPT_JINJA).exists():
            files[KEPT_JINJA] = read_text(folder / KEPT_JINJA)
        found = cls(backend, _stop_ids(folder, files), {name: files[name] for name in files if name != CONFIG})
        _check_ids(folder, found, files.get(CONFIG, {}).get("vocab_size"))
        return found

    def save(self, folder: Path) -> None:
        """Write the tokenizer so that `load`, and `transformers.AutoTokenizer`, can read it from the folder.

        A tokenizer that chats and brought no template along gets Qwen3's, by which `encode_chat` goes.
        """
        folder = Path(folder)
        write_text(folder / "tokenizer.json", self.backend.to_str(pretty=True))
        generation: dict = dict(self.kept.get("generation_config.json", {})) | {"eos_token_id": list(self.stop_ids)}
        config: dict = dict(self.kept.get("tokenizer_config.json", {}))
        if not config:
            config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
            if self.stop_ids:
                config["eos_token"] = self.backend.id_to_token(self.stop_ids[0])
        pad_id = self.special_id("<|endoftext|>")  # what Qwen3 pads with
        if pad_id is not None:
            generation.setdefault("pad_token_id", pad_id)
            config.setdefault("pad_token", "<|endoftext|>")
        if KEPT_JINJA in self.kept:
            write_text(folder / KEPT_JINJA, self.kept[KEPT_JINJA])
        elif not config.get("chat_template") and self.template is not None:
            config["chat_template"] = self.template
        write_json(folder / "generation_config.json", generation)
        write_json(folder / "tokenizer_config.json", config)

    @cached_property
    def longest(self) -> int:
        """Bytes of the longest token."""
        return max(map(len, self.backend.get_vocab()))

    def special_id(self, name: str) -> int | None:
        """The id of a control token such as "<think>", or None where this tokenizer has no such token."""
        return self._id_of_special.get(name)

    def encode(self, text: str) -> list[int]:
        """The ids of plain text. "<|im_end|>" in it is ten or so ordinary characters, never the control token."""
        try:
            return self._text_backend.encode(text, add_special_tokens=False).ids
        except (TypeError, UnicodeEncodeError):
            raise UserError("the text holds half a surrogate pair, which is not a character; remove it") from None

    def token_bytes(self, token: int) -> bytes:
        """The bytes that one id stands for, perhaps only part of a character. Ids that mean nothing are empty."""
        if token not in self._bytes_of_id:
            name = self.backend.id_to_token(token) or ""
            plain = token in self.special_ids or not all(char in _BYTE_OF_CHAR for char in name)
            self._bytes_of_id[token] = name.encode() if plain else bytes(_BYTE_OF_CHAR[char] for char in name)
        return self._bytes_of_id[token]

    def decode(self, tokens: Sequence[int], skip_special: bool = False) -> str:
        """The text of the ids; bytes that form no character become U+FFFD.

        `skip_special` leaves out what the file marks as special: <|im_end|>, but in Qwen3 not <think>, which whoever
        reads the text needs in order to tell the thinking from the answer.
        """
        skipped = self._skipped_ids if skip_special else ()
        return b"".join(self.token_bytes(token) for token in tokens if token not in skipped).decode(errors="replace")

    def encode_chat(
        self, messages: Sequence[dict], add_generation_prompt: bool = True, enable_thinking: bool | None = None
    ) -> list[int]:
        """The chat as ids, by the checkpoint's own template: its control tokens by id, everything else by `encode`.

        Raises UserError for a message that the template cannot hold, and where there is no template.
        """
        return self.encode_pieces(self.chat_pieces(messages, add_generation_prompt, enable_thinking))

    def chat_pieces(
        self, messages: Sequence[dict], add_generation_prompt: bool = True, enable_thinking: bool | None = None
    ) -> list[str]:
        """What `encode_chat` encodes: the chat in pieces, control tokens as `Mark`."""
        if self._own_template is not None:
            return self._own_template.pieces(messages, add_generation_prompt, enable_thinking)
        if not self._chats_like_qwen3:
            raise FatalError("this checkpoint has no chat template, and its tokenizer no <|im_start|> token and the "
                             "others of Qwen3's, so it cannot chat; use a plain prompt")  # fmt: skip
        return chat_pieces(messages, add_generation_prompt, enable_thinking)

    @property
    def _chats_like_qwen3(self) -> bool:
        return None not in map(self.special_id, (START, END, THINK, END_THINK))

    @property
    def template(self) -> str | None:
        """The chat template in Jinja, for whoever else reads the checkpoint: its own, or Qwen3's. None: no chat."""
        text = self.kept.get(KEPT_JINJA) or self.kept.get("tokenizer_config.json", {}).get("chat_template")
        if isinstance(text, list):  # several, by name
            text = next((row.get("template") for row in text if isinstance(row, dict) and row.get("name") == "default"),
                        None)  # fmt: skip
        if isinstance(text, str):
            return text
        return JINJA if self._chats_like_qwen3 else None

    @cached_property
    def _own_template(self) -> JinjaTemplate | None:
        """The template that the checkpoint brought along; None for Qwen3's as this package writes it."""
        text, config = self.template, self.kept.get("tokenizer_config.json", {})
        if text is None or text == JINJA:
            return None
        tokens = {key: value for key, value in config.items() if key.endswith("_token")}
        named = {key: value.get("content") if isinstance(value, dict) else value for key, value in tokens.items()}
        return JinjaTemplate(text, self._id_of_special, {k: v for k, v in named.items() if isinstance(v, str)})

    def opens_thinking(self, prompt: Sequence[int]) -> bool:
        """Does this prompt end inside <think>, so that the reply begins with thinking?"""
        return self.decode(prompt[-8:]).rstrip().endswith(THINK)

    @property
    def has_think_tokens(self) -> bool:
        return None not in map(self.special_id, (THINK, END_THINK))

    @property
    def can_think(self) -> bool:
        """Has the model a way to think before it answers: tokens for the tags, or a template that writes them?"""
        return self.has_think_tokens or THINK in (self.template or "")

    def encode_pieces(self, pieces: Sequence[str]) -> list[int]:
        """The ids of texts and marks that follow each other: a `Mark` is its control token, a text never is."""
        tokens: list[int] = []
        for piece in settled(pieces, self._added):
            tokens += [self._added[piece]["id"]] if type(piece) is Mark else self.encode(piece)
        return tokens


def _before_text(backend: tokenizers.Tokenizer, plain: tokenizers.Tokenizer) -> tuple[int, ...]:
    """The ids that the file's post-processor puts in front."""
    if backend.post_processor is None:
        return ()
    whole, text = backend.encode("a").ids, plain.encode("a", add_special_tokens=False).ids
    return tuple(whole[: next((i for i in range(len(whole)) if whole[i : i + len(text)] == text), 0)])


def _without_special(stored: dict, special_ids: frozenset[int]) -> tokenizers.Tokenizer:
    """The same BPE with no control token in it, so that none can come out, whatever the text.

    It is not enough to forget `added_tokens`: a BPE trained with its special tokens holds them in its vocabulary too,
    and merges may lead there.
    """
    model = stored["model"]
    gone = {name for name, token in model["vocab"].items() if token in special_ids}
    pairs = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    merges = [pair for pair in pairs if not gone.intersection((*pair, "".join(pair)))]
    vocab = {name: token for name, token in model["vocab"].items() if name not in gone}
    plain = {"added_tokens": [], "truncation": None, "padding": None, "post_processor": None}
    plain["model"] = model | {"vocab": vocab, "merges": merges}
    return tokenizers.Tokenizer.from_str(json.dumps(stored | plain))


def _byte_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in a byte-level vocabulary (GPT-2, `bytes_to_unicode`)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTE_OF_CHAR = _byte_alphabet()


def read_backend(path: Path) -> tokenizers.Tokenizer:
    text = read_text(path)
    try:
        return tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises a bare Exception
        raise UserError(f"{path}: not a tokenizer ({error})") from None


def _stop_ids(folder: Path, files: Mapping[str, dict]) -> tuple[int, ...]:
    """`eos_token_id` (one id or a list) of generation_config.json, or else of config.json."""
    for name in ("generation_config.json", CONFIG):
        ids = files.get(name, {}).get("eos_token_id")
        found = ids if isinstance(ids, list) else [] if ids is None else [ids]
        if not all(type(token) is int and token >= 0 for token in found):
            raise UserError(f"{folder / name}: eos_token_id must be a token id or a list of them, not {repr(ids)[:60]}")
        if found:
            return tuple(found)
    raise UserError(f"{folder / 'generation_config.json'}: no eos_token_id, nor in config.json; add the stop ids")


def _check_ids(folder: Path, tokenizer: Tokenizer, vocab_size: object) -> None:
    """No id may lie beyond the embedding: that fails late, and on a GPU without a name. Some stop id must exist."""
    path = folder / "tokenizer.json" if folder.is_dir() else folder
    if isinstance(vocab_size, int) and tokenizer.num_ids > vocab_size:
        raise UserError(f"{path}: has ids up to {tokenizer.num_ids - 1:,}, but vocab_size in config.json is "
                        f"{vocab_size:,}: it belongs to another model")  # fmt: skip
    if not any(tokenizer.backend.id_to_token(token) for token in tokenizer.stop_ids):
        raise UserError(f"{path}: knows none of the stop ids {tokenizer.stop_ids}, so no answer would ever end")


# --------------------------------------------------------------------------------------------- reading a completion


class StreamDecoder:
    """Text as its tokens come in: what `push` and `finish` return, joined, is `decode` of all the tokens.

    A character whose bytes are spread over tokens is held back until it is whole. Bytes that can no longer become a
    character come out as U+FFFD; those still waiting at the end do so in `finish`.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special: bool = False) -> None:
        self._tokenizer = tokenizer
        self._skipped = tokenizer._skipped_ids if skip_special else ()
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        return "" if token in self._skipped else self._utf8.decode(self._tokenizer.token_bytes(token))

    @property
    def waits(self) -> bool:
        """Is part of a character held back?"""
        return bool(self._utf8.getstate()[0])

    def finish(self) -> str:
        return self._utf8.decode(b"", final=True)
