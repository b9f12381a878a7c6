"""English words of two and three letters, which are no product of those letters; and which words keep their case."""

import re

_FORMULA = re.compile(r"[A-Z][A-Za-z]|(?=.*[a-z])[A-Za-z]+[A-Z][A-Za-z]*")
SHORT_WORDS = frozenset(
    """
    add age ago aid aim air all am an and any are arm art as ask at bad bag ban bar bat be bed bee bet bid big bit
    box boy bus but buy by can cap car cat cow cup cut day did die dig do dog due ear east eat egg end err eve eye
    fan far fat few fig fit fix for fox fun get go god got gun gut ham has hat he hen her him his hit hot how ice if
    ill in inf ink is it its jar job joy key kid kit law lay leg let lie lip log lot low mad man map mat max may me
    men met mix mom mud my nan nap net new nil no nod nor not now nun nut oak odd of off ok oil old on one or our out
    own pan pay pea pen per pet pie pig pin pit pot put ran rat raw red rod row rug run sad sat saw say sea see set
    sex she sin sir sit six ski sky so sob son sum sun tan tap tax tea ten the tie tin tip to toe too top toy try
    two up us use van via vie war was wax way we web wed wet who why wig win won yes yet you zoo
""".split()
)


def cased(word: str) -> str:
    """A word in lower case; one that may be a formula (Co and CO, NaCl, H2O) or a name (McKay) as it stands."""
    letters = re.sub("[0-9]", "", word)
    return word if _FORMULA.fullmatch(letters) and letters.casefold() not in SHORT_WORDS else word.casefold()
