"""Small random models that every test file can use. Shapes in signatures are checked while the tests run."""

import os
import random

import pytest
import shapes
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

FLOORS = [
    "model",
    "verify",
    "tasks",
    "generate",
    "scale",
    "evaluate",
    "report",
    "train",
    "serve",
]

shapes.check_each_kind_once()
with install_import_hook([f"thinkling.{floor}" for floor in FLOORS], "shapes.check"):
    from thinkling.generate.language_model import LanguageModel
    from thinkling.model.config import ModelConfig
    from thinkling.model.tokenizer import Tokenizer
    from thinkling.model.transformer import Transformer, init_weights
    from thinkling.train.pretrain.bpe import STOP_TOKENS, train_bpe
    from thinkling.train.pretrain.corpus import documents

torch.set_num_threads(1)
settings.register_profile("same", deadline=None, derandomize=True, database=None)  # no test fails by chance, or by time
settings.register_profile("explore", deadline=None, print_blob=True, max_examples=2000)  # of `make fuzz`
settings.load_profile("same")


def pytest_configure(config: pytest.Config) -> None:
    """A seed for exploring, unless --hypothesis-seed gives one; set before the processes of xdist begin."""
    if config.getoption("--hypothesis-profile") == "explore" and config.getoption("--hypothesis-seed") is None:
        config.option.hypothesis_seed = str(random.SystemRandom().randrange(2**32))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Every seed that is not written in a test, so that what failed can be run again."""
    seed = config.getoption("--hypothesis-seed")
    told = "the same examples each time" if seed is None else f"--hypothesis-seed={seed}"
    terminalreporter.write_line(f"properties: {told}; kills: KILL_SEED={os.environ.get('KILL_SEED', '0')}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that take long begin first, so that no core waits for another at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Tokenizer:
    """The built-in tokenizer's recipe, on little text, and " A" and " D" are tokens of it."""
    from itertools import islice

    backend = train_bpe([*islice(documents("tests"), 300), *[[("Answer: A\nAnswer: D\n", 1.0)]] * 300], 512)
    return Tokenizer(backend, tuple(backend.token_to_id(name) for name in STOP_TOKENS))


@pytest.fixture
def tiny_network() -> Transformer:
    config = ModelConfig(
        vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=512, rope_theta=10_000.0,
    )  # fmt: skip
    return init_weights(Transformer(config), seed=0).eval()


@pytest.fixture
def tiny(tiny_network: Transformer, tiny_tokenizer: Tokenizer) -> LanguageModel:
    """A model of random weights that runs in milliseconds. Each test gets its own."""
    return LanguageModel("tiny", tiny_network, tiny_tokenizer, max_rows=32, max_length=512)
