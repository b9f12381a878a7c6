"""What the problems of `quantities.py` are about: scenes, who or what holds, and sentences with the right number and
gender. The templates of the sentences are in `phrasings.py`.
"""

from dataclasses import dataclass
from random import Random

from thinkling.tasks.phrasings import (
    ASK,
    ASK_COUNTED,
    ASK_DIFFERENCE,
    ASK_SUM,
    ASK_UNSEEN,
    BOTH,
    OF_COUNTED,
    OF_MEASURED,
    PART,
    TIMES,
    UNSEEN,
    UNSEEN_COUNTED,
    UNSEEN_MEASURED,
)

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


@dataclass(frozen=True)
class Thing:
    """One quantity in words: its holder (with pronouns) and what it has of it."""

    scene: Scene
    holder: str
    pronouns: tuple[str, str]
    item: tuple[str, str]

    @property
    def label(self) -> str:
        """Its name in a solution."""
        return self.holder if self.scene.measure else f"{self.holder}'s {self.item[1]}"

    @property
    def phrase(self) -> str:
        """Its name in a sentence about a counted thing."""
        return f"{self.item[1]} in {self.holder}" if self.scene.nouns else self.label

    def noun_phrase(self, random: Random) -> str:
        scene, holder, items = self.scene, self.holder, self.item[1]
        if scene.measure == "age" and random.random() < 0.5:
            return f"{holder}'s age"
        if scene.measure:
            return f"the {scene.measure} of {holder}"
        verb, form = scene.verb[0], random.random()
        if form < 1 / 3:
            return f"the number of {self.phrase}"
        return (
            f"the number of {items} that {holder} {verb}" if form < 2 / 3 else f"the number of {items} {holder} {verb}"
        )


def things(random: Random, number: int) -> list[Thing]:
    """So many different quantities of one scene."""
    scene = random.choice(COUNTED if random.random() < 0.65 else MEASURED)
    kinds = 1 if scene.measure or len(scene.items) == 1 else random.choice((1, 1, 2, 2, 3))
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
    measured = subject.scene.measure
    special = (UNSEEN_MEASURED if measured else UNSEEN_COUNTED) if unseen else OF_MEASURED if measured else OF_COUNTED
    both = UNSEEN if unseen else BOTH
    options = random.choice([both, special, special])[kind]
    if sources and sources[0].holder == subject.holder:
        options = [option for option in options if not option.startswith("{H2}")]
    if sources and (sources[0].item != subject.item or sources[0].holder == subject.holder):
        options = [option for option in options if "with {H2}" not in option] or both[kind]
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
        "does": does, "do": {"does": "do"}.get(does, does), "noun": subject.item[number != 1], "label": subject.phrase,
        "behind": scene.behind, "more": scene.more, "less": scene.less, "much": scene.much,
    }  # fmt: skip
    if "{np}" in template:
        fields["np"] = subject.noun_phrase(random)
    for i, source in enumerate(sources, 2):
        fields |= {f"H{i}": source.holder, f"item{i}": source.item[0], f"items{i}": source.item[1],
                   f"label{i}": source.phrase}  # fmt: skip
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
