"""Questions and filters that nobody should type, and documents that would drive a terminal."""

import json

import semsearch
from attack.arena import TEXTS, VECTORS

FAMILY = "hostile queries and filters"
SHARE = 12
ODD = (
    *(
        "",
        " ",
        "\t\n",
        "\0",
        "a\0b",
        "\x1b]0;pwned\x07",
        "\x9b31m",
        "\u202ereversed\u2066",
        "\u2028\u2029",
        "\ufeff",
        "\ufffe\uffff",
    ),
    *(
        "\U0010ffff" * 100,
        "e\u0301" * 5000,
        "\u200d" * 5000,
        "w" * 1_000_000,
        "word1 " * 200_000,
        '"' * 10_001,
        '"unclosed',
        "-",
        "- - -",
    ),
    *(
        '-"',
        "AND OR NOT",
        "word1 NEAR/2 word2",
        "title:word1",
        "word1*",
        "^word1",
        "(" * 5000,
        "{text}: word1",
        "'; DROP TABLE documents; --",
    ),
    *("-word1 " * 5000, '"word1 word2" ' * 3000, "%s%n%x", "../../etc/passwd", "-" * 100_000, "\udcff", "\ud800x"),
)
FILTERS = (
    *(
        "",
        "n",
        "n =",
        "= 1",
        "n = ",
        "n == 1",
        "n = 1 and",
        "(" * 5000 + "n = 1" + ")" * 5000,
        "not " * 5000 + "n = 1",
        "n = " + "9" * 50_000,
    ),
    *(
        "n > 1e400",
        "n > -1e400",
        "n = nan",
        "n = 9223372036854775808",
        "n > 1e-400",
        "n in ()",
        "n in (" + "1, " * 11_000 + "1)",
        "n like 'x'",
    ),
    *(
        " or ".join(f"n = {number}" for number in range(3000)),
        " and ".join(["n = 1"] * 3000),
        'n = "' + "x" * 100_000 + '"',
        's like "' + "%" * 9_999 + '"',
    ),
    *(
        's like "' + "_%" * 6_000 + '"',
        '"\\u0000" = 1',
        '"\x1b[31m" = 1',
        'n = "\ud800"',
        "n.a.b.c = 1",
        "n; drop table documents",
        'n = "\\',
        "exists",
        "n exists exists",
    ),
    *(
        '{"n": {"$gt": 1e999}}',
        '{"n": NaN}',
        '{"$and": []}',
        '{"$or": {}}',
        '{"$not": null}',
        '{"n": {"$in": {}}}',
        '{"n": {"$in": [[]]}}',
        '{"n": {"$x": 1}}',
        '{"": 1}',
    ),
    *(
        '{"n":' * 5000,
        '{"$and": [' * 400 + '{"n": 1}' + "]}" * 400,
        '{"n": 1, "n": 2}',
        "[]",
        "null",
        '"n = 1"',
        '{"n": {"$in": [' + "1," * 11_000 + "1]}}",
    ),
    *(
        '{"n": {"$like": 1}}',
        '{"n": {"$exists": "yes"}}',
        '{"$n": 1}',
        '{"n": ' + "9" * 6000 + "}",
        '{"n": {"$gt": null}}',
        '{"n": {"$gt": [1]}}',
        '{"n": {"$eq": {"a": 1}}}',
    ),
)
NUMBERS = ("0", "-1", "1", "40", "100000000000", "9" * 5000, "1e3", "x", "", "0x10", "١", "nan")


def on_the_command_line(case):
    """An odd question or filter as words of a command, or from standard input."""
    rng = case.rng
    question, where = rng.choice(ODD), rng.choice(FILTERS)
    stdin = b""
    words = ["query", TEXTS]
    if len(question) > 100_000 or "\0" in question or rng.random() < 0.4:
        stdin = question.encode("utf-8", "surrogateescape" if question == "\udcff" else "surrogatepass") + b"\nword1\n"
        words.append("-")
    else:
        words += ["--", question]
    options = []
    if rng.random() < 0.6 and "\0" not in where and "\ud800" not in where and len(where) < 120_000:
        options += ["--where", where]
    options += rng.choice(
        [
            [],
            [],
            ["--mode", "lexical"],
            ["--mode", "hybrid"],
            ["--explain"],
            ["--mmr-lambda", "0.5"],
            ["--by-passage", "--context", "3"],
            ["--compare-exact"],
        ]
    )
    if rng.random() < 0.2:
        options += [rng.choice(["-k", "--candidates", "--context"]), rng.choice(NUMBERS)]
    as_json = rng.random() < 0.5
    options += ["--json"] if as_json else []
    case.note(f"the question {question[:30]!r}, the filter {where[:40]!r}")
    case.run(*words[:2], *options, *words[2:], stdin=stdin, as_json=False, terminal=not as_json and rng.random() < 0.6)


def other_commands(case):
    """The same where other commands take it."""
    rng = case.rng
    odd = rng.choice([text for text in ODD if len(text) < 100_000 and "\0" not in text and "\ud800" not in text])
    where = rng.choice([text for text in FILTERS if len(text) < 100_000 and "\ud800" not in text])
    words = rng.choice(
        [
            ["get", TEXTS, "--", odd],
            ["get", TEXTS, "--json", "--", odd],
            ["remove", VECTORS, "--where", where],
            ["remove", TEXTS, "--", odd],
            ["similar", TEXTS, "--", odd],
            ["grep", "-m", case.arena.model, "--", odd, case.arena.model / "config.json"],
            ["query", TEXTS, "word1", "--min-score", odd],
            ["query", TEXTS, "word1", "-o", odd],
            ["info", "--", odd],
            ["query", "--", odd, "word1"],
            ["reindex", TEXTS, "--index", odd],
            ["reindex", TEXTS, "--option", f"x={odd}"],
            ["reindex", TEXTS, "--recall", rng.choice(NUMBERS)],
            ["query", TEXTS, "word1", "--rerank", odd],
            ["query", TEXTS, "word1", "--device", odd],
            ["query", TEXTS, "word1", "--threads", rng.choice(NUMBERS)],
            [odd],
        ]
    )
    case.run(*words, as_json="--json" in words and "get" not in words, terminal=rng.random() < 0.5)


def in_python(case):
    """Questions, filters and numbers of every type."""
    case.note("questions, filters and numbers in Python")
    case.call(ask, case.home, case.number)


class Odd:
    """Says that it is anything."""

    def __eq__(self, other):
        return True

    __hash__ = None


def ask(home, seed):
    import random

    rng = random.Random(f"ask {seed}")
    deep = {"n": 1}
    for _ in range(rng.choice([60, 5000])):
        deep = {"$not": deep}
    circle = {}
    circle["$and"] = [circle]
    wheres = [
        *FILTERS,
        deep,
        circle,
        {1: 2},
        {"n": float("nan")},
        {"n": 10**400},
        {"n": {"$in": range(10**9)}},
        {"n": Odd()},
        {"n": b"x"},
        {"$or": [{"n": n} for n in range(5000)]},
        7,
        [],
        Odd(),
    ]
    with semsearch.open(TEXTS, home=home) as collection:
        for _ in range(12):
            question = rng.choice([*ODD, None, 7, b"word1", ["word1"], Odd()])
            options = {}
            if rng.random() < 0.6:
                options["where"] = rng.choice(wheres)
            if rng.random() < 0.3:
                options["k"] = rng.choice([0, -1, 2**70, 1.5, True, None, "5", float("nan"), Odd()])
            if rng.random() < 0.3:
                options["mode"] = rng.choice(["dense", "lexical", "hybrid", "", None, 7])
            try:
                hits = collection.search(question, **options)
            except semsearch.SemsearchError as error:
                hits, said = [], str(error)
            else:
                said = "hits"
            assert said.strip(), "an error without a sentence"
            assert all(hit.text.split()[:1] == [hit.id] for hit in hits)
        assert len(collection) == 40


def on_a_terminal(case):
    """Documents whose ids, titles, texts and fields would drive a terminal."""
    rng = case.rng
    odd = [
        text
        for text in ODD
        if 0 < len(text) < 12_000 and "\ud800" not in text and "\udcff" not in text and text.strip(" \t\n")
    ]
    lines = []
    for number in range(6):
        fields = {
            "id": f"{rng.choice(odd)[:50]}{number}",
            "text": f"word1 {rng.choice(odd)}",
            "title": rng.choice(odd),
            rng.choice(odd)[:60]: rng.choice(odd),
        }
        lines.append(json.dumps(fields))
    path = case.work / rng.choice(["records.jsonl", "re\x1b[31mcords.jsonl", "x\u202ey.jsonl"])
    path.write_text("\n".join(lines))
    case.run("index", path, "--name", "new", "-m", case.arena.model, "--on-error", "skip", terminal=True)
    for words in rng.sample(
        [
            ["query", "new", "word1"],
            ["query", "new", "word1", "--explain"],
            ["query", "new", "word1", "--mode", "hybrid"],
            ["query", "new", "word1", "-o", "tsv"],
            ["query", "new", "word1", "-o", "ids"],
            ["query", "new", "word1", "-o", "csv"],
            ["query", "new", "word1", "-o", "trec"],
            ["query", "new", "word1", "--json"],
            ["query", "new", "word1", "--by-passage", "--context", "1"],
            ["query", "new", "word1", "--compare-exact"],
            ["query", "new", "word1", "--where", 'n = "x"'],
            ["info", "new"],
            ["list"],
            ["check", "new", "--deep"],
            ["sync", "new", "--dry-run"],
            ["get", "new", "nobody\x1b[31m"],
            ["grep", "-m", case.arena.model, "word1", path],
            ["sync", "new"],
        ],
        4,
    ):
        case.run(*words, as_json="--json" in words, terminal=True)
    case.run("query", "new", stdin=b"", terminal=True)


KINDS = (on_the_command_line, on_the_command_line, other_commands, in_python, on_a_terminal)


def attack(case):
    """One of the kinds, and afterwards every document is there."""
    KINDS[case.number % len(KINDS)](case)
    case.whole()
