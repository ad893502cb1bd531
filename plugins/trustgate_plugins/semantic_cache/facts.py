"""What two texts must share to mean the same, however similar they are: numbers, names, what is quoted, what is denied.

An embedder finds "the results of 2023" and "the results of 2024" as good as equal. So these are compared exactly, in
the order in which they stand. Where it cannot be told whether something is a name it is taken for one: then two
questions are answered twice, and none wrongly.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

_QUOTED: Final = re.compile(
    r'"([^"\n]+)"|“([^”\n]+)”|„([^“”\n]+)[“”]|«([^»\n]+)»|`([^`\n]+)`|(?<!\w)\'([^\'\n]+)\'(?!\w)'
)
_TOKEN: Final = re.compile(r"\S+")
_EDGES: Final = "\"'“”„\u2018\u2019«»`()[]{}<>,;:.!?¡¿…*"
_WORD: Final = re.compile("\\w+(?:['\u2019]\\w+)*", re.UNICODE)
_SENTENCE_ENDS: Final = ".!?:\n…"


def _words(text: str) -> frozenset[str]:
    """A text of words is read more easily than a list of them."""
    return frozenset(text.split())


NUMBER_WORDS: Final = _words(
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion trillion
    first second third fourth fifth sixth seventh eighth ninth tenth half quarter double triple twice thrice dozen
    null eins ein eine einen zwei drei vier fünf sechs sieben acht neun zehn elf zwölf zwanzig dreißig hundert tausend
    erste ersten zweite zweiten dritte dritten halb doppelt
    zéro un une deux trois quatre cinq sept huit neuf dix onze douze vingt trente cent mille premier première deuxième
    cero uno una dos tres cuatro cinco seis siete ocho nueve diez once doce veinte treinta cien mil primero segundo
    due tre quattro cinque sei sette otto nove dieci primo secondo
    um uma dois duas três quatro sete oito nove dez primeiro
    een twee drie vijf zes zeven acht negen tien
    """
)
DENYING: Final = _words(
    """
    not no never none nobody nothing neither nor without cannot except excluding unless
    nicht kein keine keinen nie niemals ohne weder außer
    ne pas jamais sans aucun aucune sauf
    nunca sin ningún ninguna excepto
    non mai senza nessun nessuno
    não nunca sem nenhum
    niet geen nooit zonder
    """
)
BEGINNINGS: Final = _words(
    """
    a an the this that these those what which who whom whose when where why how is are was were do does did can could
    will would shall should may might must has have had i i'm i'd i've it it's we you my your our his her their there
    if in on at for from to with and or but so as by of please tell give show list find explain describe write create
    make summarize summarise compare define name calculate compute help let translate suggest recommend provide discuss
    hi hello hey thanks thank
    """
)
"""Words that sentences begin with and that are no names there."""


def facts(text: str) -> tuple[str, ...]:
    """Return what has to be the same in two texts, in the order in which it stands."""
    plain = unicodedata.normalize("NFKC", text)
    return (*_quoted(plain), "|", *_telling(plain))


def _quoted(text: str) -> Iterator[str]:
    for match in _QUOTED.finditer(text):
        yield next(group for group in match.groups() if group is not None)


def _telling(text: str) -> Iterator[str]:
    begins = True
    for match in _TOKEN.finditer(text):
        token = match[0].strip(_EDGES).removesuffix("'s").removesuffix("\u2019s")
        begins = begins or "\n" in text[max(0, match.start() - 2) : match.start()]
        if token and _tells(token, begins=begins):
            yield token.casefold()
        begins = match[0].rstrip("\"'”\u2019)]*")[-1:] in _SENTENCE_ENDS


def _tells(token: str, *, begins: bool) -> bool:
    if any(unicodedata.numeric(letter, None) is not None for letter in token):
        return True
    lower = token.casefold()
    for word in _WORD.findall(lower):
        if word in NUMBER_WORDS or word in DENYING or word.endswith(("n't", "n\u2019t")):
            return True
    if begins:
        return token != token.lower() and lower not in BEGINNINGS
    return _is_name(token)


def _is_name(token: str) -> bool:
    """A word with a capital, an address, a path, an identifier, or anything in a script that has no capitals."""
    if token in ("I", "I'm", "I'd", "I've", "I'll"):
        return False
    if token != token.lower() or any(sign in token for sign in "@/\\_#$€£%&=+<>^|~."):
        return True
    return any(letter.isalpha() and letter.lower() == letter.upper() for letter in token)
