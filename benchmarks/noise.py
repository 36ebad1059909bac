"""Queries as people type them, made by rule: misspelt, abbreviated, paraphrased. Nothing here is a person's writing.

Every rule is a function of the query and a seed alone, whatever other queries there are. No query becomes empty, and
digits stay: a word with one in it (B12, MFGE8, 2019) comes out as it went in. A content word is one that is not in
`COMMON`. The tables are short; queries of the public sets were read while they were written, but no figure was.

`misspelt`: each content word of at least four letters gets one slip with a given probability: two neighbouring
letters swapped, a letter left out, a letter put in beside it that lies next to it on the keyboard, or one typed for
it; each as likely as the other. The first letter stays, as in most slips that people make (Kukich, "Techniques for
automatically correcting words in text", 1992). With a higher probability more words have a slip, and those that had
one keep it.

`abbreviated`: what a hurried person types. Terms of `SHORT` become their usual abbreviation, common words (unless there
is nothing else) and the punctuation around words go, and words of at least nine letters are cut before the first vowel
(or y) behind the fifth letter: biomaterials → biomat. There is no chance in it.

`paraphrased`: no human paraphrase, and not always good English. Contractions are written out and what can be
contracted is; words of `SYNONYMS` become their partner, whatever they mean there; a question becomes an indirect one,
with its words in that order (`FORMS`: what is X → what X is, X definition → what X means, do X → whether X), what ends
with a full stop "whether it is true that" it, anything else "about" it; and one of `OPENINGS` is put in front, by
chance. To a search by words, the opening is words to look for like the others.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
LETTERS = 4  # that a word has at least which is misspelt
LONG = 9  # letters that a word has at least which is cut …
KEPT = 5  # … behind these, before the next vowel
ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")

_COMMON = """
    a about all also am an and any are as at be because been being between both but by can could did do does
    during each for from further had has have having he her here him his how i if in into is it its itself just
    me might more most much must my of off on once one only or other our out over own per same shall she should
    so some such than that the their them then there these they this those through to too under until up upon us
    very was we were what when where which while who whom whose why will with within would you your
"""
COMMON = frozenset(_COMMON.split())

SHORT = {
    "high blood pressure": "HBP",
    "blood pressure": "BP",
    "body mass index": "BMI",
    "cardiovascular disease": "CVD",
    "coronary heart disease": "CHD",
    "low density lipoprotein": "LDL",
    "magnetic resonance imaging": "MRI",
    "central nervous system": "CNS",
    "randomized controlled trial": "RCT",
    "polymerase chain reaction": "PCR",
    "heart attack": "MI",
    "type 2 diabetes": "T2D",
    "united states": "US",
    "united kingdom": "UK",
    "for example": "eg",
    "tuberculosis": "TB",
    "vitamin": "vit",
    "vitamins": "vits",
    "approximately": "approx",
    "definition": "def",
    "department": "dept",
    "government": "govt",
    "information": "info",
    "international": "intl",
    "laboratory": "lab",
    "management": "mgmt",
    "maximum": "max",
    "medication": "med",
    "medications": "meds",
    "minimum": "min",
    "patient": "pt",
    "patients": "pts",
    "temperature": "temp",
    "treatment": "tx",
    "university": "univ",
    "versus": "vs",
    "weight": "wt",
    "year": "yr",
    "years": "yrs",
}

CONTRACTED = {
    "cannot": "can't",
    "do not": "don't",
    "does not": "doesn't",
    "did not": "didn't",
    "is not": "isn't",
    "are not": "aren't",
    "was not": "wasn't",
    "were not": "weren't",
    "should not": "shouldn't",
    "would not": "wouldn't",
    "will not": "won't",
    "has not": "hasn't",
    "have not": "haven't",
    "i am": "i'm",
    "it is": "it's",
}
WRITTEN_OUT = {short: long for long, short in CONTRACTED.items()} | {
    f"{word}'s": f"{word} is" for word in ("what", "who", "where", "how", "that", "there")
}

_PAIRS = """
    affect/influence affects/influences animals/beasts area/region areas/regions avoid/prevent
    avoiding/preventing babies/infants baby/infant begin/start begins/starts benefit/advantage
    benefits/advantages big/large bigger/larger buy/purchase cause/trigger caused/triggered causes/triggers
    change/alter changes/alters cheap/inexpensive children/kids choose/select common/frequent cost/price
    danger/hazard dangerous/hazardous decrease/decline decreased/declined decreases/declines disease/illness
    diseases/illnesses doctor/physician doctors/physicians drug/medicine drugs/medicines elderly/aged
    enhance/improve enhanced/improved enhances/improves fast/quick faster/quicker find/discover food/nourishment
    foods/foodstuffs help/support helps/supports hot/warm house/home important/crucial increase/raise
    increased/raised increases/raises inhibit/block inhibits/blocks job/occupation kill/destroy kills/destroys
    limit/restrict limits/restricts living/alive main/chief many/numerous method/technique methods/techniques
    money/cash necessary/needed new/novel old/ancient pain/ache part/portion people/persons picture/image
    popular/favourite produce/generate produces/generates promote/encourage promotes/encourages protect/shield
    protects/shields quickly/rapidly reduce/lower reduced/lowered reduces/lowers related/connected require/need
    requires/needs result/outcome results/outcomes risk/likelihood risks/likelihoods safe/harmless
    show/demonstrate shows/demonstrates sick/ill small/little smaller/lesser stop/halt stops/halts strange/odd
    strong/powerful studies/investigations study/investigation treat/manage type/kind types/kinds use/employ
    used/employed uses/employs woman/lady women/ladies work/function works/functions wrong/incorrect
"""
SYNONYMS = dict(pair.split("/") for pair in _PAIRS.split())
PARTNER = SYNONYMS | {there: here for here, there in SYNONYMS.items()}

ASKS = "what|who|when|where|why|how"
FORMS = tuple(
    (re.compile(pattern, re.IGNORECASE), becomes)
    for pattern, becomes in (
        (r"(?:the )?(?:definition of|meaning of|define) (.+)", r"what \1 means"),
        (r"(.+) (?:definition|meaning)", r"what \1 means"),
        (r"(?:the )?(?:difference|differences) between (.+)", r"how \1 differ"),
        (r"(?:the )?causes of (.+)", r"what brings about \1"),
        (r"how to (.+)", r"the way to \1"),
        (rf"({ASKS}) (is|are|was|were) (.+)", r"\1 \3 \2"),
        (rf"({ASKS}) (?:do|does|did) (.+)", r"\1 \2"),
        (r"(?:do|does|did) (?!not)(.+)", r"whether \1"),
        (rf"((?:{ASKS}|which|whose|whether)\b.+)", r"\1"),
    )
)
OPENINGS = ("I would like to know", "please tell me", "I want to find out", "could you tell me")


def misspelt(query: str, share: float, seed: int = 0) -> str:
    """The query with a slip in about this share of its longer content words."""
    generator = random.Random(f"{seed} {query}")

    def typed(match: re.Match[str]) -> str:
        word = match[0]
        if len(word) < LETTERS or not word.isalpha() or word.lower() in COMMON:
            return word
        draw, slipped = generator.random(), _slip(word, generator)  # both drawn: other words' slips stay the same
        return slipped if draw < share else word

    return WORD.sub(typed, query)


def _slip(word: str, generator: random.Random) -> str:
    """The word with one slip, behind its first letter; always another word."""
    slips = ["swap", "leave out", "put in", "type for"]
    generator.shuffle(slips)
    places = list(range(1, len(word)))
    generator.shuffle(places)
    for slip in slips:
        for place in places:
            before, letter, behind = word[:place], word[place], word[place + 1 :]
            beside = generator.choice(NEIGHBOURS.get(letter.lower(), letter))
            beside = beside.upper() if letter.isupper() else beside
            typed = {
                "swap": before + behind[:1] + letter + behind[1:],
                "leave out": before + behind,
                "put in": before + letter + beside + behind,
                "type for": before + beside + behind,
            }[slip]
            if typed != word:
                return typed
    raise AssertionError(f"leaving a letter out changes every word, {word!r} too")


def _neighbours() -> Mapping[str, str]:
    """The letters beside each, and above and below it to the left and right, on an English keyboard."""
    place = {
        letter: (row, column + row / 2) for row, letters in enumerate(ROWS) for column, letter in enumerate(letters)
    }
    return {
        letter: "".join(
            other
            for other, (row, column) in place.items()
            if other != letter and abs(row - own[0]) <= 1 and abs(column - own[1]) <= 1
        )
        for letter, own in place.items()
    }


NEIGHBOURS = _neighbours()


def abbreviated(query: str) -> str:
    """The query as a hurried person types it."""
    words = [match[0] for match in _TERM.finditer(query)]
    kept = [word for word in words if _plain(word).removesuffix("'s") not in COMMON] or words
    return " ".join(SHORT.get(word.lower()) or _cut(word) for word in kept) or query


def _cut(word: str) -> str:
    """A long word before the first vowel behind its fifth letter; others, and capitals, whole."""
    if len(word) < LONG or not word.isalpha() or word.isupper():
        return word
    vowel = re.search("[aeiouy]", word[KEPT:], re.IGNORECASE)
    return word[: KEPT + vowel.start()] if vowel else word


def paraphrased(query: str, seed: int = 0) -> str:
    """The query in other words and another order."""
    text = query.strip()
    claim = text.endswith(".")
    text = text.rstrip(" .?!")
    if not text:
        return query
    text = _CONTRACTION.sub(lambda match: _as(match[0], _OTHER_FORM[_plain(match[0])]), text)
    first = text.split()[0]
    if len(first) > 1 and first[1:].islower():
        text = first[0].lower() + text[1:]
    clause = next((match.expand(becomes) for form, becomes in FORMS if (match := form.fullmatch(text))), None)
    if clause is None:
        clause = f"whether it is true that {text}" if claim else f"about {text}"
    clause = WORD.sub(lambda match: _as(match[0], PARTNER.get(match[0].lower(), match[0])), clause)
    return f"{random.Random(f'{seed} {query}').choice(OPENINGS)} {clause}"


def _as(word: str, other: str) -> str:
    """The other word, with a capital where the first has one."""
    return other[0].upper() + other[1:] if word[0].isupper() else other


def _plain(word: str) -> str:
    """In small letters, its apostrophe as on a keyboard."""
    return word.lower().replace("’", "'")


def _any_of(phrases: Iterable[str]) -> str:
    """A pattern for the phrases as whole words, longer ones first."""
    escaped = (re.escape(phrase).replace("'", "['’]") for phrase in sorted(phrases, key=len, reverse=True))
    return rf"(?<![\w-])(?:{'|'.join(escaped)})(?![\w'’-])"


# a term, or what stands between spaces without the punctuation around it
_TERM = re.compile(rf"{_any_of(SHORT)}|[^\W_]+(?:[^\w\s]+[^\W_]+)*", re.IGNORECASE)
_OTHER_FORM = CONTRACTED | WRITTEN_OUT
_CONTRACTION = re.compile(_any_of(_OTHER_FORM), re.IGNORECASE)
