"""The network from top to bottom, dense and mixture-of-experts: token ids in, hidden states out, logits on request.

One decoder for all families: what sets them apart are flags of `config.Family`. Module names are the checkpoint's own,
so loading needs no table. What a token sees, and where it stands, the cache knows. Left out: sliding windows, dropout.
Sources: the reports of Qwen3 (arXiv:2505.09388), Qwen2 (arXiv:2407.10671) and Llama 3 (arXiv:2407.21783).

Letters:  B rows,  T new positions,  S positions in all,  V vocabulary,  D width,  H heads,  K key-value heads,
E head width.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from thinkling.model.cache import NoCache
from thinkling.model.config import ModelConfig
from thinkling.model.int8 import projections
from thinkling.model.packed import Cache


class RMSNorm(nn.Module):
    """x / rms(x) * weight, with the mean square taken in float32 (Zhang & Sennrich, arXiv:1910.07467)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "... D"]) -> Float[Tensor, "... D"]:
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return normed.to(x.dtype) * self.weight


def rope_table(
    positions: Int[Tensor, "B T"], config: ModelConfig
) -> tuple[Float[Tensor, "B 1 T E"], Float[Tensor, "B 1 T E"]]:
    """Cosines and sines of the angle position * frequency, in float32 (RoFormer, arXiv:2104.09864, eq. 15)."""
    angles = positions[:, None, :, None].float() * rope_frequencies(config, positions.device)
    angles = torch.cat([angles, angles], dim=-1)  # dimension i turns together with dimension i + E/2
    scale = config.rope_scaling.attention_factor if config.rope_scaling else 1.0
    return angles.cos() * scale, angles.sin() * scale


def rope_frequencies(config: ModelConfig, device: torch.device) -> Float[Tensor, " half_E"]:
    """theta^(-2i/E), slowed where the config scales RoPE for contexts longer than the first training's."""
    exponents = torch.arange(0, config.head_dim, 2, device=device, dtype=torch.float32) / config.head_dim
    frequencies, scaling = config.rope_theta**-exponents, config.rope_scaling
    if scaling is None:
        return frequencies
    slowed = frequencies / scaling.factor
    if scaling.rope_type == "linear":
        return slowed
    if scaling.rope_type == "yarn":
        return torch.lerp(frequencies, slowed, yarn_ramp(config, device))
    # llama3: what turns often within the original context keeps its frequency, what turns seldom is slowed.
    turns = frequencies * scaling.original_max_position_embeddings / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    return torch.lerp(slowed, frequencies, ((turns - low) / (high - low)).clamp(0, 1))


def yarn_ramp(config: ModelConfig, device: torch.device) -> Float[Tensor, " half_E"]:
    """How far each pair of dimensions is slowed, from 0 (it turns `beta_fast` times within the original context, or
    more) to 1 (`beta_slow` times, or less). The bounds are whole pairs, as in YaRN's own code."""
    E, scaling = config.head_dim, config.rope_scaling

    def pair(turns: float) -> float:
        """The pair, counted with fractions, that turns so often: theta^(-2i/E) * context = 2 pi turns."""
        context = scaling.original_max_position_embeddings
        return E * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(config.rope_theta))

    low, high = max(math.floor(pair(scaling.beta_fast)), 0), min(math.ceil(pair(scaling.beta_slow)), E - 1)
    pairs = torch.arange(E // 2, device=device, dtype=torch.float32)
    return ((pairs - low) / (high - low if high != low else 0.001)).clamp(0, 1)


def rotate(
    x: Float[Tensor, "B H T E"], cos: Float[Tensor, "B 1 T E"], sin: Float[Tensor, "B 1 T E"]
) -> Float[Tensor, "B H T E"]:
    left, right = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat([-right, left], dim=-1) * sin.to(x.dtype)


class Attention(nn.Module):
    """Grouped-query attention (arXiv:2305.13245), queries and keys normalised or biased where the family is."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        D, E, family = config.hidden_size, config.head_dim, config.family
        self.layer, self.head_dim = layer, E
        self.q_proj = nn.Linear(D, config.num_attention_heads * E, bias=family.qkv_bias)
        self.k_proj = nn.Linear(D, config.num_key_value_heads * E, bias=family.qkv_bias)
        self.v_proj = nn.Linear(D, config.num_key_value_heads * E, bias=family.qkv_bias)
        self.o_proj = nn.Linear(config.num_attention_heads * E, D, bias=False)
        self.q_norm = RMSNorm(E, config.rms_norm_eps) if family.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(E, config.rms_norm_eps) if family.qk_norm else nn.Identity()

    def forward(self, x: Float[Tensor, "B T D"], rope: tuple[Tensor, Tensor], cache: Cache) -> Float[Tensor, "B T D"]:
        B, T, _ = x.shape
        apart = projections(x, self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (out.view(B, T, -1, self.head_dim) for out in apart)
        q, k, v = (heads.transpose(1, 2) for heads in (self.q_norm(q), self.k_norm(k), v))
        return self.o_proj(cache.attend(self.layer, rotate(q, *rope), rotate(k, *rope), v))


class MLP(nn.Module):
    """SwiGLU: silu(gate) * up, then down (Shazeer, arXiv:2002.05202)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)
        self.activation = F.silu

    def forward(self, x: Float[Tensor, "... D"]) -> Float[Tensor, "... D"]:
        gate, up = projections(x, self.gate_proj, self.up_proj)
        return self.down_proj(self.activation(gate) * up)


class SparseMoE(nn.Module):
    """Each token goes to its `num_experts_per_tok` best experts; their outputs are added, weighted by the router.

    Tokens are sorted by expert, so that each expert reads its own as one matrix; which expert has how many is asked
    once. A GPU multiplies all of them in one kernel and is asked nothing.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_chosen, self.renormalise = config.num_experts_per_tok, config.norm_topk_prob
        self.gate = nn.Linear(config.hidden_size, config.num_experts, bias=False)
        width, inner = config.hidden_size, config.moe_intermediate_size
        self.experts = nn.ModuleList(MLP(width, inner) for _ in range(config.num_experts))
        self.stacks: dict[str, Tensor] = {}

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        flat = x.reshape(-1, x.shape[-1])
        weights, chosen = self.gate(flat).float().softmax(-1).topk(self.num_chosen, dim=-1)
        if self.renormalise:
            weights = weights / weights.sum(-1, keepdim=True)
        chosen, by_number = chosen.sort(dim=-1)  # a token's outputs are added in the order of the experts
        ordered, order = chosen.flatten().sort(stable=True)
        ends = torch.searchsorted(ordered, torch.arange(len(self.experts), device=x.device), right=True)
        found = self.of_experts(flat[order // self.num_chosen], ends)
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=x.device))
        found = found[back].view(len(flat), self.num_chosen, -1) * weights.gather(-1, by_number)[..., None].to(x.dtype)
        return sum(found.unbind(1)).view_as(x)

    def of_experts(self, x: Float[Tensor, "N D"], ends: Int[Tensor, " num_experts"]) -> Float[Tensor, "N D"]:
        """Each row by its expert; those of expert i end at `ends[i]`."""
        if self.groups(x):
            gate, up, down = (self.stacked(name).mT for name in ("gate_proj", "up_proj", "down_proj"))
            ends = ends.int()
            inner = F.silu(torch._grouped_mm(x, gate, offs=ends)) * torch._grouped_mm(x, up, offs=ends)
            return torch._grouped_mm(inner, down, offs=ends)
        counts = ends.diff(prepend=ends.new_zeros(1)).tolist()
        return torch.cat([expert(own) for expert, own in zip(self.experts, x.split(counts), strict=True) if len(own)])

    def groups(self, x: Tensor) -> bool:
        """Can one kernel multiply all experts with such states? Not those with adapters."""
        return can_group(x) and type(self.experts[0].gate_proj) is nn.Linear

    def stacked(self, name: str) -> Float[Tensor, "num_experts out in"]:
        """The experts' matrices of this name in one tensor, whose views they become."""
        own, stack = [getattr(expert, name).weight for expert in self.experts], self.stacks.get(name)
        if stack is None or [stack[i].data_ptr() for i in (0, -1)] != [own[i].data_ptr() for i in (0, -1)]:
            stack = self.stacks[name] = joined(own).view(len(own), *own[0].shape)
        return stack


def joined(parts: Sequence[nn.Parameter]) -> Tensor:
    """Parameters in one tensor, one behind the other. They become views of it: it takes no memory, and who changes one
    changes it. What could be trained still can, even if inference mode asks for this."""
    ends = [one.data_ptr() + one.nbytes for one in parts]
    beside = all(end == one.data_ptr() for end, one in zip(ends, parts[1:], strict=False))
    if beside and len({one.untyped_storage().data_ptr() for one in parts}) == 1:  # they have been joined before
        first, rows = parts[0].data, sum(map(len, parts))
        return first.as_strided((rows, *first.shape[1:]), first.stride())
    with torch.inference_mode(parts[0].is_inference()):
        whole = torch.cat([one.detach() for one in parts])
        for one, part in zip(parts, whole.split([len(one) for one in parts]), strict=True):
            one.data = part
    return whole


def can_group(x: Tensor) -> bool:
    """Is there one kernel for the products of all experts, and is no gradient wanted?"""
    grouped = x.is_cuda and x.dtype == torch.bfloat16 and hasattr(torch, "_grouped_mm")
    return grouped and not torch.is_grad_enabled()


class DecoderLayer(nn.Module):
    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.self_attn = Attention(config, layer)
        sparse = config.is_sparse(layer)
        self.mlp = SparseMoE(config) if sparse else MLP(config.hidden_size, config.intermediate_size)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Float[Tensor, "B T D"], rope: tuple[Tensor, Tensor], cache: Cache) -> Float[Tensor, "B T D"]:
        x = x + self.self_attn(self.input_layernorm(x), rope, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Embedding, layers, final norm: the part that a checkpoint calls `model`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        empty = torch.empty(config.vocab_size, config.hidden_size)  # torch would draw it: on `meta` with its compiler
        self.embed_tokens = nn.Embedding.from_pretrained(empty, freeze=False)
        self.layers = nn.ModuleList(DecoderLayer(config, i) for i in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Transformer(nn.Module):
    """The network. `forward` stops before the output head, so that nobody builds (B, T, V) logits by accident.

    batch_invariant: do a token's bits not depend on the batch (invariant.py)? Whoever makes a cache for it must know.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config, self.batch_invariant = config, False
        self.model = Decoder(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(
        self, tokens: Int[Tensor, "B T"], cache: Cache | None = None, recompute: bool = False
    ) -> Float[Tensor, "B T D"]:
        """Hidden states after the final norm.

        cache: what the tokens follow (see cache.py and packed.py); without one every row starts at position 0. Of a
        KVCache the caller then calls `advance`.
        recompute: keep only what goes into each layer for the backward pass, which then reads the layer again
        (gradient checkpointing, arXiv:1604.06174): much less memory for a third more time.
        """
        cache = NoCache() if cache is None else cache
        rope = rope_table(cache.begin(tokens), self.config)
        x = self.model.embed_tokens(tokens)
        for layer in self.model.layers:
            x = checkpoint(layer, x, rope, cache, use_reentrant=False) if recompute else layer(x, rope, cache)
        return self.model.norm(x)

    def logits(self, hidden: Float[Tensor, "... D"]) -> Float[Tensor, "... V"]:
        return self.lm_head(hidden)

    @property
    def device(self) -> torch.device:
        return self.model.norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in; the matrices may be 8-bit integers (quantize.py)."""
        return self.model.norm.weight.dtype


@torch.no_grad()
def init_weights(model: Transformer, seed: int) -> Transformer:
    """Normal weights of standard deviation 0.02, those that write into the residual stream scaled by depth (GPT-2);
    norms start at one, biases at zero."""
    random = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if weight.ndim < 2:
            weight.fill_(0.0 if name.endswith("bias") else 1.0)
            continue
        std = 0.02
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            std /= (2 * model.config.num_hidden_layers) ** 0.5
        weight.copy_(torch.empty(weight.shape).normal_(0.0, std, generator=random))
    return model
