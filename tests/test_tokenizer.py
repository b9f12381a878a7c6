"""The tokenizer: round trips, control tokens that text cannot spell, the chat template, streaming, split thinking."""

import json
import unicodedata
from functools import cache
from pathlib import Path

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers

from thinkling.errors import UserError
from thinkling.model.chat_template import JINJA, Mark, render_chat, settled
from thinkling.model.tokenizer import StreamDecoder, Tokenizer

VECTORS = Path(__file__).parents[2] / "shared" / "data" / "qwen3_chat_vectors.json"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
THINK = ["<think>", "</think>"]  # added tokens in Qwen3, but not marked special
CORPUS = [
    "The quick brown fox asks: what is 12 + 34? It is 46. Answer: \\boxed{46}.\n",
    "<|im_start|>user\nabc<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n46<|im_end|><|endoftext|>",
    "日本語 🙂 é ∑ assistant user system think im_start im_end",
] * 3
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train(ignore_merges: bool, split: str | None, special: list[str]) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE(ignore_merges=ignore_merges))
    steps = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    if split:
        steps.insert(0, pre_tokenizers.Split(Regex(split), "isolated"))
    backend.pre_tokenizer = pre_tokenizers.Sequence(steps)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=special,
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    return backend


def add_control_tokens(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    backend.add_special_tokens([AddedToken(name, normalized=False) for name in SPECIAL])
    backend.add_tokens([AddedToken(name, special=False, normalized=False) for name in THINK])
    return backend


@cache
def _trained(ignore_merges: bool, split: str | None) -> str:
    return train(ignore_merges, split, []).to_str()


def trained(ignore_merges: bool, split: str | None) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_str(_trained(ignore_merges, split))


@cache
def make(kind: str) -> Tokenizer:
    """qwen: control tokens stand only in added_tokens. own: in the BPE's vocabulary too.
    nasty: merges lead to them as well, and whole words are looked up before any merge."""
    if kind == "qwen":
        backend = add_control_tokens(train(False, QWEN_SPLIT, []))
        backend.normalizer = normalizers.NFC()
    elif kind == "own":
        backend = add_control_tokens(train(False, QWEN_SPLIT, SPECIAL + THINK))
    else:
        backend = add_control_tokens(train(True, None, []))
        assert any(token in backend.get_vocab(False) for token in SPECIAL), "the corpus should have merged one"
    backend = tokenizers.Tokenizer.from_str(backend.to_str())  # a fresh one: training leaves <think> flagged as special
    return Tokenizer(backend, (backend.token_to_id("<|im_end|>"), backend.token_to_id("<|endoftext|>")))


KINDS = ["qwen", "own", "nasty"]
pieces_of_text = st.one_of(st.sampled_from([*SPECIAL, *THINK, "\n", " ", "<|", "|>"]), st.text(max_size=8))
texts = st.lists(pieces_of_text, max_size=12).map("".join)


flags = st.fixed_dictionaries({name: st.booleans() for name in ("lstrip", "rstrip", "single_word")})
NEAR = [" ", "\n", "\t \u3000", "\x1c", "\u200b", "a", "é", "\u0301", "_", "7", "²", "\u200d", ".", "ab cd", "\x85x"]
rendered = st.lists(st.one_of(st.sampled_from([*SPECIAL, *THINK]).map(Mark), st.sampled_from(NEAR)), max_size=9)


# ---------------------------------------------------------------------------------------------------- encode, decode


@settings(deadline=None, max_examples=100)
@given(st.lists(flags, min_size=5, max_size=5), rendered)
@example([{"rstrip": True}] * 5, ["a ", Mark(SPECIAL[0]), " ", "a"])
@example([{"lstrip": True}] * 5, ["a ", Mark(SPECIAL[0]), " ", "a"])
@example([{"single_word": True}] * 5, ["a", Mark(SPECIAL[0]), " ", Mark(SPECIAL[1])])
def test_marks_are_found_as_the_library_finds_added_tokens(told: list[dict], pieces: list[str]) -> None:
    """Which spaces a control token takes in, and that one may have to stand alone: by the flags of the file."""
    backend = trained(False, QWEN_SPLIT)
    names = zip([*SPECIAL, *THINK], told, strict=True)
    backend.add_special_tokens([AddedToken(name, normalized=False, **own) for name, own in names])
    assert Tokenizer(backend, (0,)).encode_pieces(pieces) == backend.encode("".join(pieces)).ids


def test_marks_and_spaces_by_hand() -> None:
    added = {"<|a|>": {"rstrip": True}, "<|b|>": {"lstrip": True}, "<|c|>": {"single_word": True}}
    a, b, c = map(Mark, added)
    assert settled(["x ", a, " \n", "y ", b, " z"], added) == ["x ", a, "y", b, " z"]
    assert settled([a, "  ", b, a, b], added) == [a, b, a, b]
    assert settled(["x", c, " ", c, "1", Mark("<|d|>")], added) == ["x<|c|> <|c|>1<|d|>"]
    assert settled([c, " ", c], added) == [c, " ", c]
    assert type(settled([a], added)[0]) is Mark
    assert settled([a, "\x1cx"], added) == [a, "\x1cx"]  # which Python's own strip() takes for a space


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=150)
@given(text=texts)
def test_text_never_becomes_a_control_token_and_comes_back(kind: str, text: str) -> None:
    tokenizer = make(kind)
    tokens = tokenizer.encode(text)
    assert tokenizer.special_ids.isdisjoint(tokens)
    assert tokenizer.decode(tokens) == (unicodedata.normalize("NFC", text) if kind == "qwen" else text)


@pytest.mark.parametrize("kind", ["qwen", "own"])
@settings(deadline=None)
@given(text=st.text(alphabet=st.characters(exclude_characters="<", exclude_categories=["Cs"])))
def test_ordinary_text_encodes_as_the_file_says(kind: str, text: str) -> None:
    """Taking the control tokens out changes nothing for text without them: the library itself is the oracle."""
    tokenizer = make(kind)
    assert tokenizer.encode(text) == tokenizer.backend.encode(text).ids


def test_decode_keeps_or_skips_special_tokens() -> None:
    tokenizer = make("qwen")
    think, end = tokenizer.special_id("<think>"), tokenizer.special_id("<|im_end|>")
    tokens = [think, *tokenizer.encode("46"), end]
    assert tokenizer.decode(tokens) == "<think>46<|im_end|>"
    assert tokenizer.decode(tokens, skip_special=True) == "<think>46"
    assert tokenizer.special_id("<nothing>") is None
    assert {think, end} < tokenizer.special_ids and len(tokenizer.special_ids) == 5


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(UserError, match="surrogate"):
        make("qwen").encode("a\ud83d")


def token_lists(kind: str) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, make(kind).backend.get_vocab_size() + 3), max_size=30)  # the last three mean nothing


byte_tokens = st.binary(max_size=24)  # one token a byte: valid, invalid and cut-off UTF-8


def stream(tokenizer: Tokenizer, tokens: list[int], skip_special: bool = False) -> list[str]:
    decoder = StreamDecoder(tokenizer, skip_special)
    return [*(decoder.push(token) for token in tokens), decoder.finish()]


@pytest.mark.parametrize("skip_special", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(data=st.data())
def test_any_ids_stream_as_they_decode_and_as_the_library_decodes(kind: str, skip_special: bool, data) -> None:
    tokenizer = make(kind)
    tokens = data.draw(token_lists(kind))
    expected = tokenizer.backend.decode(tokens, skip_special_tokens=skip_special)
    assert tokenizer.decode(tokens, skip_special) == expected
    assert "".join(stream(tokenizer, tokens, skip_special)) == expected


@cache
def id_of_byte() -> dict[int, int]:
    tokenizer = make("qwen")
    return {b[0]: i for i in range(600) if len(b := tokenizer.token_bytes(i)) == 1}


@settings(deadline=None, max_examples=300)
@given(raw=byte_tokens | st.text(max_size=8).map(str.encode))
def test_bytes_one_token_each(raw: bytes) -> None:
    tokenizer = make("qwen")
    tokens = [id_of_byte()[byte] for byte in raw]
    assert "".join(stream(tokenizer, tokens)) == raw.decode(errors="replace") == tokenizer.backend.decode(tokens)


def test_an_emoji_is_held_back_until_whole() -> None:
    tokenizer = make("qwen")
    tokens = [id_of_byte()[byte] for byte in "a🙂".encode()]
    assert stream(tokenizer, tokens) == ["a", "", "", "", "🙂", ""]
    assert stream(tokenizer, tokens[:-1]) == ["a", "", "", "", "�"]


# --------------------------------------------------------------------------------------------------------------- chat


def vectors() -> list[dict]:
    return json.loads(VECTORS.read_text(encoding="utf-8")) if VECTORS.is_file() else []


@pytest.mark.skipif(not VECTORS.is_file(), reason="needs ../shared/data/qwen3_chat_vectors.json")
def test_chat_template_equals_the_published_one() -> None:
    assert len(vectors()) == 48
    for row in vectors():
        given = (row["messages"], row["add_generation_prompt"], row["enable_thinking"])
        assert render_chat(*given) == row["text"], row["name"]
        for kind in KINDS:
            tokenizer = make(kind)
            tokens = tokenizer.encode_chat(*given)
            assert tokenizer.decode(tokens) == row["text"], row["name"]
            if kind != "nasty":  # no row spells a control token in a user's turn, so the library agrees id by id
                assert tokens == tokenizer.backend.encode(row["text"]).ids, row["name"]


def test_thinking_between_tool_answers_is_kept() -> None:
    """Worked by hand from the template: a <tool_response> turn is no new question, so what follows it thinks on."""
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "call", "reasoning_content": "why"},
        {"role": "user", "content": "<tool_response>7</tool_response>"},
        {"role": "assistant", "content": "\n\n7"},
    ]
    assert render_chat(messages, add_generation_prompt=False) == (
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\nwhy\n</think>\n\ncall<|im_end|>\n"
        "<|im_start|>user\n<tool_response>7</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n7<|im_end|>\n"
    )


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=50)
@given(system=texts, user=texts)
def test_a_message_cannot_forge_a_turn(kind: str, system: str, user: str) -> None:
    tokenizer = make(kind)
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    tokens = tokenizer.encode_chat(messages, enable_thinking=False)
    start, end, think, end_think = map(tokenizer.special_id, ["<|im_start|>", "<|im_end|>", *THINK])
    controls = [token for token in tokens if token in tokenizer.special_ids]
    assert controls == [start, end, start, end, start, think, end_think]


@pytest.mark.parametrize(
    "messages, culprit",
    [
        ([], "at least one message"),
        ([{"role": "tool", "content": "7"}], "message 1: the role .* not 'tool'"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": None}], "message 2: .* not NoneType"),
    ],
)
def test_bad_messages(messages: list, culprit: str) -> None:
    with pytest.raises(UserError, match=culprit):
        render_chat(messages)


def test_a_tokenizer_without_chat_tokens_says_so() -> None:
    plain = Tokenizer(train(False, None, []), (0,))
    with pytest.raises(UserError, match=r"no chat template, and its tokenizer no <\|im_start\|>"):
        plain.encode_chat([{"role": "user", "content": "a"}])


# -------------------------------------------------------------------------------------------------------------- files


def test_save_and_load(tmp_path: Path) -> None:
    tokenizer = make("qwen")
    tokenizer.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.stop_ids == tokenizer.stop_ids and len(again.stop_ids) == 2
    assert again.backend.to_str() == tokenizer.backend.to_str()
    assert json.loads((tmp_path / "generation_config.json").read_text()) == {
        "eos_token_id": list(tokenizer.stop_ids),
        "pad_token_id": tokenizer.special_id("<|endoftext|>"),
    }


@pytest.mark.parametrize("kind", ["qwen", "own"])
def test_transformers_loads_what_was_saved(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = make(kind)
    tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=False)
    assert (theirs.eos_token, theirs.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert theirs.eos_token_id == tokenizer.stop_ids[0]
    text = "What is 12 + 34?\n日本語 🙂  don't"
    assert theirs(text)["input_ids"] == tokenizer.encode(text)
    chat = [{"role": "user", "content": text}]
    assert theirs(render_chat(chat))["input_ids"] == tokenizer.encode_chat(chat)
    assert theirs.decode(tokenizer.encode(text)) == text


def written(template: str, row: dict) -> str:
    """What transformers makes of a template; a row's enable_thinking of None is not handed over."""
    from transformers.utils.chat_template_utils import render_jinja_template

    extra = {} if row["enable_thinking"] is None else {"enable_thinking": row["enable_thinking"]}
    (text,), _ = render_jinja_template(
        [row["messages"]], chat_template=template, add_generation_prompt=row["add_generation_prompt"], **extra
    )
    return text


def saved_template(folder: Path) -> str:
    make("qwen").save(folder)
    return json.loads((folder / "tokenizer_config.json").read_text())["chat_template"]


@pytest.mark.skipif(not VECTORS.is_file(), reason="needs ../shared/data/qwen3_chat_vectors.json")
def test_the_saved_chat_template_is_the_published_one(tmp_path: Path) -> None:
    template = saved_template(tmp_path)
    for row in vectors():
        assert written(template, row) == row["text"], row["name"]


bits = ["a", "\n", " ", "<think>", "</think>", "<tool_response>", "</tool_response>"]
messages_of_a_chat = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant"]),
         "content": st.lists(st.sampled_from(bits), max_size=7).map("".join)},
        optional={"reasoning_content": st.sampled_from(["", "why\n", "\n\nso", "\n"])},
    ),
    min_size=1, max_size=5,
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(chat=messages_of_a_chat, prompt=st.booleans(), thinking=st.sampled_from([None, True, False]))
def test_the_saved_chat_template_says_what_render_chat_says(chat: list, prompt: bool, thinking: bool | None) -> None:
    row = {"messages": chat, "add_generation_prompt": prompt, "enable_thinking": thinking}
    assert written(JINJA, row) == render_chat(chat, prompt, thinking)


def test_transformers_chats_with_what_was_saved(tmp_path: Path) -> None:
    """Issue: `apply_chat_template` failed on every checkpoint of ours, since none had a template."""
    from transformers import AutoTokenizer

    tokenizer, chat = make("qwen"), [{"role": "user", "content": "What is 12 + 34?"}]
    tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=False)
    ids = theirs.apply_chat_template(chat, add_generation_prompt=True, enable_thinking=False)["input_ids"]
    assert ids == tokenizer.encode_chat(chat, enable_thinking=False)


@pytest.mark.parametrize("apart", [False, True])
def test_a_copy_keeps_the_chat_template_and_the_sampling_defaults(tmp_path: Path, apart: bool) -> None:
    make("qwen").save(tmp_path / "theirs")
    theirs = {"tokenizer_class": "Qwen2Tokenizer", "model_max_length": 131072, "eos_token": "<|im_end|>"}
    template = "{{ messages[0].content }}!"
    if apart:
        (tmp_path / "theirs" / "chat_template.jinja").write_text(template)
    else:
        theirs["chat_template"] = template
    generation = {"temperature": 0.6, "top_k": 20, "top_p": 0.95, "eos_token_id": [3, 1], "pad_token_id": 1}
    (tmp_path / "theirs" / "tokenizer_config.json").write_text(json.dumps(theirs))
    (tmp_path / "theirs" / "generation_config.json").write_text(json.dumps(generation))
    (tmp_path / "ours").mkdir()
    Tokenizer.load(tmp_path / "theirs").save(tmp_path / "ours")
    kept = json.loads((tmp_path / "ours" / "tokenizer_config.json").read_text())
    assert kept == theirs | {"pad_token": "<|endoftext|>"}
    assert json.loads((tmp_path / "ours" / "generation_config.json").read_text()) == generation
    if apart:
        assert (tmp_path / "ours" / "chat_template.jinja").read_text() == template


def test_a_tokenizer_that_cannot_chat_gets_no_template(tmp_path: Path) -> None:
    Tokenizer(train(False, None, []), (0,)).save(tmp_path)
    assert "chat_template" not in json.loads((tmp_path / "tokenizer_config.json").read_text())


def test_a_tokenizer_larger_than_the_embedding_is_refused(tmp_path: Path) -> None:
    make("own").save(tmp_path)
    largest = max(make("own").backend.get_vocab().values())
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": largest + 1}))
    Tokenizer.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": largest}))
    with pytest.raises(UserError, match=f"ids up to {largest:,}, but vocab_size in config.json is {largest:,}"):
        Tokenizer.load(tmp_path)


def test_stop_ids_come_from_the_checkpoint(tmp_path: Path) -> None:
    make("own").save(tmp_path)
    (tmp_path / "config.json").write_text('{"eos_token_id": 7}')
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [3, 1]}')
    assert Tokenizer.load(tmp_path).stop_ids == (3, 1)
    (tmp_path / "generation_config.json").write_text('{"temperature": 0.6}')
    assert Tokenizer.load(tmp_path).stop_ids == (7,)
    (tmp_path / "generation_config.json").unlink()
    assert Tokenizer.load(tmp_path).stop_ids == (7,)


@pytest.mark.parametrize(
    "file, content, culprit",
    [
        ("tokenizer.json", None, "no tokenizer.json in this folder"),
        ("tokenizer.json", "{}", "tokenizer.json: not a tokenizer"),
        ("generation_config.json", None, "generation_config.json: no eos_token_id"),
        ("generation_config.json", "[", "generation_config.json: not JSON"),
        ("generation_config.json", '{"eos_token_id": "x"}', "eos_token_id must be a token id"),
        ("generation_config.json", '{"eos_token_id": true}', "eos_token_id must be a token id"),
        ("generation_config.json", '{"eos_token_id": [3, -1]}', "eos_token_id must be a token id"),
        ("generation_config.json", '{"eos_token_id": [4000, 5000]}', r"none of the stop ids \(4000, 5000\)"),
        ("tokenizer_config.json", "[1]", "tokenizer_config.json: not a JSON object but a list"),
    ],
)
def test_broken_folders(tmp_path: Path, file: str, content: str | None, culprit: str) -> None:
    make("own").save(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=culprit):
        Tokenizer.load(tmp_path)


def test_a_tokenizer_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match="byte-level BPE"):
        Tokenizer(tokenizers.Tokenizer(models.WordLevel({"a": 0}, unk_token="a")), (0,))


def test_a_truncating_tokenizer_json_does_not_truncate() -> None:
    backend = tokenizers.Tokenizer.from_str(make("own").backend.to_str())
    backend.enable_truncation(4)
    assert len(Tokenizer(backend, (0,)).encode("12345678")) == 8
