"""Qwen3 from top to bottom, dense and mixture-of-experts: token ids in, hidden states out, logits on request.

Module names are the checkpoint's own, so loading needs no table. Left out: sliding windows, RoPE scaling, dropout,
none of which the published Qwen3 models use. Source: Qwen3 technical report (arXiv:2505.09388).

Letters:  B rows,  T new positions,  S positions in all,  V vocabulary,  D width,  H heads,  K key-value heads,
E head width.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from thinkling.model.cache import KVCache, Packed
from thinkling.model.config import ModelConfig

ROWS_TO_WRITE_OUT = 16  # from so many rows on, decoding on a CPU writes attention out


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
    positions: Int[Tensor, "B T"], head_dim: int, theta: float
) -> tuple[Float[Tensor, "B 1 T E"], Float[Tensor, "B 1 T E"]]:
    """Cosines and sines of the angle position * theta^(-2i/E), in float32 (RoFormer, arXiv:2104.09864, eq. 15)."""
    exponents = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
    angles = positions[:, None, :, None].float() * theta**-exponents
    angles = torch.cat([angles, angles], dim=-1)  # dimension i turns together with dimension i + E/2
    return angles.cos(), angles.sin()


def rotate(
    x: Float[Tensor, "B H T E"], cos: Float[Tensor, "B 1 T E"], sin: Float[Tensor, "B 1 T E"]
) -> Float[Tensor, "B H T E"]:
    left, right = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat([-right, left], dim=-1) * sin.to(x.dtype)


class Attention(nn.Module):
    """Grouped-query attention with normalised queries and keys."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        D, E = config.hidden_size, config.head_dim
        self.layer, self.head_dim = layer, E
        self.q_proj = nn.Linear(D, config.num_attention_heads * E, bias=False)
        self.k_proj = nn.Linear(D, config.num_key_value_heads * E, bias=False)
        self.v_proj = nn.Linear(D, config.num_key_value_heads * E, bias=False)
        self.o_proj = nn.Linear(config.num_attention_heads * E, D, bias=False)
        self.q_norm = RMSNorm(E, config.rms_norm_eps)
        self.k_norm = RMSNorm(E, config.rms_norm_eps)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        rope: tuple[Tensor, Tensor],
        cache: KVCache | Packed | None,
        mask: Bool[Tensor, "B 1 T S"] | None,
    ) -> Float[Tensor, "B T D"]:
        B, T, _ = x.shape
        q = self.q_norm(self.q_proj(x).view(B, T, -1, self.head_dim)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(B, T, -1, self.head_dim)).transpose(1, 2)
        v = self.v_proj(x).view(B, T, -1, self.head_dim).transpose(1, 2)
        q, k = rotate(q, *rope), rotate(k, *rope)
        if isinstance(cache, Packed):
            return self.o_proj(cache.attend(q, k, v))
        if cache is not None:
            k, v = cache.append(self.layer, k, v)
        if T == 1 and cache is not None:
            # One new token: the heads that share a key-value head stand side by side as "positions" of one
            # attention call, so keys and values are read once and never repeated in memory.
            K = k.shape[1]
            out = attend(q.view(B, K, -1, self.head_dim), k, v, mask).reshape(B, 1, -1)
        else:
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=True)
            out = out.transpose(1, 2).reshape(B, T, -1)
        return self.o_proj(out)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Attention of (B, K, heads of a group, E) over (B, K, S, E), for one new token per row.

    Written out, it is up to 1.7 times as fast as the fused form for many rows on a CPU in float32, and the same to
    rounding.
    """
    if q.device.type != "cpu" or q.dtype != torch.float32 or q.shape[0] < ROWS_TO_WRITE_OUT:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return weights.masked_fill(~mask, float("-inf")).softmax(-1) @ v


class MLP(nn.Module):
    """SwiGLU: silu(gate) * up, then down (Shazeer, arXiv:2002.05202)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Float[Tensor, "... D"]) -> Float[Tensor, "... D"]:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class SparseMoE(nn.Module):
    """Each token goes to its `num_experts_per_tok` best experts; their outputs are added, weighted by the router."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_chosen, self.renormalise = config.num_experts_per_tok, config.norm_topk_prob
        self.gate = nn.Linear(config.hidden_size, config.num_experts, bias=False)
        width, inner = config.hidden_size, config.moe_intermediate_size
        self.experts = nn.ModuleList(MLP(width, inner) for _ in range(config.num_experts))

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        flat = x.reshape(-1, x.shape[-1])
        weights, chosen = self.gate(flat).float().softmax(-1).topk(self.num_chosen, dim=-1)
        if self.renormalise:
            weights = weights / weights.sum(-1, keepdim=True)
        out = torch.zeros_like(flat)
        for i in chosen.unique().tolist():
            token, place = torch.where(chosen == i)
            out.index_add_(0, token, self.experts[i](flat[token]) * weights[token, place, None].to(x.dtype))
        return out.view_as(x)


class DecoderLayer(nn.Module):
    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.self_attn = Attention(config, layer)
        sparse = config.is_sparse(layer)
        self.mlp = SparseMoE(config) if sparse else MLP(config.hidden_size, config.intermediate_size)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        rope: tuple[Tensor, Tensor],
        cache: KVCache | Packed | None,
        mask: Tensor | None,
    ) -> Float[Tensor, "B T D"]:
        x = x + self.self_attn(self.input_layernorm(x), rope, cache, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Embedding, layers, final norm: the part that a checkpoint calls `model`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config, i) for i in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Transformer(nn.Module):
    """The network. `forward` stops before the output head, so that nobody builds (B, T, V) logits by accident."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(
        self, tokens: Int[Tensor, "B T"], cache: KVCache | Packed | None = None, recompute: bool = False
    ) -> Float[Tensor, "B T D"]:
        """Hidden states after the final norm.

        recompute: keep only what goes into each layer for the backward pass, which then reads the layer again
        (gradient checkpointing, arXiv:1604.06174): much less memory for a third more time.

        Without a cache, every row starts at position 0 and attention is causal. With one, the tokens follow what each
        row already holds; the caller then calls `cache.advance`. Rows padded on the right are fine: no earlier
        position ever sees the padding, and what is stored for it is overwritten by the row's next token.
        """
        B, T = tokens.shape
        positions = torch.arange(T, device=tokens.device).expand(B, T)
        mask = None
        if isinstance(cache, Packed):
            positions = cache.positions
        elif cache is not None:
            positions = positions + cache.lengths[:, None]
            places = torch.arange(cache.max_length, device=tokens.device)
            mask = places <= positions[:, None, :, None]  # (B, 1, T, S): a token sees itself and what came before
        rope = rope_table(positions, self.config.head_dim, self.config.rope_theta)
        x = self.model.embed_tokens(tokens)
        for layer in self.model.layers:
            if recompute:
                x = checkpoint(layer, x, rope, cache, mask, use_reentrant=False)
            else:
                x = layer(x, rope, cache, mask)
        return self.model.norm(x)

    def logits(self, hidden: Float[Tensor, "... D"]) -> Float[Tensor, "... V"]:
        return self.lm_head(hidden)

    @property
    def device(self) -> torch.device:
        return self.model.embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.embed_tokens.weight.dtype


@torch.no_grad()
def init_weights(model: Transformer, seed: int) -> Transformer:
    """Normal weights of standard deviation 0.02; those that write into the residual stream scaled by depth (GPT-2)."""
    random = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if weight.ndim < 2:
            weight.fill_(1.0)
            continue
        std = 0.02
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            std /= (2 * model.config.num_hidden_layers) ** 0.5
        weight.copy_(torch.empty(weight.shape).normal_(0.0, std, generator=random))
    return model
