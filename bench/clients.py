"""Other people's clients against a running server: LangChain's calls and LiteLLM's, from an environment of their own.

    thinkling serve thinkling-base --port 8000 &
    python -m venv .venv-clients && .venv-clients/bin/pip install langchain-openai litellm
    .venv-clients/bin/python bench/clients.py --url http://127.0.0.1:8000

Needs nothing of this package. Prints a line for each call; exit code 1 where one does not get what it must.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable

QUESTION, ANSWER = "What is 12 * 34?", r"\boxed{408}"


def langchain(url: str) -> dict[str, Callable[[], bool]]:
    from langchain_openai import ChatOpenAI, OpenAI

    chat = ChatOpenAI(base_url=f"{url}/v1", api_key="-", model="thinkling-base", temperature=0, seed=1, max_retries=0)
    text = OpenAI(base_url=f"{url}/v1", api_key="-", model="thinkling-base", temperature=0, max_tokens=8)
    vote = ChatOpenAI(base_url=f"{url}/v1", api_key="-", model="thinkling-base+vote@4", seed=1)
    items = ChatOpenAI(base_url=f"{url}/v1", api_key="-", model="thinkling-base", temperature=0, use_responses_api=True)
    talk = [("system", "Be brief."), ("user", "What is 1 + 1?"), ("assistant", "2"), ("user", QUESTION)]
    return {
        "invoke": lambda: chat.invoke(QUESTION).content == ANSWER,
        "stream": lambda: "".join(chunk.content for chunk in chat.stream(QUESTION)) == ANSWER,
        "batch": lambda: [reply.content for reply in chat.batch([QUESTION] * 3)] == [ANSWER] * 3,
        "ainvoke": lambda: asyncio.run(chat.ainvoke(QUESTION)).content == ANSWER,
        "several turns": lambda: bool(chat.invoke(talk).content),
        "log-probabilities": lambda: bool(
            chat.bind(logprobs=True, top_logprobs=2).invoke(QUESTION).response_metadata["logprobs"]["content"]
        ),
        "usage": lambda: chat.invoke(QUESTION).usage_metadata["output_token_details"]["reasoning"] == 47,
        "a completion": lambda: bool(text.invoke("Question: What is 2 + 3?\nAnswer:\n")),
        "a vote": lambda: vote.invoke(QUESTION).content == ANSWER,
        "responses": lambda: items.invoke(QUESTION).text == ANSWER,
    }


def lite(url: str) -> dict[str, Callable[[], bool]]:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks the network for prices
    import litellm

    where = {"model": "openai/thinkling-base", "api_base": f"{url}/v1", "api_key": "-", "temperature": 0}
    ask = {**where, "messages": [{"role": "user", "content": QUESTION}]}

    def message() -> object:
        return litellm.completion(**ask).choices[0].message

    def streamed() -> tuple[str, str]:
        deltas = [chunk.choices[0].delta for chunk in litellm.completion(**ask, stream=True)]
        thinking = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
        return thinking, "".join(delta.content or "" for delta in deltas)

    return {
        "completion": lambda: message().content == ANSWER,
        "thinking": lambda: message().reasoning_content.startswith("12 * 34"),
        "stream": lambda: streamed() == (message().reasoning_content, ANSWER),
        "acompletion": lambda: asyncio.run(litellm.acompletion(**ask)).choices[0].message.content == ANSWER,
        "a text": lambda: bool(
            litellm.text_completion(
                **where | {"model": "text-completion-openai/thinkling-base"}, prompt="1 + 1 =", max_tokens=4
            ).choices[0].text
        ),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    url, wrong = parser.parse_args().url, 0
    for name, calls in (("LangChain", langchain(url)), ("LiteLLM", lite(url))):
        for call, right in calls.items():
            try:
                said = "right" if right() else "WRONG"
            except Exception as error:
                said = f"WRONG: {type(error).__name__}: {str(error)[:200]}"
            wrong += said != "right"
            print(f"{name}, {call}: {said}", flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
