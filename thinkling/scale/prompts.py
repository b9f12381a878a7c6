"""How a question is put to a model: templates as data.

A base model continues text, so it gets the form in which it has seen answers. A chat model gets its chat template.
"""

from thinkling.model.tokenizer import Tokenizer

TEMPLATES = {
    "plain": "Question: {question}\nAnswer:\n",
    "step-by-step": "Question: {question}\nExplain step by step.\nAnswer:\n",
    # The form of the book (Raschka, Build a Reasoning Model, chapter 3), for checkpoints such as Qwen3.
    "boxed": (
        "You are a helpful math assistant.\nAnswer the question and write the final result on a new line as:\n"
        "\\boxed{{ANSWER}}\n\nQuestion:\n{question}\n\nAnswer:"
    ),
    "none": "{question}",
}


def render(template: str, question: str) -> str:
    return TEMPLATES[template].format(question=question)


def prompt_tokens(tokenizer: Tokenizer, template: str, question: str) -> list[int]:
    """The exact tokens that the model sees. `chat` switches Qwen3's thinking off, `chat-thinking` leaves it on."""
    if template in ("chat", "chat-thinking"):
        message = {"role": "user", "content": question}
        return tokenizer.encode_chat([message], enable_thinking=template == "chat-thinking")
    return tokenizer.encode(render(template, question))
