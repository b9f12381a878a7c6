"""What thinkling-reasoner learns: verified solutions as thinking and an answer, in conversations.

    python bench/chat_data.py TRACES... --out conversations.jsonl

TRACES are files of `thinkling distill-data --template step-by-step --keep all`. Of each question the first right
solution is taken: its lines become the thinking, its box the answer. Some stand alone, some are followed by another
problem, by a question about the answer ("Are you sure?", "And twice that?"), or are asked without thinking. To hold a
conversation takes more examples than there are problems, so short ones begin more: of those problems, and sums of two
numbers and small stories, which people try first. Sums are asked in many ways. A few greetings and questions that such
a model cannot answer go with them, each with the reply that it is to give. Everything is drawn from --seed; no model is
asked.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Annotated

import tyro

from thinkling.runs import write_jsonl
from thinkling.train.sft.records import load_records

BOX = re.compile(r"\n\\boxed\{([^{}]*)\}$")
SUM = re.compile(r"What is ([-+*\d ]+)\?")
SAID_SHARE = 0.35  # greetings and the like, as a share of the problems
SHORT_SHARE = 2.5  # conversations that begin with a short problem, a sum of two numbers or a small story, likewise
SHORT = 160  # characters of a question and its lines together
AT_ONCE = 0.05  # asked without thinking
BEFORE = {"nothing": 80, "hello": 6, "another": 14}  # what stands before a problem, in percent
FOLLOWS = {"another": 22, "sure": 16, "how": 14, "count on": 30, "politeness": 13, "unknown": 5}  # and what follows it
HOW_MANY = {"long": (56, 34, 10), "short": (25, 30, 22, 14, 9)}  # no turn more, one, two, ...

ASKED = ("What is {}?", "What is {}?", "what is {}?", "what is {}", "What's {}?", "what's {}?", "{}", "{} = ?", "{} =",
         "{}?", "How much is {}?", "how much is {}", "Calculate {}.", "calculate {}", "Compute {}.", "Work out {}.",
         "Can you work out {}?", "Please tell me {}.", "Tell me what {} is.", "Do you know what {} is?")  # fmt: skip
SUMS = {  # in how many ways two numbers can be put together
    "+": ("{} + {}", "{} + {}", "{} plus {}", "the sum of {} and {}"),
    "-": ("{} - {}", "{} - {}", "{} minus {}"),
    "*": ("{} * {}", "{} * {}", "{} times {}", "{} x {}", "the product of {} and {}"),
    "/": ("{} / {}", "{} / {}", "{} divided by {}"),
}
NAMES = ("Anna", "Ben", "Tom", "Mia", "Lena", "Omar", "Sara", "Leo", "Nora", "Paul", "Emma", "Max")
COUNTED = ("apples", "books", "marbles", "coins", "cards", "eggs", "cookies", "pens", "stickers", "candies")
ORDERS = {"+": "Add {} and {}.", "-": "Take {1} from {0}.", "*": "Multiply {} by {}.", "/": "Divide {} by {}."}

HELLO = ("hello", "Hello", "Hello!", "hi", "Hi", "Hi!", "hi there", "Hi there!", "hey", "Hey!", "hello there",
         "Good morning", "good evening", "Good day", "Hello, how are you?", "How are you?", "Hi, how are you doing?",
         "greetings", "hello!", "Hey there")  # fmt: skip
WHO = ("who are you?", "Who are you?", "What are you?", "what can you do?", "What can you do for me?", "help",
       "Help me", "What is your name?", "Are you a robot?", "What do you know?", "Tell me about yourself",
       "How can you help me?", "What should I ask you?")  # fmt: skip
THANKS = ("thanks", "Thanks!", "Thank you", "thank you very much", "Thank you!", "ok", "OK", "great", "Great!", "nice",
          "cool", "Well done", "good", "Good job!", "I see", "wow", "Perfect, thanks", "yes", "Right")  # fmt: skip
BYE = ("bye", "Bye!", "Goodbye", "good night", "See you", "see you later")
SURE = ("Are you sure?", "are you sure?", "Really?", "Is that right?", "Check it again.", "Please check your answer.",
        "I think that is wrong.", "Hm, are you certain?")  # fmt: skip
HOW = ("How?", "How did you get that?", "Show me the steps.", "Explain it.", "Can you explain?", "Why?",
       "Explain, please.", "How do you know?")  # fmt: skip
PLACES = ("France", "Germany", "Spain", "Japan", "Brazil", "Italy", "Canada", "Egypt", "India", "Peru")
THINGS = ("the moon", "a cat", "love", "the sea", "winter", "a dragon", "my mother", "music", "football", "a tree")
WORDS = ("dog", "house", "water", "friend", "bread", "sun")
TONGUES = ("French", "Spanish", "German", "Latin")
UNKNOWN = {  # questions that it cannot answer, {} one of the words
    "What is the capital of {}?": PLACES, "Where is {}?": PLACES, "Tell me about {}.": (*PLACES, *THINGS),
    "Who is the king of {}?": PLACES, "How many people live in {}?": PLACES, "Write a poem about {}.": THINGS,
    "Write a story about {}": THINGS, "Tell me a joke about {}.": THINGS, "What do you think about {}?": THINGS,
    "What is {}?": THINGS, "Translate {} into French.": WORDS, "How do you say water in {}?": TONGUES,
    "What does {} mean?": WORDS, "Do you like {}?": THINGS, "Who wrote {}?": ("Hamlet", "Faust", "the Bible", "Emma"),
    "Write a program that {}.": ("sorts a list", "prints hello", "counts words", "plays chess"),
    "How is the weather {}?": ("today", "in Rome", "tomorrow"), "What {} is it?": ("day", "time", "year"),
    "Why is {}?": ("the sky blue", "the sea salty", "grass green", "the night dark"),
    "How do I cook {}?": ("rice", "eggs", "soup", "pasta"), "{}": ("Tell me a joke", "Sing a song", "blue", "why?"),
}  # fmt: skip
REPLIES = {  # to what is said that is no problem: the thinking, and the reply
    "hello": ("This is a greeting. There is no problem.",
              "Hello! Ask me a small mathematics problem, and I will work it out."),
    "who": ("This is a question about me.",
            "I am thinkling-reasoner, a very small model. I solve small mathematics problems, step by step."),
    "thanks": ("There is no problem.", "You are welcome. Do you have another problem?"),
    "bye": ("This is a farewell.", "Goodbye!"),
    "unknown": ("This is no problem that I can work out.",
                "I do not know. I can only solve small mathematics problems."),
}  # fmt: skip


@dataclass(frozen=True)
class Solved:
    """A problem with a right solution: its lines, and what stands in its box."""

    question: str
    lines: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class ChatData:
    """Write the conversations. Example: python bench/chat_data.py a.jsonl b.jsonl --out conversations.jsonl"""

    traces: Annotated[tuple[Path, ...], tyro.conf.Positional]
    out: Path
    seed: int = 0


def solved(path: Path) -> Iterator[Solved]:
    """Of each question of a file the first right solution that has lines before its box."""
    seen: set[str] = set()
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    for row, record in zip(rows, load_records(path), strict=True):
        box = BOX.search(record.content)
        if row["correct"] and box and record.question not in seen:
            seen.add(record.question)
            yield Solved(record.question, record.content[: box.start()], box.group(1))


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def reply(content: str, thinking: str = "") -> dict[str, str]:
    return {"role": "assistant", "content": content} | ({"reasoning_content": thinking} if thinking else {})


def boxed(answer: str) -> str:
    return f"The answer is \\boxed{{{answer}}}."


def turns(problem: Solved) -> list[dict[str, str]]:
    return [user(problem.question), reply(boxed(problem.answer), problem.lines)]


def sum_of_two(random: Random) -> Solved:
    """Two numbers put together, asked in one of many ways."""
    most = random.choice((10, 99))
    sign, small, large = random.choice("++--**/"), random.randint(2, 12), random.randint(2, most)
    first, second = {"+": (large, random.randint(1, most)), "-": (large + small, random.choice([small, large])),
                     "*": (large, small), "/": (large * small, small)}[sign]  # fmt: skip
    value = {"+": first + second, "-": first - second, "*": first * second, "/": first // second}[sign]
    if random.random() < 0.15:
        question = ORDERS[sign].format(first, second)
    else:
        question = in_other_words(random.choice(SUMS[sign]).format(first, second), random)
    return Solved(question, f"{first} {sign} {second} = {value}", str(value))


def story(random: Random) -> Solved:
    """Two people, or one, with a number of things; a step or two."""
    (one, two), things, size = random.sample(NAMES, 2), random.choice(COUNTED), random.randint(4, 40)
    less, has = random.randint(1, size - 1), f"{one} has {size} {things}."
    kind = random.choice(("more", "fewer", "times", "gives", "gets"))
    if kind in ("gives", "gets"):
        sign, value = ("-", size - less) if kind == "gives" else ("+", size + less)
        change = f"{one} gives {less} of them to {two}." if kind == "gives" else f"{one} gets {less} more."
        asked = f"How many {things} does {one} have {random.choice(('left', 'now')) if sign == '-' else 'now'}?"
        return Solved(f"{has} {change} {asked}", f"{size} {sign} {less} = {value}", str(value))
    number, first = random.randint(2, 5), f"{one}'s {things}"
    side, told, value = {
        "more": (f"{first} + {less}", f"{less} more {things} than", size + less),
        "fewer": (f"{first} - {less}", f"{less} fewer {things} than", size - less),
        "times": (f"{number} * {first}", f"{number} times as many {things} as", number * size),
    }[kind]
    second = f"{two}'s {things}"
    lines = [f"{second} = {side}", f"{first} = {size}", f"{second} = {side.replace(first, str(size))} = {value}"]
    asked = f"How many {things} does {two} have?"
    if random.random() < 0.5:
        asked = f"How many {things} do they have {random.choice(('together', 'in all', 'altogether'))}?"
        lines.append(f"Together = {size} + {value} = {(value := size + value)}")
    return Solved(f"{has} {two} has {told} {one}. {asked}", "\n".join(lines), str(value))


def in_other_words(sum_asked: str, random: Random) -> str:
    """A question about this sum, at times without its spaces."""
    tight = random.random() < 0.3 and not re.search("[a-z]", sum_asked)
    return random.choice(ASKED).format(sum_asked.replace(" ", "") if tight else sum_asked)


def said_otherwise(problem: Solved, random: Random) -> Solved:
    """Every second sum of numbers is asked in other words; another problem stays as it is."""
    plain = SUM.fullmatch(problem.question)
    if plain is None or random.random() < 0.5:
        return problem
    return replace(problem, question=in_other_words(plain[1], random))


def counted_on(last: Solved, random: Random) -> Solved:
    """A question that counts on with the last answer."""
    number, other = int(last.answer), random.randint(2, 30)
    name, sign, second, value = random.choice(
        [("{} more than that?", "+", other, number + other), ("that plus {}?", "+", other, number + other),
         ("twice that?", "*", 2, 2 * number), ("three times that?", "*", 3, 3 * number),
         ("{} times that?", "*", other % 8 + 2, number * (other % 8 + 2)),
         ("that minus {}?", "-", other, number - other)]
    )  # fmt: skip
    asked = random.choice(["What is ", "And ", "How much is ", "what is ", "and "]) + name.format(second)
    return Solved(asked, f"{number} {sign} {second} = {value}", str(value))


def said(kind: str, random: Random, thinks: bool) -> list[dict[str, str]]:
    """What is said that is no problem, and the reply."""
    if kind == "unknown":
        pattern = random.choice(list(UNKNOWN))
        text = pattern.format(random.choice(UNKNOWN[pattern]))
    else:
        text = random.choice({"hello": HELLO, "who": WHO, "thanks": THANKS, "bye": BYE}[kind])
    thinking, content = REPLIES[kind]
    return [user(text), reply(content, thinking if thinks else "")]


def follow(kind: str, last: Solved, others: list[Solved], random: Random) -> tuple[list[dict[str, str]], Solved]:
    """A question and its reply behind a problem, and the problem that the next question may be about."""
    match kind:
        case "sure":
            return [user(random.choice(SURE)), reply(f"Yes. {boxed(last.answer)}", last.lines)], last
        case "how":
            shown = f"{last.lines}\n{boxed(last.answer)}"
            return [user(random.choice(HOW)), reply(shown, "The steps are asked for.")], last
        case "politeness":
            return said(random.choice(["thanks", "thanks", "bye", "hello", "who"]), random, True), last
        case "unknown":
            return said("unknown", random, True), last
    new = counted_on(last, random) if kind == "count on" and last.answer.isdecimal() else random.choice(others)
    return turns(new), new


def conversation(problem: Solved, others: list[Solved], random: Random, length: str) -> list[dict[str, str]]:
    """One row's turns: something before this problem or nothing, the problem, and what follows."""
    if random.random() < AT_ONCE:
        return [user(problem.question), reply(boxed(problem.answer))]
    before = random.choices(list(BEFORE), list(BEFORE.values()))[0]
    found = {"nothing": [], "hello": said("hello", random, True), "another": turns(random.choice(others))}[before]
    found, last = [*found, *turns(problem)], problem
    weights = HOW_MANY[length]
    (num_more,) = random.choices(range(len(weights)), weights)
    for kind in random.choices(list(FOLLOWS), list(FOLLOWS.values()), k=num_more):
        more, last = follow(kind, last, others, random)
        found += more
    return found


def main(settings: ChatData) -> None:
    random = Random(f"conversations/{settings.seed}")
    problems = [said_otherwise(found, random) for path in settings.traces for found in solved(path)]
    short = [problem for problem in problems if len(problem.question) + len(problem.lines) <= SHORT]
    num_short = round(SHORT_SHARE * len(problems))
    made = [story(random) if random.random() < 0.3 else sum_of_two(random) for _ in range(round(0.6 * num_short))]
    short = made + random.choices(short or made, k=num_short - len(made))
    rows = [conversation(problem, short, random, "long") for problem in problems]
    rows += [conversation(problem, short, random, "short") for problem in short]
    kinds = random.choices(list(REPLIES), (4, 3, 3, 1, 9), k=round(SAID_SHARE * len(problems)))
    rows += [said(kind, random, random.random() < 0.7) for kind in kinds]
    random.shuffle(rows)
    write_jsonl(settings.out, ({"messages": row} for row in rows))
    print(f"{len(rows)} conversations, from {len(problems)} solved problems: {settings.out}")


if __name__ == "__main__":
    main(tyro.cli(ChatData))
