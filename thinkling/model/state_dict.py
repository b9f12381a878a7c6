"""The state dict of "Build a Reasoning Model (From Scratch)": its `.pth` files, by Qwen3's names in that book's code.

A pickle can run code while it is read. So it is read with `weights_only=True`, which knows tensors and nothing else,
and in no other way. The shapes say how the network is made; what they cannot say is Qwen3-0.6B's: RoPE's theta, the
context, the norms' epsilon. Left out: other models than Qwen3's dense ones.
"""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from thinkling.errors import UserError
from thinkling.model.config import SIZES, ModelConfig
from thinkling.model.config_file import config_json, config_of_object

LAYER = {  # ours, by the book's name
    "att.W_query.weight": "self_attn.q_proj.weight", "att.W_key.weight": "self_attn.k_proj.weight",
    "att.W_value.weight": "self_attn.v_proj.weight", "att.out_proj.weight": "self_attn.o_proj.weight",
    "att.q_norm.scale": "self_attn.q_norm.weight", "att.k_norm.scale": "self_attn.k_norm.weight",
    "ff.fc1.weight": "mlp.gate_proj.weight", "ff.fc2.weight": "mlp.up_proj.weight",
    "ff.fc3.weight": "mlp.down_proj.weight", "norm1.scale": "input_layernorm.weight",
    "norm2.scale": "post_attention_layernorm.weight",
}  # fmt: skip
TOP = {"tok_emb.weight": "model.embed_tokens.weight", "final_norm.scale": "model.norm.weight",
       "out_head.weight": "lm_head.weight"}  # fmt: skip
COMPILED = "_orig_mod."  # what torch.compile puts before each name


def read_pth(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, by the names that it has. Raises UserError for everything else that a file can be;
    nothing in it is ever run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except pickle.UnpicklingError as error:
        asked = re.search(r"(?:GLOBAL|class) ([\w.]+)", str(error))
        what = f"asks for {asked[1][:60]}" if asked else "is none that torch reads"
        raise UserError(f"{path}: refused: a state dict holds tensors and nothing else, and this pickle {what}, which "
                        "could run code") from None  # fmt: skip
    except Exception as error:  # a broken archive fails in as many ways as it has bytes
        why = (str(error) or "cut off").splitlines()[0][:80]
        raise UserError(f"{path}: not a file that torch.save wrote ({why})") from None
    if not isinstance(found, dict) or not found or not all(isinstance(name, str) for name in found):
        raise UserError(f"{path}: not a state dict, which is tensors by name")
    for name, weight in found.items():
        if not isinstance(weight, Tensor) or not weight.is_floating_point():
            raise UserError(f"{path}: {name[:80]!r} is no tensor of weights but {type(weight).__name__}")
    return {name.removeprefix(COMPILED): weight for name, weight in found.items()}


def renamed(path: Path, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By a checkpoint's names. Raises UserError naming the first that the book's network has not."""
    named = {}
    for name, weight in found.items():
        place = re.fullmatch(r"trf_blocks\.(\d{1,3})\.(.+)", name)
        if place and place[2] in LAYER:
            named[f"model.layers.{place[1]}.{LAYER[place[2]]}"] = weight
        elif name in TOP:
            named[TOP[name]] = weight
        else:
            raise UserError(f"{path}: the key {name[:80]!r} has no place in the book's Qwen3 network")
    return named


def config_of(path: Path, named: Mapping[str, Tensor], rope_theta: float, context: int) -> ModelConfig:
    """The network that these tensors make. Raises UserError naming the key that is missing or of a wrong shape."""
    own = {ours: book for book, ours in TOP.items()}

    def shape(name: str, num: int) -> tuple[int, ...]:
        book = own.get(name) or f"trf_blocks.0.{next(b for b, ours in LAYER.items() if name.endswith(ours))}"
        if name not in named:
            raise UserError(f"{path}: the key {book!r} is missing")
        if named[name].ndim != num or 0 in named[name].shape:
            raise UserError(f"{path}: {book!r} has shape {tuple(named[name].shape)}; wanted are {num} dimensions")
        return tuple(named[name].shape)

    vocab, width = shape("model.embed_tokens.weight", 2)
    first = "model.layers.0."
    (head_dim,) = shape(f"{first}self_attn.q_norm.weight", 1)
    rows = {part: shape(f"{first}self_attn.{part}_proj.weight", 2)[0] for part in "qk"}
    inner = shape(f"{first}mlp.gate_proj.weight", 2)[0]
    head = named.get("lm_head.weight")
    stored = config_json(SIZES["Qwen3-0.6B"], (0,), "float32") | {
        "vocab_size": vocab, "hidden_size": width, "intermediate_size": inner, "head_dim": head_dim,
        "num_attention_heads": rows["q"] // head_dim, "num_key_value_heads": rows["k"] // head_dim,
        "num_hidden_layers": 1 + max(int(name.split(".")[2]) for name in named if name.startswith("model.layers.")),
        "rope_theta": rope_theta, "max_position_embeddings": context,
        "tie_word_embeddings": head is None or torch.equal(head, named["model.embed_tokens.weight"]),
    }  # fmt: skip
    return config_of_object(path, stored)


def book_name(name: str) -> str:
    """The book's name of a checkpoint's tensor, for complaints."""
    place = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", name)
    if place:
        return f"trf_blocks.{place[1]}.{next(book for book, ours in LAYER.items() if ours == place[2])}"
    return next(book for book, ours in TOP.items() if ours == name)


def network_of(path: Path, rope_theta: float, context: int):
    """The network of a `.pth` file of the book's, in the dtype that it is stored in.

    Raises UserError naming the file, the key and both shapes.
    """
    from thinkling.model.transformer import Transformer

    named = renamed(path, read_pth(path))
    config = config_of(path, named, rope_theta, context)
    if config.tie_word_embeddings:
        named.pop("lm_head.weight", None)
    with torch.device("meta"):
        network = Transformer(config)
    expected = dict(network.named_parameters())  # names a tied head once
    for name, weight in expected.items():
        if name not in named:
            raise UserError(f"{path}: the key {book_name(name)!r} is missing")
        if named[name].shape != weight.shape:
            raise UserError(f"{path}: {book_name(name)!r} has shape {tuple(named[name].shape)}; the others ask for "
                            f"{tuple(weight.shape)}")  # fmt: skip
    dtype = named["model.embed_tokens.weight"].dtype
    for name in expected:
        owner, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(owner), leaf, torch.nn.Parameter(named[name].to(dtype)))
    if config.tie_word_embeddings:
        network.lm_head.weight = network.model.embed_tokens.weight
    return network.eval()
