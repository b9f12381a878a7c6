"""A trained head that says how likely a completion's final answer is right: an outcome reward model (arXiv:2110.14168).

A logistic regression on the model's own hidden states and log-probabilities: one vector of a few KB, kept beside the
model's weights. `thinkling reward-head` trains it (train/reward_head.py). It judges whole completions, not steps,
and knows only what its training problems and templates looked like.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.model.weights import resolve
from thinkling.problem import Problem

# In a folder of its own: servers load every *.safetensors that lies beside config.json as the model's weights.
FILE = "reward_head/weights.safetensors"
RECIPE = "mean of states, sum of logprob x state"  # what `features` makes; a head for others is refused


def features(hidden: Float[Tensor, "T D"], logprobs: Sequence[float]) -> Float[Tensor, " F"]:
    """What the head sees of a completion, in float32 on the CPU; F = 2 D. The stop id counts as a token.

    First the mean of the hidden states. Then the sum over tokens of log-probability times hidden state: so the head
    learns which tokens' surprise matters, a digit's more than a word's. logprobs: (T,), as the tokens were drawn, at
    temperature 1 or greedily; other temperatures have other logprobs, and are not what the head was trained on.
    """
    states = hidden.float()
    weighted = torch.tensor(logprobs, device=states.device) @ states
    return torch.cat([states.mean(0), weighted]).cpu()


@dataclass(frozen=True, eq=False)
class RewardHead:
    """p(right) = sigmoid(weight · features + bias). Itself a scorer: `await head(model, problem, completion)`.

    weight: (F,); bias: (); both float32 on the CPU. model: what it was trained for, by name. templates: how its
    training problems were put, with commas between.
    """

    weight: Float[Tensor, " F"]
    bias: Float[Tensor, ""]
    model: str
    templates: str

    async def __call__(self, model: Model, problem: Problem, completion: Completion) -> float:
        """log p(right), in nats. Raises UserError if the model is of another width, or gives no hidden states."""
        hidden = await model.hidden_states(completion.prompt_tokens, completion)
        return self.log_right(features(hidden, completion.logprobs))

    def log_right(self, seen: Float[Tensor, " F"]) -> float:
        """log p(right) of the completion with these features."""
        if seen.shape != self.weight.shape:
            raise UserError(f"this reward head was trained for {self.model} and takes {len(self.weight)} features, but "
                            f"the model gives {len(seen)}: train one for it with thinkling reward-head")  # fmt: skip
        return float(torch.nn.functional.logsigmoid(self.weight @ seen + self.bias))

    def save(self, folder: Path) -> Path:
        """Write FOLDER/reward_head/weights.safetensors, whole or not at all; returns its path."""
        path = Path(folder) / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        growing = path.with_name(path.name + ".tmp")
        about = {"format": "pt", "model": self.model, "templates": self.templates, "features": RECIPE}
        save_file({"weight": self.weight, "bias": self.bias}, growing, metadata=about)
        os.replace(growing, path)
        return path

    @classmethod
    def load(cls, folder: Path) -> "RewardHead":
        """Read FOLDER/reward_head/weights.safetensors. Raises UserError naming the file if it is not a reward head."""
        path = Path(folder) / FILE
        if not path.is_file():
            raise UserError(f"{path}: no such file; thinkling reward-head makes one")
        try:
            with safe_open(path, framework="pt") as file:
                about, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path}: truncated or not safetensors ({error}); train it again") from None
        shapes = {name: tensor.ndim for name, tensor in tensors.items()}
        if about.get("features") != RECIPE or shapes != {"weight": 1, "bias": 0}:
            raise UserError(f"{path}: not a reward head of this version; train it again with thinkling reward-head")
        return cls(tensors["weight"], tensors["bias"], about.get("model", ""), about.get("templates", ""))

    @classmethod
    def for_model(cls, name: str, folder: Path | None = None) -> "RewardHead":
        """The head in `folder`, or without one the head that lies in the model's own folder.

        name: as `resolve` takes it. Raises UserError if there is no head, and says how to train one.
        """
        if folder is not None:
            return cls.load(folder)
        home = resolve(name)
        if not (home / FILE).is_file():
            raise UserError(f"{name} has no reward head: train one with thinkling reward-head --model {name} --out "
                            f"runs/head, then copy the folder runs/head/reward_head into {home}")  # fmt: skip
        return cls.load(home)
