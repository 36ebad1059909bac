"""What every engine's applications keep: over it they give what they give over a folder of this machine."""

import json

import pytest

import semsearch
from support.command_line import SUBJECTS, run, tiny_model

WORDS = [text.split() for text in SUBJECTS.values()]
DOCUMENTS = [
    semsearch.Document(
        f"d{at:02}",
        " ".join(own[(at + step * (1 + at // len(own))) % len(own)] for step in range(6)),
        metadata={"subject": subject, "year": f"{2015 + at % 5}-03-01"},
    )
    for at, (subject, own) in enumerate(
        (subject, own) for _ in range(8) for subject, own in zip(SUBJECTS, WORDS, strict=True)
    )
]


def commands(where, texts):
    """Each application, by what a person types."""
    asked = {
        "pairs": ("pairs", "notes", "--limit", 40),
        "pairs between": ("pairs", "notes", "--between", "more", "--limit", 20),
        "pairs by k": ("pairs", "notes", "-k", 2, "--limit", "all"),
        "pairs approximately": ("pairs", "notes", "--limit", 20, "--approximate"),
        "duplicates": ("duplicates", "notes", "--min-score", 0.97),
        "duplicates against": ("duplicates", "more", "--against", "notes", "--min-score", 0.9),
        "communities": ("clusters", "notes", "--min-score", 0.6, "--min-size", 2),
        "k-means": ("clusters", "notes", "--method", "kmeans", "--count", 5),
        "labels": ("clusters", "notes", "--method", "kmeans", "--count", 5, "--label-as", "cluster"),
        "assign": ("clusters", "notes", "--label-as", "cluster", "--assign"),
        "topics": ("topics", "notes", "--count", 4, "--over", "year", "--label-as", "topic"),
        "classify": ("classify", "notes", texts, "--field", "subject"),
        "bitext": ("bitext", "notes", "more"),
    }
    return {name: tuple(map(str, (*command, "--home", where))) for name, command in asked.items()}


def told(command):
    """What a command says, as JSON where it can, and how it ended."""
    plain = "--assign" in command or command[0] == "bitext"
    ended = run(*command, *(() if plain else ("--json",)))
    assert ended.code == 0, (command, ended.err)
    return ended.out or ended.err if plain else [json.loads(line) for line in ended.out.splitlines()]


class ApplicationsContract:
    """Inherit it, and give `place`: the URL of an empty home."""

    @pytest.fixture
    def places(self, place, tmp_path):
        """A folder and the engine's home, both with the same two collections."""
        model = str(tiny_model(tmp_path / "model"))
        for home in (str(tmp_path / "folder"), place):
            for name, some in (("notes", DOCUMENTS), ("more", DOCUMENTS[::3])):
                with semsearch.create(name, home=home, encoder=model) as made:
                    made.add(some)
        (tmp_path / "new.txt").write_text("\n".join(document.text for document in DOCUMENTS[:6]))
        return str(tmp_path / "folder"), place

    def test_all_commands_say_what_they_say_of_a_folder(self, places, tmp_path):
        pytest.importorskip("faiss")
        pytest.importorskip("datasketch")
        expected, found = (
            {name: told(command) for name, command in commands(place, tmp_path / "new.txt").items()} for place in places
        )
        for name, lines in expected.items():
            assert found[name] == lines, name
            assert lines, name
        pages = []
        for number, place in enumerate(places):
            for command in ("map", "topics"):
                file = tmp_path / f"{command}{number}.html"
                ended = run(command, "notes", "--count", "4", "--out", str(file), "--home", place)
                assert ended.code == 0, ended.err
                pages.append(file.read_bytes())
            with semsearch.open("notes", home=place) as notes:
                (document,) = notes.get(["d03"])
                pages.append((document.metadata["topic"], document.metadata["cluster"]))
        assert pages[:3] == pages[3:]

    def test_labels_stay_when_a_source_is_read_again_and_new_documents_get_theirs(self, places, tmp_path):
        pytest.importorskip("faiss")
        file = tmp_path / "notes.jsonl"
        lines = [json.dumps({"id": one.id, "text": one.text, "subject": one.metadata["subject"]}) for one in DOCUMENTS]
        first, rest = lines[:30], [lines[30][:-1] + ', "topic": "of its own"}', *lines[31:]]
        for home in places:
            asked = ("--home", home)
            encoder = ("--encoder", str(tmp_path / "model"))
            file.write_text("\n".join(first))
            assert run("index", file, "--name", "read", *encoder, *asked).code == 0
            labels = ("clusters", "read", "--label-as", "topic")
            assert run(*labels, "--method", "kmeans", "--count", 3, *asked).code == 0
            taken = run("clusters", "read", "--label-as", "subject", *asked)
            assert (taken.code, "'subject' that documents brought along (documents with one: 30)" in taken.err) == (
                2,
                True,
            )
            with semsearch.open("read", home=home) as read:
                before = {document.id: document.metadata["topic"] for document in read.documents()}
            changed = json.loads(first[0]) | {"text": "quite another text"}
            file.write_text("\n".join([json.dumps(changed), *first[1:], *rest]))
            with semsearch.open("read", home=home) as read:
                settings = dict(read.settings)
            assert f"would add {len(rest)}, change 1, remove 0" in run("sync", "read", "--dry-run", *asked).err
            with semsearch.open("read", home=home) as read:
                assert dict(read.settings) == settings, "nothing is written"
            assert run("sync", "read", *asked).code == 0
            with semsearch.open("read", home=home) as read:
                topics = {document.id: document.metadata.get("topic") for document in read.documents()}
            new = {json.loads(line)["id"] for line in rest} | {changed["id"]}
            own = json.loads(rest[0])["id"]
            assert topics.pop(own) == "of its own"
            assert topics == {identity: None if identity in new else before[identity] for identity in topics}
            refused = run(*labels, "--method", "kmeans", "--count", 3, *asked)
            assert (refused.code, "that documents brought along" in refused.err) == (2, True)
            assert run(*labels, "--assign", *asked).code == 0
            with semsearch.open("read", home=home) as read:
                topics = {document.id: document.metadata.get("topic") for document in read.documents()}
            assert {name: topic for name, topic in topics.items() if name not in new} == {
                name: topic for name, topic in before.items() if name not in new
            }
            assert sum(topics[name] is not None for name in new) > len(new) / 2
