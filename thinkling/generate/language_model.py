"""Text in, text out: a model, its tokenizer and one engine, for any number of callers in any threads.

`complete` is async and joins the batch that is running, so methods can be written as sequential code about one problem
and still run many at a time. `complete_all` and `stream` are for scripts that do not want to know of that; they work
where an event loop runs, too (a notebook), and block it meanwhile.
"""

import math
import queue
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from thinkling.device import pick_device, pick_dtype
from thinkling.errors import UserError
from thinkling.generate.completion import Completion, columns
from thinkling.generate.distribution import measure
from thinkling.generate.engine import Engine
from thinkling.generate.engine_thread import EngineThread
from thinkling.generate.model import Prompt
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.generate.score import tell_given
from thinkling.generate.stop_strings import StopStrings
from thinkling.generate.thinking_budget import thinking_budget
from thinkling.model.adapter import merge_adapter, read_adapter
from thinkling.model.chat_template import END_THINK, THINK
from thinkling.model.invariant import make_invariant
from thinkling.model.quantize import Quantization, quantize
from thinkling.model.tokenizer import StreamDecoder, Tokenizer
from thinkling.model.transformer import Transformer
from thinkling.model.weights import load_model, resolve
from thinkling.progress import Progress


class LanguageModel:
    """A language model that many callers can use at once, from any threads and event loops.

    name: what the model was loaded from. network, tokenizer, engine: the three parts, open to everyone; but the
    engine's methods belong to engine_thread. When no call is under way, nothing reads the network's weights.
    """

    def __init__(self, name: str, network: Transformer, tokenizer: Tokenizer, **limits: float | None) -> None:
        """`limits`: the engine's max_rows, max_length, cache_gb, max_num_batched_tokens, prefix_gb and speculate."""
        self.name, self.network, self.tokenizer, self.limits = name, network, tokenizer, limits
        self.engine = Engine(network, tokenizer.stop_ids, budget_of=partial(thinking_budget, tokenizer), **limits)
        self.engine_thread = EngineThread(self.engine)
        weakref.finalize(self, self.engine_thread.stop).atexit = False  # else the thread would keep the weights alive

    @classmethod
    def load(
        cls, name: str, device: str = "auto", dtype: str = "auto", adapter: Path | None = None,
        quantization: Quantization | None = None, batch_invariant: bool = False, **limits: float | None,
    ) -> "LanguageModel":  # fmt: skip
        """Load a built-in model by name, a folder or a GGUF file by path, or a Hub id, as `org/name` or
        `org/name@revision`. adapter: the folder of a PEFT LoRA adapter, which is added to the weights. quantization:
        what the weights then become, to answer faster and in less memory; None leaves them as they are.
        batch_invariant: what is said depends on nobody else who is asked (invariant.py)."""
        folder, where = resolve(name), pick_device(device)
        network = load_model(folder, where, pick_dtype(dtype, where))
        if adapter is not None:
            merge_adapter(network, read_adapter(adapter, network))
        if quantization is not None:
            quantize(network)
        if batch_invariant:
            make_invariant(network)
        return cls(name, network, Tokenizer.load(folder), **limits)

    def tokens_of(self, prompt: Prompt) -> list[int]:
        return self.text_prompt(prompt) if isinstance(prompt, str) else list(prompt)

    def text_of(self, tokens: Sequence[int]) -> str:
        """The completion's text: without the stop id at its end, other special tokens kept."""
        ends = bool(tokens) and tokens[-1] in self.tokenizer.stop_ids
        return self.tokenizer.decode(list(tokens[:-1] if ends else tokens))

    # --- prompts and completions, put together: never decoded and encoded again ---

    def text_prompt(self, text: str) -> list[int]:
        self._check_size(text)
        return [*self.tokenizer.first_ids, *self.tokenizer.encode(text)]

    def _check_size(self, text: str) -> None:
        """Refuse what cannot fit before it is made into tokens: for 30 MB that would take a minute."""
        room = self.engine.max_length
        if len(text) > 4 * room * self.tokenizer.longest:  # 4: a normalizer may join characters
            raise UserError(f"the prompt is {len(text):,} characters long, but the context holds {room:,} tokens: "
                            "shorten the prompt")  # fmt: skip

    def chat_prompt(self, messages: list[dict], thinking: bool, prefill: str = "") -> list[int]:
        """prefill: how the assistant's reply begins; the completion goes on behind it, and does not repeat it."""
        self._check_size("".join(str(message.get("content")) for message in messages))
        prompt = self.tokenizer.encode_chat(messages, enable_thinking=thinking)
        return [*prompt, *self.tokenizer.encode(prefill)] if prefill else prompt

    def extend(self, prompt: Prompt, completion: Completion, *texts: str) -> list[int]:
        """The prompt that goes on behind a completion: behind all that was sampled, or, if there are `texts`, behind
        its text (which ends before a stop string) and then these. A text that is a `Mark` becomes a control token.

        The completion's tokens stay as they are; only the part of a token before a cut is encoded again.
        """
        tokens, rest = list(completion.tokens), ""
        if tokens and tokens[-1] in self.tokenizer.stop_ids:
            tokens.pop()
        if texts and completion.stop_string is not None:
            tokens, rest = self._cut(tokens, self._sampled(completion))
        return [*self.tokens_of(prompt), *tokens, *self.tokenizer.encode_pieces([rest, *texts])]

    def _cut(self, tokens: Sequence[int], text: str) -> tuple[list[int], str]:
        """The first tokens, those that lie within `text` whole, and the text that is left behind them."""
        kept, whole, grown, decoder = 0, 0, "", StreamDecoder(self.tokenizer)
        for number, token in enumerate(tokens, start=1):
            grown += decoder.push(token)
            if len(grown) > len(text):
                break
            if not decoder.waits:
                kept, whole = number, len(grown)
        return list(tokens[:kept]), text[whole:]

    def joined(self, *parts: Completion) -> Completion:
        """Completions that follow each other as one: of the first one's prompt, ending as the last one ends."""
        names = ("tokens", "logprobs", "confidence", "certainty", "margin", "sampling_mask")
        rows = {name: tuple(value for part in parts for value in getattr(part, name)) for name in names}
        last = parts[-1]
        text, cut = self.text_of(rows["tokens"]), len(self.text_of(last.tokens)) - len(self._sampled(last))
        whole = replace(last, prompt_tokens=parts[0].prompt_tokens, seconds=sum(part.seconds for part in parts), **rows)
        text = text[: len(text) - cut]
        opened = END_THINK not in text and self.tokenizer.opens_thinking(whole.prompt_tokens)
        return replace(whole, text=THINK + text if opened else text)

    def pieces(self, completion: Completion) -> list[bytes]:
        """The bytes of each of the completion's tokens."""
        return [self.tokenizer.token_bytes(token) for token in completion.tokens]

    # --- async: join the running batch ---

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """Complete one prompt; the request shares the engine's batch with whatever else is under way."""
        watcher = StopStrings(self.tokenizer, sampling.stop) if sampling.stop else None
        request = self.engine.request(self.tokens_of(prompt), sampling, watcher)
        return self.with_text(await self.engine_thread.outcome(request), watcher)

    def with_text(self, completion: Completion, watcher: StopStrings | None) -> Completion:
        """Thinking that the prompt opened and nothing closed begins with its tag, so that no reader takes it for an
        answer."""
        text, stop_string = self.text_of(completion.tokens), None
        if watcher is not None and watcher.found is not None:
            text, stop_string = text[: watcher.found], watcher.hit
        if END_THINK not in text and self.tokenizer.opens_thinking(completion.prompt_tokens):
            text = THINK + text
        return replace(completion, text=text, stop_string=stop_string)

    def _sampled(self, completion: Completion) -> str:
        """A completion's text without a tag that was put in front of it (`with_text`)."""
        added = self.text_of(completion.tokens)[: len(THINK)] != THINK
        return completion.text.removeprefix(THINK) if added else completion.text

    # --- async: read given tokens, batched with whatever else is read at this moment ---

    async def first_tokens(self, prompt: Prompt, num: int) -> list[Completion]:
        """The `num` likeliest ways to begin, as completions of one token each, the likeliest first."""
        tokens = self.tokens_of(prompt)
        hidden = await self._read(tokens)
        with torch.inference_mode():
            logits = self.network.logits(hidden[-1:])
            likeliest = logits.float().log_softmax(-1)[0].topk(min(num, logits.shape[-1]))
            measured = columns(measure(logits).tolist())
        return [
            Completion(tuple(tokens), (token,), (logprob,), "stop" if token in self.tokenizer.stop_ids else "length",
                       self.text_of([token]), **measured)
            for token, logprob in zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
        ]  # fmt: skip

    async def logprob_of(self, prompt: Prompt, text: str) -> float:
        """The log-probability of `text` behind the prompt, in nats, at temperature 1."""
        tokens, more = self.tokens_of(prompt), self.tokenizer.encode(text)
        hidden = (await self._read([*tokens, *more]))[len(tokens) - 1 : -1]
        return math.fsum(logprob for logprob, _ in tell_given(self.network, hidden, [tokens[-1], *more], 0))

    async def hidden_states(self, prompt: Prompt, completion: Completion) -> Tensor:
        """The last layer's hidden state behind each token of a completion, (T, D)."""
        tokens = self.tokens_of(prompt)
        return (await self._read([*tokens, *completion.tokens]))[len(tokens) :]

    async def _read(self, tokens: Sequence[int]) -> Tensor:
        """The last layer's hidden states, (T, D): those of the calls that wait together are computed together."""
        return await self.engine_thread.outcome(self.engine.reading(tokens))

    # --- plain calls ---

    def complete_all(
        self, prompts: Iterable[Prompt], sampling: Sampling, progress: bool = False, label: str = "generating",
        first: int = 0,
    ) -> list[Completion]:  # fmt: skip
        """Complete all prompts, batched; prompt i draws from the seed derived from (sampling.seed, first + i). So a
        long list that is asked piece by piece gets the completions that it would get at once."""
        prompts = _several(prompts)
        found: dict[int, Completion] = {}
        ended = self._as_they_end(prompts, sampling, first)
        with closing(ended), Progress(label, len(prompts)) if progress else nullcontext() as shown:
            for place, completion in ended:
                found[place] = completion
                if shown is not None:
                    shown.advance()
        return [found[place] for place in range(len(prompts))]

    def complete_each(self, prompts: Iterable[Prompt], sampling: Sampling) -> Iterator[Completion]:
        """The same completions in the same order, each as soon as it and those before it are there."""
        found: dict[int, Completion] = {}
        place = 0
        for ended, completion in self._as_they_end(_several(prompts), sampling):
            found[ended] = completion
            while place in found:
                yield found.pop(place)
                place += 1

    def _as_they_end(
        self, prompts: list[Prompt], sampling: Sampling, first: int = 0
    ) -> Iterator[tuple[int, Completion]]:
        """The completions, each with its prompt's place."""
        requests: dict[int, tuple[int, StopStrings | None]] = {}
        jobs = []
        for place, prompt in enumerate(prompts):
            own = replace(sampling, seed=derive_seed(sampling.seed, first + place))
            watcher = StopStrings(self.tokenizer, own.stop) if own.stop else None
            jobs.append(self.engine.request(self.tokens_of(prompt), own, watcher))
            requests[jobs[-1].id] = place, watcher
        with closing(self.engine_thread.outcomes(jobs)) as outcomes:
            for number, completion in outcomes:
                place, watcher = requests.pop(number)
                yield place, self.with_text(completion, watcher)

    def stream_tokens(self, prompt: Prompt, sampling: Sampling) -> Iterator[int]:
        """Yield each token as it is drawn, the stop id included. Closing the iterator ends the generation."""
        self.engine_thread.check_caller()
        arrived = queue.SimpleQueue()  # tokens, and at the end what became of the request
        request = self.engine.request(self.tokens_of(prompt), sampling, arrived.put)
        self.engine_thread.ask([request], arrived.put)
        try:
            while isinstance(item := arrived.get(), int):
                yield item
        except BaseException:
            self.engine_thread.cancel([request.id], wait=True)
            raise
        ((_, outcome),) = item
        if isinstance(outcome, BaseException):
            raise outcome

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[str]:
        """Yield the completion's text as it grows, in pieces that are never half a character, up to a stop string."""
        watcher = StopStrings(self.tokenizer, sampling.stop)
        sent = 0
        with closing(self.stream_tokens(prompt, sampling)) as tokens:
            for token in tokens:
                watcher(token)
                if len(watcher.safe) > sent:
                    yield watcher.safe[sent:]
                    sent = len(watcher.safe)
                if watcher.found is not None:
                    return
        yield watcher.finish()[sent:]


def _several(prompts: Iterable[Prompt]) -> list[Prompt]:
    """Raises UserError if this is one prompt."""
    one = prompts is None or isinstance(prompts, str)
    prompts = [] if one else list(prompts)
    if one or (prompts and isinstance(prompts[0], int)):
        raise UserError("complete_all takes a list of prompts: write [prompt] for a single one")
    return prompts
