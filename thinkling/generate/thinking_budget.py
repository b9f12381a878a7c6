"""A limit on thinking: what a request must say next so that its answer still has room.

Softly: in the last quarter of the budget, `</think>` is taken as soon as the model itself gives it 10%. Hard: when the
budget is spent, the thinking is closed whatever was to come. Both put tokens into `Request.forced`. Left out: thinking
that is made longer (scale/budget_forcing.py).
"""

import math
from collections.abc import Sequence

from thinkling.errors import FatalError, UserError
from thinkling.generate.sampling import Sampling
from thinkling.model.chat_template import END_THINK, THINK, Mark
from thinkling.model.thinking import TaggedText
from thinkling.model.tokenizer import StreamDecoder, Tokenizer

SOFT_SHARE = 0.75  # of the budget, from where on the thinking may close softly
LIKELY = math.log(0.1)  # from this log-probability on, at temperature 1


class ThinkingBudget:
    """Of one request: `push` each token as it is drawn; what it returns must come next.

    most: tokens of thinking at most, the two tags not counted. opened: does the prompt end amid thinking? spent: tokens
    of thinking so far. end: the id of </think>, or None where the tags are ordinary text, which closes at the limit
    alone.
    """

    def __init__(self, tokenizer: Tokenizer, most: int, opened: bool) -> None:
        self.most, self.spent = most, 0
        self.begin, self.end = map(tokenizer.special_id, (THINK, END_THINK))
        self.closing = closing_of(tokenizer)
        self.thinking, self.done = opened, False
        self.tags = None if tokenizer.has_think_tokens else (StreamDecoder(tokenizer), TaggedText(opened))

    def push(self, token: int) -> Sequence[int]:
        thought, self.thinking = self.thinking, self._thinks_behind(token)
        self.spent += thought and self.thinking
        if self.done or not self.thinking or self.spent < self.most:
            return ()
        self.done = True
        return self.closing

    def _thinks_behind(self, token: int) -> bool:
        if self.tags is not None:
            decoder, tagged = self.tags
            tagged.push(decoder.push(token))
            return tagged.thinking
        return token != self.end if self.thinking else token == self.begin and not self.spent

    @property
    def soft(self) -> bool:
        """May the thinking close now, if `end` is likely?"""
        return self.end is not None and self.thinking and not self.done and self.spent >= SOFT_SHARE * self.most


def closing_of(tokenizer: Tokenizer) -> tuple[int, ...]:
    """What closes thinking from outside: the tag on a line of its own."""
    return tuple(tokenizer.encode_pieces(["\n", Mark(END_THINK), "\n\n"]))


def leaves_room(tokenizer: Tokenizer, most: int, max_tokens: int) -> bool:
    """Is there a token for the answer behind so much thinking and what closes it?"""
    return most + len(closing_of(tokenizer)) < max_tokens


def thinking_budget(tokenizer: Tokenizer, prompt: Sequence[int], sampling: Sampling, room: int) -> ThinkingBudget:
    """The budget that `sampling` sets. room: tokens that fit behind the prompt. Raises UserError if the model does not
    think, or nothing would be left for the answer."""
    most, max_tokens = sampling.max_thinking_tokens, min(sampling.max_tokens, room)
    if not tokenizer.can_think:
        raise FatalError("max-thinking-tokens: this model has no <think> and </think>, so its thinking cannot be told "
                        "from its answer; leave it out, or use the method budget-forcing")  # fmt: skip
    if not leaves_room(tokenizer, most, max_tokens):
        closing = len(closing_of(tokenizer))
        why = "max-tokens" if max_tokens == sampling.max_tokens else "what the prompt leaves of the context"
        raise UserError(f"max-thinking-tokens {most:,} and {closing} tokens that close the thinking leave nothing for "
                        f"the answer of {max_tokens:,} tokens ({why}): lower the one, or raise the other")  # fmt: skip
    return ThinkingBudget(tokenizer, most, ends_amid_thinking(tokenizer, prompt))


def ends_amid_thinking(tokenizer: Tokenizer, prompt: Sequence[int]) -> bool:
    if not tokenizer.has_think_tokens:
        text = tokenizer.decode(prompt)
        return text.rfind(THINK) > text.rfind(END_THINK)
    marks = [token for token in prompt if token in map(tokenizer.special_id, (THINK, END_THINK))]
    return bool(marks) and marks[-1] == tokenizer.special_id(THINK)
