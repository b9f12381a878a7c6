"""What the problems of `quantities.py` are about, and how English says it: scenes, phrasings of relations, questions.

A phrasing is a template over the quantity that a sentence defines (no digit) and those it is made from (2 and 3):
{np} a noun phrase, {label} a short name, {H} the holder, {items} and {item} what is counted or the unit, {noun} the
same in the number that {n} asks for, {amount} the number (of a measure with its unit), {than2} what stands behind
"than". Those under UNSEEN are kept for the split `rephrased`. Left out: pronouns across sentences, which shuffling
would break.
"""

from dataclasses import dataclass
from random import Random

HE, SHE, IT = ("he", "his"), ("she", "her"), ("it", "its")
BOYS = "Adam Ben Carlos David Emil Felix Finn Hugo Ivan Jack Jonas Karim Leo Liam Luca Max Noah Omar Oscar Paul Peter \
Ravi Sam Theo Tom Yusuf Kofi Diego Hans Wei".split()
GIRLS = "Ada Amira Anna Bella Clara Dana Elena Emma Eva Fatima Grace Hana Ida Ines Jane Julia Kate Lea Lily Lucy Maria \
Mia Mei Nina Nora Olga Priya Rosa Sara Zoe".split()
PLACES = "barn shed attic cellar garage kitchen hall shop van tent library school museum office bakery studio cabin \
hut workshop tower".split()
PEOPLE = [(name, HE) for name in BOYS] + [(name, SHE) for name in GIRLS]
COLOURS = "red blue green black white brown yellow grey orange pink".split()


@dataclass(frozen=True)
class Scene:
    """Who or what holds, and what. people: persons' names; nouns: things, each in several colours where `coloured`.

    items: (singular, plural). verb: (of one, of several or behind does, does or did). Of measures the rest: behind the
    unit, more, less, as much; the name of the measure; questions.
    """

    verb: tuple[str, str, str]
    items: tuple[tuple[str, str], ...]
    nouns: tuple[str, ...] = ()
    coloured: bool = False
    article: str = "the"
    behind: str = ""
    more: str = "more"
    less: str = "less"
    much: str = "much"
    measure: str = ""
    ask: tuple[str, ...] = ()
    ask_both: str = ""
    ask_more: str = ""


def _plural(word: str) -> str:
    if word.endswith("y") and word[-2] not in "aeo":
        return word[:-1] + "ies"
    if word.endswith(("s", "x", "sh", "ch")):
        return word + "es"
    return {"shelf": "shelves", "scarf": "scarves", "foot": "feet", "loaf": "loaves"}.get(word, word + "s")


def _items(words: str) -> tuple[tuple[str, str], ...]:
    return tuple((word, _plural(word)) for word in words.split())


HAS, OWNS = ("has", "have", "does"), ("owns", "own", "does")
TOYS = "stamp shell coin marble sticker button postcard badge pencil ribbon key bead book comic puzzle crayon"
STOCK = "crate barrel chair table lamp ladder shelf brush rug bench basket sack bottle jar bucket vase"
IS = ("is", "be", "is")
COUNTED = (
    Scene(HAS, _items(TOYS)),
    Scene(OWNS, _items(TOYS)),
    Scene(("collected", "collect", "did"), _items(TOYS)),
    Scene(("picked", "pick", "did"), _items("apple pear plum cherry berry peach lemon fig mushroom melon olive")),
    Scene(("baked", "bake", "did"), _items("muffin cookie roll pie biscuit waffle bagel cake tart loaf pretzel")),
    Scene(("sold", "sell", "did"), _items("ticket poster candle mug scarf lamp basket shirt hat plant brush card")),
    Scene(("planted", "plant", "did"), _items("tulip rose tree bush onion carrot lily fern daisy pumpkin poppy")),
    Scene(("saved", "save", "did"), _items("dollar")),
    Scene(("holds", "hold", "does"), _items(STOCK), tuple(PLACES)),
    Scene(("contains", "contain", "does"), _items(STOCK), tuple(PLACES)),
    Scene(("holds", "hold", "does"), _items(TOYS), ("box", "bag", "drawer", "tin", "case"), coloured=True),
)  # fmt: skip
MEASURED = (
    *(Scene(IS, _items(unit), ("rope", "ribbon", "plank", "pipe", "cable", "rod"), True, behind=" long", more="longer",
            less="shorter", much="long", measure="length",
            ask=("How long is {H}, in {items}?", "How many {items} long is {H}?"),
            ask_both="How many {items} long are {H2} and {H3} together?",
            ask_more="How many {items} longer is {H2} than {H3}?") for unit in ("metre", "centimetre", "inch")),
    *(Scene(("weighs", "weigh", "does"), _items(unit), ("parcel", "bag", "suitcase", "crate", "stone", "box"), True,
            measure="weight", ask=("How much does {H} weigh, in {items}?", "How many {items} does {H} weigh?"),
            ask_both="How many {items} do {H2} and {H3} weigh together?",
            ask_more="How many {items} more does {H2} weigh than {H3}?") for unit in ("kilogram", "gram", "pound")),
    Scene(IS, _items("year"), behind=" old", more="older", less="younger", much="old", measure="age",
          ask=("How old is {H}?", "How many years old is {H}?"),
          ask_both="How many years old are {H2} and {H3} together?",
          ask_more="How many years older is {H2} than {H3}?"),
    *(Scene(("costs", "cost", "does"), _items(unit), tuple("hat scarf mug lamp umbrella apron basket kettle pillow \
            ornament album clock vase tray rug orchid easel".split()), article="a", measure="price",
            ask=("How much does {H} cost, in {items}?", "How many {items} does {H} cost?"),
            ask_both="How many {items} do {H2} and {H3} cost together?",
            ask_more="How many {items} more does {H2} cost than {H3}?") for unit in ("dollar", "euro")),
    *(Scene(("lasts", "last", "does"), _items(unit), tuple("walk ride film lesson concert meeting drive game speech \
            trip show class party race dance".split()), more="longer", much="long", measure="duration",
            ask=("How long does {H} last, in {items}?", "How many {items} does {H} last?"),
            ask_both="How many {items} do {H2} and {H3} last together?",
            ask_more="How many {items} longer does {H2} last than {H3}?") for unit in ("minute", "hour", "day")),
    Scene(IS, _items("metre"), tuple("oak pine birch elm beech willow maple cedar chestnut palm statue crane flagpole \
          lighthouse chimney".split()), behind=" tall", more="taller", less="shorter", much="tall", measure="height",
          ask=("How tall is {H}, in {items}?", "How many {items} tall is {H}?"),
          ask_both="How many {items} tall are {H2} and {H3} together?",
          ask_more="How many {items} taller is {H2} than {H3}?"),
)  # fmt: skip

# --- phrasings: of both sorts of scene, of counted things, of measures ----------------------------------------------

BOTH = {
    "given": ["{np} is {amount}.", "We know that {np} is {amount}."],
    "more": ["{np} is {amount} more than {np2}.", "{np} is {np2} plus {amount}.",
             "If you add {amount} to {np2}, you get {np}.", "Add {amount} to {np2} to get {np}.",
             "{np} is {amount} greater than {np2}."],
    "fewer": ["{np} is {amount} less than {np2}.", "{np} is {np2} minus {amount}.",
              "If you subtract {amount} from {np2}, you get {np}.", "Subtract {amount} from {np2} to get {np}.",
              "{np} is {amount} smaller than {np2}."],
    "times": ["{np} is {times} {np2}.", "{np} is {np2} times {n}.", "If you multiply {np2} by {n}, you get {np}.",
              "Multiply {np2} by {n} to get {np}."],
    "part": ["{np} is {part} of {np2}.", "{np} is {np2} divided by {n}.", "If you divide {np2} by {n}, you get {np}.",
             "Divide {np2} by {n} to get {np}."],
    "sum": ["{np} is the sum of {np2} and {np3}.", "{np} is {np2} plus {np3}.", "If you add {np2} and {np3}, you get "
            "{np}.", "Add {np2} and {np3} to get {np}."],
    "difference": ["{np} is the difference between {np2} and {np3}.", "{np} is {np2} minus {np3}.", "If you subtract "
                   "{np3} from {np2}, you get {np}.", "Subtract {np3} from {np2} to get {np}."],
}  # fmt: skip
OF_COUNTED = {
    "given": ["{H} {s} {n} {noun}.", "{H} {s} exactly {n} {noun}.", "We know that {H} {s} {n} {noun}.",
              "{H} counts {his} {items}: there are {n}.", "There are {n} {noun} that {H} {s}."],
    "more": ["{H} {s} {n} more {noun} than {than2}.", "{H} {s} {n} {noun} more than {than2}.",
             "{H2} {s} some {items2}, and {H} {s} {n} more {noun} than that."],
    "fewer": ["{H} {s} {n} fewer {noun} than {than2}.", "{H} {s} {n} {noun} fewer than {than2}.",
              "{H2} {s} some {items2}, and {H} {s} {n} fewer {noun} than that."],
    "times": ["{H} {s} {times} as many {items} as {than2}.", "For every {item2} that {H2} {s}, {H} {s} {n} {items}.",
              "{H2} {s} some {items2}, and {H} {s} {times} as many {items} as that."],
    "part": ["{H} {s} {part} as many {items} as {than2}.",
             "{H2} {s} some {items2}, and {H} {s} {part} as many {items} as that."],
    "sum": ["{H} {s} as many {items} as {label2} and {label3} together.",
            "{label2} and {label3} together are as many as {label}."],
    "difference": ["{label} are as many as {label2} minus {label3}.",
                   "If {label3} were taken away from {label2}, as many as {label} would be left."],
}  # fmt: skip
OF_MEASURED = {
    "given": ["{H} {s} {n} {noun}{behind}.", "{H} {s} exactly {n} {noun}{behind}.",
              "We know that {H} {s} {n} {noun}{behind}."],
    "more": ["{H} {s} {n} {noun} {more} than {H2}.", "{H} {s} {more} than {H2}, by {n} {noun}."],
    "fewer": ["{H} {s} {n} {noun} {less} than {H2}.", "{H} {s} {less} than {H2}, by {n} {noun}."],
    "times": ["{H} {s} {times} as {much} as {H2}.", "{H} {s} as {much} as {n} times {H2}."],
    "part": ["{H} {s} {part} as {much} as {H2}."],
    "sum": ["{H} {s} as {much} as {H2} and {H3} together."],
    "difference": ["{H} {s} as {much} as the difference between {H2} and {H3}."],
}  # fmt: skip
UNSEEN = {
    "given": ["It is known that {np} is {amount}.", "Exactly {amount} is {np}."],
    "more": ["Adding {amount} to {np2} gives {np}.", "Compared with {np2}, {np} is {amount} more."],
    "fewer": ["Subtracting {amount} from {np2} gives {np}.", "Compared with {np2}, {np} is {amount} less."],
    "times": ["Multiplying {np2} by {n} gives {np}.", "Take {np2} times {n} and you get {np}."],
    "part": ["Dividing {np2} by {n} gives {np}.", "Take {part} of {np2} and you get {np}."],
    "sum": ["Adding {np2} and {np3} gives {np}.", "Together, {np2} and {np3} are as much as {np}."],
    "difference": ["Subtracting {np3} from {np2} gives {np}.", "Take {np3} from {np2} and you get {np}."],
}
ASK = ["What is {np}?", "Find {np}.", "Can you tell {np}?"]
ASK_COUNTED = ["How many {items} {does} {H} {have}?", "Find out how many {items} {H} {s}.", "Tell how many {items} {H} "
               "{s}."]  # fmt: skip
ASK_SUM = ["What is the sum of {np2} and {np3}?", "What do you get if you add {np2} and {np3}?"]
ASK_DIFFERENCE = ["What is the difference between {np2} and {np3}?", "By how much is {np2} greater than {np3}?"]
ASK_UNSEEN = {
    "one": ["Work out {np}.", "So what is {np}?"],
    "sum": ["Work out the sum of {np2} and {np3}."],
    "difference": ["Work out the difference between {np2} and {np3}."],
}
TIMES = {2: ("twice", "2 times"), 3: ("three times", "3 times"), 4: ("four times", "4 times"),
         5: ("five times", "5 times")}  # fmt: skip
PART = {2: ("half",), 3: ("a third",), 4: ("a quarter", "a fourth"), 5: ("a fifth",)}


@dataclass(frozen=True)
class Thing:
    """One quantity in words: its holder (with pronouns) and what it has of it."""

    scene: Scene
    holder: str
    pronouns: tuple[str, str]
    item: tuple[str, str]

    @property
    def label(self) -> str:
        if self.scene.measure:
            return self.holder
        if self.scene.nouns:
            return f"{self.item[1]} in {self.holder}"
        return f"{self.holder}'s {self.item[1]}"

    def noun_phrase(self, random: Random) -> str:
        scene, holder, items = self.scene, self.holder, self.item[1]
        if scene.measure == "age" and random.random() < 0.5:
            return f"{holder}'s age"
        if scene.measure:
            return f"the {scene.measure} of {holder}"
        verb, form = scene.verb[0], random.random()
        if form < 1 / 3:
            return f"the number of {self.label}"
        return (
            f"the number of {items} that {holder} {verb}" if form < 2 / 3 else f"the number of {items} {holder} {verb}"
        )


def things(random: Random, number: int) -> list[Thing]:
    """So many different quantities of one scene."""
    scene = random.choice(COUNTED if random.random() < 0.65 else MEASURED)
    kinds = 1 if scene.measure or len(scene.items) == 1 else random.randint(1, 4)
    items = random.sample(scene.items, min(kinds, len(scene.items)))
    holders = _holders(scene, random, -(-number // len(items)) + random.randint(0, 1))
    found = [Thing(scene, holder, pronouns, item) for holder, pronouns in holders for item in items]
    return random.sample(found, number)


def _holders(scene: Scene, random: Random, number: int) -> list[tuple[str, tuple[str, str]]]:
    if not scene.nouns:
        return random.sample(PEOPLE, number)
    if scene.coloured:
        kinds = random.sample(scene.nouns, random.randint(2, len(scene.nouns)))
        names = [f"{colour} {noun}" for noun in kinds for colour in COLOURS]
    else:
        names = list(scene.nouns)
    return [(f"{article(name) if scene.article == 'a' else 'the'} {name}", IT) for name in random.sample(names, number)]


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def sentence(random: Random, kind: str, number: int, subject: Thing, sources: list[Thing], unseen: bool) -> str:
    """The sentence that says what `subject` is: `kind` as in quantities.Relation."""
    special = OF_MEASURED if subject.scene.measure else OF_COUNTED
    options = UNSEEN[kind] if unseen else random.choice([BOTH, special, special])[kind]
    if sources and sources[0].holder == subject.holder:
        options = [option for option in options if not option.startswith("{H2}")]
    if subject.scene.nouns:  # a barn counts nothing
        options = [option for option in options if "{his}" not in option]
    return fill(random, random.choice(options), number, subject, sources)


def question(random: Random, kind: str, subject: Thing | None, sources: list[Thing], unseen: bool) -> str:
    """How the question is put; without a subject it asks for the sum or the difference of the sources."""
    scene = (subject or sources[0]).scene
    if subject is not None:
        options = ASK_UNSEEN["one"] if unseen else random.choice([ASK, list(scene.ask) or ASK_COUNTED])
        return fill(random, random.choice(options), 0, subject, [])
    first, second = sources
    if unseen:
        options = ASK_UNSEEN[kind]
    elif kind == "sum":
        options = [*ASK_SUM, *([scene.ask_both] if scene.measure else [])]
        if not scene.measure and first.item == second.item:
            options.append("How many {items2} {do} {H2} and {H3} {have} together?")
        elif not scene.measure and first.holder == second.holder:
            options.append("How many {items2} and {items3} {does} {H2} {have} together?")
    else:
        options = [*ASK_DIFFERENCE, *([scene.ask_more] if scene.measure else [])]
        if not scene.measure and first.item == second.item:
            options.append("How many more {items2} {does} {H2} {have} than {H3}?")
        elif not scene.measure and first.holder == second.holder:
            options.append("How many more {items2} than {items3} {does} {H2} {have}?")
    return fill(random, random.choice(options), 0, first, [first, second])


def fill(random: Random, template: str, number: int, subject: Thing, sources: list[Thing]) -> str:
    scene = subject.scene
    s, have, does = scene.verb
    fields = {
        "n": number, "H": subject.holder, "his": subject.pronouns[1], "items": subject.item[1], "s": s, "have": have,
        "amount": f"{number} {subject.item[number != 1]}" if scene.measure else number,
        "does": does, "do": {"does": "do"}.get(does, does), "noun": subject.item[number != 1], "label": subject.label,
        "behind": scene.behind, "more": scene.more, "less": scene.less, "much": scene.much,
    }  # fmt: skip
    if "{np}" in template:
        fields["np"] = subject.noun_phrase(random)
    for i, source in enumerate(sources, 2):
        fields |= {f"H{i}": source.holder, f"item{i}": source.item[0], f"items{i}": source.item[1],
                   f"label{i}": source.label}  # fmt: skip
        if f"{{np{i}}}" in template:
            fields[f"np{i}"] = source.noun_phrase(random)
    if "{than2}" in template:
        fields["than2"] = _than(random, subject, sources[0])
    if "{times}" in template:
        fields["times"] = random.choice(TIMES[number])
    elif "{part}" in template:
        fields["part"] = random.choice(PART[number])
    text = template.format(**fields)
    return text[0].upper() + text[1:]


def _than(random: Random, subject: Thing, source: Thing) -> str:
    verb, does = source.scene.verb[0], source.scene.verb[2]
    if source.item == subject.item:
        return random.choice([source.holder, f"{source.holder} {does}"])
    if source.holder == subject.holder:
        return random.choice([source.item[1], f"{source.pronouns[0]} {verb} {source.item[1]}"])
    return f"{source.holder} {verb} {source.item[1]}"
