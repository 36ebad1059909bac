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
