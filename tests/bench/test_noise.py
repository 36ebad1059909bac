"""Queries made worse by rule, for the benchmark of quality: each rule changes what it says, and nothing else."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("noise", ROOT / "benchmarks" / "noise.py")
noise = importlib.util.module_from_spec(spec)
spec.loader.exec_module(noise)

RULES = {
    "misspelt": lambda query: noise.misspelt(query, 0.5),
    "misspelt everywhere": lambda query: noise.misspelt(query, 1.0),
    "abbreviated": noise.abbreviated,
    "paraphrased": noise.paraphrased,
}
SAMPLES = [
    json.loads(line)["text"]
    for line in (ROOT / "corpora" / "samples" / "queries.jsonl").read_text(encoding="utf-8").splitlines()
]
LINES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=80).filter(
    str.strip
)


def edits(left, right):
    """The fewest letters put in, left out, typed for another or swapped with a neighbour (Damerau, 1964)."""
    rows = {(i, 0): i for i in range(len(left) + 1)} | {(0, j): j for j in range(len(right) + 1)}
    for i in range(1, len(left) + 1):
        for j in range(1, len(right) + 1):
            least = min(rows[i - 1, j] + 1, rows[i, j - 1] + 1, rows[i - 1, j - 1] + (left[i - 1] != right[j - 1]))
            if i > 1 and j > 1 and left[i - 2 : i] == right[j - 2 : j][::-1]:
                least = min(least, rows[i - 2, j - 2] + 1)
            rows[i, j] = least
    return rows[len(left), len(right)]


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@given(query=LINES)
def test_something_is_always_asked_and_digits_stay(rule, query):
    asked = RULES[rule](query)
    assert asked.strip()
    assert asked == RULES[rule](query)
    assert re.findall(r"\d", asked) == re.findall(r"\d", query)


@pytest.mark.parametrize("rule", RULES)
def test_most_queries_change(rule):
    changed = [query for query in SAMPLES if RULES[rule](query) != query]
    assert len(changed) > 0.8 * len(SAMPLES)


def test_a_slip_is_one_edit_behind_the_first_letter_of_a_longer_content_word():
    kinds = set()
    for query in SAMPLES:
        before, after = query.split(), noise.misspelt(query, 1.0).split()
        assert len(after) == len(before)
        for word, typed in zip(before, after, strict=True):
            letters = re.sub(r"\W", "", word)
            if letters != word.strip(",.?"):  # with an apostrophe or hyphen
                continue
            slips = len(letters) >= 4 and letters.lower() not in noise.COMMON
            assert edits(word, typed) == slips, (word, typed)
            assert typed[0] == word[0]
            kinds.add((len(typed) - len(word), sorted(typed) == sorted(word)) if slips else None)
    assert kinds == {None, (1, False), (-1, False), (0, False), (0, True)}  # all four slips come


def test_what_is_typed_by_mistake_lies_beside_it_on_the_keyboard():
    assert set(noise.NEIGHBOURS["s"]) == set("awedxz")
    assert set(noise.NEIGHBOURS["p"]) == set("ol")
    assert set(noise.NEIGHBOURS["a"]) == set("qwsz")
    for letter, beside in noise.NEIGHBOURS.items():
        assert all(letter in noise.NEIGHBOURS[other] for other in beside)


@pytest.mark.slow
def test_more_slips_keep_those_that_were_there():
    clean = [(query, place, word) for query in SAMPLES for place, word in enumerate(query.split())]
    counts = dict.fromkeys((0.0, 0.2, 0.5, 1.0), 0)
    for seed in range(10):
        slipped = {
            share: {
                (query, place): typed
                for query, place, word in clean
                if (typed := noise.misspelt(query, share, seed).split()[place]) != word
            }
            for share in counts
        }
        assert slipped[0.0] == {}
        assert slipped[0.2].items() < slipped[0.5].items() < slipped[1.0].items()
        for share, words in slipped.items():
            counts[share] += len(words)
    assert counts[0.2] / counts[1.0] == pytest.approx(0.2, abs=0.03)
    assert counts[0.5] / counts[1.0] == pytest.approx(0.5, abs=0.03)


def test_another_seed_gives_other_slips():
    assert noise.misspelt(SAMPLES[0], 1.0, seed=1) != noise.misspelt(SAMPLES[0], 1.0)


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("how does high blood pressure cause damage to the kidneys?", "HBP cause damage kidneys"),
        ("The temperature was approximately 37.5 °C in 1,000 patients", "temp approx 37.5 C 1,000 pts"),
        ("Concentration of ALPHAFETOPROTEIN in HBP-treated mice", "Concentr ALPHAFETOPROTEIN HBP-treated mice"),
        ("who is it", "who is it"),  # nothing but common words
        ("what's a sigmet", "sigmet"),
        ("do not eat mushrooms", "not eat mushr"),
        ("?!", "?!"),
    ],
)
def test_a_hurried_person_types(query, asked):
    assert noise.abbreviated(query) == asked


@pytest.mark.parametrize(
    ("query", "clause"),
    [
        ("what are the social determinants of health", "what the social determinants of health are"),
        ("What’s a sigmet?", "what a sigmet is"),
        ("exons definition", "what exons means"),
        ("causes of military suicide", "what brings about military suicide"),
        ("why do people in a crowd not help", "why persons in a crowd not support"),
        ("do goldfish grow", "whether goldfish grow"),
        ("Smoking increases the risk of disease.", "whether it is true that smoking raises the likelihood of illness"),
        ("DNA repair in 3 mice", "about DNA repair in 3 mice"),
        ("I cannot sleep", "about I can't sleep"),
    ],
)
def test_other_words_in_another_order(query, clause):
    asked = noise.paraphrased(query)
    opening = next(opening for opening in noise.OPENINGS if asked.startswith(opening))
    assert asked == f"{opening} {clause}"


def test_openings_differ():
    assert {next(o for o in noise.OPENINGS if noise.paraphrased(q).startswith(o)) for q in SAMPLES} == {*noise.OPENINGS}


def test_a_word_has_one_partner():
    words = [*noise.SYNONYMS, *noise.SYNONYMS.values()]
    assert len(words) == len(set(words))
    assert not noise.COMMON & {*words}
