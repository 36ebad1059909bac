"""What people type, to be typed at whatever an attacker left in the place of a collection."""

import json

from attack.arena import TEXTS, documents


def everyday(case, name=TEXTS):
    """Command lines about a collection, each with what its words mean in this case."""
    more = case.work / "more.jsonl"
    if not more.exists():
        more.write_text("".join(json.dumps({"id": d.id, "text": d.text, "n": 1}) + "\n" for d in documents("y", 5)))
    return [
        ["list"],
        ["list", "--json"],
        ["info", name],
        ["info", name, "--json"],
        ["query", name, "word1 word2"],
        ["query", name, "word1 word2", "--json"],
        ["query", name, "word1", "--mode", "hybrid", "--json"],
        ["query", name, "word1", "--where", "n > 3", "-o", "ids"],
        ["similar", name, "b1"],
        ["get", name, "b1"],
        ["check", name, "--deep", "--json"],
        ["check", name],
        ["repair", name],
        ["compact", name],
        ["reindex", name],
        ["reindex", name, "--index", "exact"],
        ["tune", name, "--recall", "0.9"],
        ["calibrate", name],
        ["remove", name, "b3"],
        ["backup", name, case.work / "a.backup"],
        ["export", name, case.work / "exported"],
        ["reencode", name, "-m", case.arena.other_model],
        ["index", more, "--name", name, "--add"],
        ["sync", name],
        ["restore", case.backup, "--name", name],
        ["drop", name, "--yes"],
    ]


def type_some(case, count=2, name=TEXTS, **options):
    """Type some of them, one after the other; a write that was acknowledged must have been done."""
    for words in case.rng.sample(everyday(case, name), count):
        ended = case.run(*words, as_json="--json" in words, **options)
        if ended.code == 0 and words[0] in ("index", "remove"):
            there = case.look(name, own=False)
            if there is not None and words[0] == "index" and not {d.id for d in documents("y", 5)} <= there.keys():
                case.problems.append("documents that 'index' acknowledged are not there")
            if there is not None and words[0] == "remove" and "b3" in there:
                case.problems.append("a document that 'remove' acknowledged is still there")
