"""Where attacks take place: collections that are copied for each case, and canaries that must not change."""

import hashlib
import json
import random
import shutil
import struct

import numpy as np

import semsearch
from attack.children import DEADLINE, Child
from attack.judge import faults

WORDS = [f"word{number}" for number in range(60)]
COUNT = 40  # documents of a collection
DIM = 8
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "NO_COLOR": "1",  # what colours a terminal, then, is a document's
    "TERM": "dumb",
    "COLUMNS": "200",
    "PYTHONIOENCODING": "utf-8",
}
TEXTS, VECTORS, NAMED = "docs", "vectors", "strange"


def documents(prefix, count, seed=0):
    """Documents whose text begins with their id."""
    rng = random.Random(f"{prefix} {seed}")
    return [
        semsearch.Document(
            f"{prefix}{number}",
            f"{prefix}{number} {' '.join(rng.choices(WORDS, k=5))}",
            title=rng.choice(["", "a title"]),
            metadata={"n": number},
        )
        for number in range(count)
    ]


def model(folder, seed=0):
    """The files of a model2vec model: a vector a word."""
    tokens = ["[UNK]", *WORDS, "a", "title", *(f"{letter}{number}" for letter in "abcdrxy" for number in range(COUNT))]
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True}))
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {token: number for number, token in enumerate(tokens)},
            "unk_token": "[UNK]",
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    table = np.random.default_rng(seed).standard_normal((len(tokens), DIM)).astype("<f4")
    header = json.dumps({"embeddings": {"dtype": "F32", "shape": table.shape, "data_offsets": [0, table.nbytes]}})
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode() + table.tobytes())


def fill(home, model_folder, backend):
    """In a child: a collection of texts and one of vectors, each with an index and rows newer than it."""
    with semsearch.create(TEXTS, home=home, encoder=str(model_folder), index=backend) as collection:
        collection.add(documents("b", COUNT))
        collection.reindex(backend)
        collection.backup(home.parent / "docs.backup")
    with semsearch.create(VECTORS, home=home, encoder=None, dim=DIM, index=backend) as collection:
        collection.add(documents("v", COUNT), np.random.default_rng(1).standard_normal((COUNT, DIM)))
        collection.reindex(backend)


def contents(home, name, own):
    """In a child: the text of each document; what is wrong with them and hits, if texts begin with their `own` ids."""
    with semsearch.open(name, home=home) as collection:
        there = {document.id: [document.text, document.metadata.get("n")] for document in collection}
        wrong = []
        if own:
            wrong = [
                f"{key} has the text of another: {text!r}" for key, (text, _) in there.items() if not owned(key, text)
            ]
        if own and collection.settings["encoder"] is not None:
            questions = [text for text, _ in list(there.values())[:3]]
            for hits in collection.search_many([*questions, "word1 word2"], 5):
                wrong += [f"a hit {h.id} has the text {h.text!r}" for h in hits if not owned(h.id, h.text)]
                wrong += [f"a hit {h.id} is no document that is there" for h in hits if h.id not in there]
    return [there, wrong]


def owned(identity, text):
    """Whether the text is of the document: it begins with its id."""
    return text.split()[:1] == [identity]


def mended(home, name):
    """In a child: the problems that a deep check finds, and those that are left after a repair."""
    with semsearch.open(name, home=home) as collection:
        before = [f"{problem.part}: {problem.what}" for problem in collection.check(deep=True)]
        if before:
            collection.repair()
        return [before, [f"{problem.part}: {problem.what}" for problem in collection.check(deep=True)]]


def digests(folder):
    """Of everything in a folder: kind, mode and bytes, by name."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else "",
        )
        for path in folder.rglob("*")
    }


class Arena:
    """Everything that cases are copied from."""

    def __init__(self, root, backends=("hnsw", "faiss-ivf", "annoy")):
        self.root = root
        self.model, self.other_model = root / "model", root / "other-model"
        model(self.model)
        model(self.other_model, 1)
        self.backends = []
        for backend in (*backends, "exact"):
            own = {"SEMSEARCH_STATE": str(root / backend / "state")}  # of the person who made them
            child = Child(fill, (root / backend / "home", self.model, backend), environment=ENVIRONMENT | own)
            ended = child.wait(120)
            if ended.code == 0:
                self.backends.append(backend)
            elif "pip install" not in ended.err:
                raise RuntimeError(f"no collection to attack can be made: {ended.err}")
            else:
                shutil.rmtree(root / backend)


class Case:
    """One attack: a copy of the collections, canaries, what was done, and what was wrong."""

    def __init__(self, arena, family, number):
        self.name, self.number = f"{family}:{number}", number
        self.rng = random.Random(self.name)
        self.arena = arena
        self.place = arena.root / "case"
        shutil.rmtree(self.place, ignore_errors=True)
        self.backend = self.rng.choice(arena.backends)
        shutil.copytree(arena.root / self.backend, self.place)
        self.home = self.place / "home"
        self.database = self.home / TEXTS / "collection.sqlite"
        self.backup = self.place / "docs.backup"
        self.work = self.place / "work"
        self.work.mkdir()
        self.canary = self.place / "canary"
        shutil.copytree(arena.root / self.backend / "home" / TEXTS, self.canary / TEXTS)
        (self.canary / "secret.txt").write_text("secret0 word1 of somebody else\n")
        self._before = digests(self.canary)
        self.did, self.problems = [], []

    def note(self, what):
        """Say what is done."""
        self.did.append(what)

    def start(self, action, *arguments, **options):
        """A process that begins now, or behind its gate."""
        options.setdefault("cwd", self.work)
        own = {"SEMSEARCH_HOME": str(self.home), "SEMSEARCH_STATE": str(self.place / "state")}
        environment = ENVIRONMENT | own | options.pop("environment", {})
        return Child(action, arguments, environment=environment, **options)

    def judge(self, ended, *, as_json=False):
        """Take down how it ended and what is wrong with that."""
        self.note(f"→ {ended.code} {short((ended.err or ended.out).strip())}")
        self.problems += [f"{ended.what[:200]}: {fault}" for fault in faults(ended, as_json=as_json)]
        return ended

    def run(self, *words, deadline=DEADLINE, as_json=False, **options):
        """A command line, judged."""
        words = [str(word) for word in words]
        self.note(f"semsearch {' '.join(words)[:160]}")
        return self.judge(self.start(words, **options).wait(deadline), as_json=as_json)

    def call(self, function, *arguments, deadline=DEADLINE):
        """A function of public calls, judged."""
        self.note(f"{function.__name__}{tuple(map(short, arguments))}")
        return self.judge(self.start(function, *arguments).wait(deadline))

    def look(self, name=TEXTS, own=True):
        """The documents of a collection by id, as [text, n], after their texts and hits were judged; None if shut."""
        ended = self.call(contents, self.home, name, own)
        if ended.answer is None:
            return None
        there, wrong = ended.answer
        self.problems += wrong
        return there

    def whole(self, name=TEXTS, prefix="b"):
        """Judge that all that was committed is there, and sound or mendable."""
        there = self.look(name)
        if there is None:
            self.problems.append(f"'{name}' can't be read any more")
            return
        wanted = {document.id: [document.text, document.metadata["n"]] for document in documents(prefix, COUNT)}
        for key, entry in wanted.items():
            if there.get(key) != entry:
                self.problems.append(f"the committed {key} is {there.get(key)} instead of {entry}")
                break
        self.sound(name)

    def sound(self, name=TEXTS):
        """Judge that a deep check is clean, or is after a repair."""
        ended = self.call(mended, self.home, name)
        if ended.answer is None:
            self.problems.append(f"can't be repaired: {ended.err.strip()[-200:]}")
        elif ended.answer[1]:
            self.problems.append(f"after a repair: {ended.answer[1][:2]}")

    def end(self):
        """Judge the canaries."""
        after = digests(self.canary)
        changed = sorted(n for n in self._before.keys() | after.keys() if self._before.get(n) != after.get(n))
        if changed:
            self.problems.append(f"changed outside: {', '.join(changed[:5])}")


def short(value):
    text = str(value)
    return text if len(text) < 80 else f"{text[:77]}…"
