"""What a model says in a chat, as it stands: it grows by deltas. The chats in terminal and browser keep it."""

from dataclasses import dataclass, replace

from thinkling.generate.sampling import derive_seed
from thinkling.serve.reply_parser import Delta


@dataclass(frozen=True)
class Reply:
    """What was said. seconds: that it took; thought_seconds: those until the answer began. stopped: by the person,
    before its end. cut: at the limit of its length."""

    thinking: str = ""
    answer: str = ""
    num_tokens: int = 0
    num_thinking: int = 0
    seconds: float = 0.0
    thought_seconds: float = 0.0
    stopped: bool = False
    cut: bool = False

    @property
    def message(self) -> dict:
        thought = {"reasoning_content": self.thinking} if self.thinking else {}
        return {"role": "assistant", "content": self.answer.strip()} | thought

    def grown(self, delta: Delta, seconds: float) -> "Reply":
        """The reply with what has come, so many seconds after it was asked for."""
        thinks = not self.answer and not delta.content
        return replace(
            self, thinking=self.thinking + delta.reasoning, answer=self.answer + delta.content,
            num_tokens=delta.num_tokens or self.num_tokens, num_thinking=delta.num_thinking or self.num_thinking,
            seconds=seconds, thought_seconds=seconds if thinks else self.thought_seconds,
            cut=self.cut or delta.finish == "length",
        )  # fmt: skip


def seed_of(seed: int, num_messages: int, attempts: int) -> int:
    """The seed of a reply to so many messages, which have been answered `attempts` times before."""
    return derive_seed(seed, num_messages, *([attempts] if attempts else []))
