"""Settings that somebody else wrote, with checksums that are right: damage in a sentence, before anything uses them."""

import json
import sqlite3
from contextlib import closing

import pytest
from support.command_line import run
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import CollectionDamaged
from semsearch.local.store import settings
from semsearch.search.calibration import LEVELS
from semsearch.types import Document

CRAFTED = [
    ("metric", ""),
    ("metric", 3),
    ("metric", ["cosine"]),
    ("passages", "yes"),
    ("splitting", 4),
    ("index", {"backend": []}),
    ("index", {"backend": "hnsw", "options": [1]}),
    ("index", {"backend": "auto", "options": {}, "recall": "most", "k": 10}),
    ("index", {"backend": "auto", "options": {}, "k": 0}),
    ("index", {"backend": "auto", "options": {}, "nonsense": 0}),
    ("index", None),
    ("languages", "de"),
    ("languages", ["xx"]),
    ("languages", ["fr", "en"]),
    ("languages", [["de"]]),
    ("calibration", 0),
    ("calibration", {"model": "none", "scores": [1.0]}),
    ("calibration", {"model": "none", "scores": ["a"] * len(LEVELS), "passages": 1, "pairs": 1, "mean_excess": 1.0}),
    ("calibration", {"model": "none", "scores": [1.0] * len(LEVELS), "passages": 1, "pairs": 1, "mean_excess": 0}),
    ("encoder", "all-MiniLM-L6-v2"),
    ("encoder", {"name": "x"}),
    ("encoder", {"name": 3, "revision": None, "fingerprint": "x"}),
    ("encoder", {"name": None, "fingerprint": "x"}),
    ("former_encoder", "all-MiniLM-L6-v2"),
    ("former_encoder", {"name": 3, "revision": None, "fingerprint": "x"}),
    ("uuid", "\x1b[31m"),
    ("created", []),
    ("reencoding", 7),
    ("reencoding", {"generation": 10**30, "target": {}}),
    ("reencoding", {"generation": True, "target": {}}),
    ("reencoding", {"generation": 7, "target": {}, "dim": "x"}),
    ("reencoding", {"generation": 7, "target": {}, "encoding": -1}),
    ("last_generation", "9"),
    ("last_generation", 10**30),
]


def craft(path, name, value):
    text = json.dumps(value)
    with closing(sqlite3.connect(path / "collection.sqlite")) as database:
        database.execute(
            "INSERT INTO settings VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value, "
            "crc = excluded.crc",
            (name, text, settings.setting_crc(name, text)),
        )
        database.execute("UPDATE state SET version = version + 1")
        database.commit()


@pytest.fixture
def home(tmp_path):
    for name in ("sound", "crafted"):
        with semsearch.create(name, encoder=HashEncoder(), home=tmp_path) as made:
            made.add([Document(str(i), f"text {i}") for i in range(3)])
    return tmp_path


@pytest.mark.parametrize(("name", "value"), CRAFTED, ids=repr)
def test_a_setting_that_nobody_writes_is_damage(home, name, value):
    with semsearch.open("crafted", home=home, encoder=HashEncoder()) as before:
        craft(home / "crafted", name, value)
        with pytest.raises(CollectionDamaged, match=f"the setting '{name}' is none that semsearch writes"):
            before.search("text", exact=True)
    with pytest.raises(CollectionDamaged, match="is none that semsearch writes"):
        semsearch.open("crafted", home=home, encoder=HashEncoder())
    with semsearch.open("sound", home=home, encoder=HashEncoder()) as other:
        assert len(other.search("text")) == 3


def test_one_of_them_does_not_end_the_list(home):
    craft(home / "crafted", "metric", "")
    ended = run("list", "--home", home)
    assert "sound" in ended.out
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "contract",
    [
        "[]",
        "{}",
        '{"target": "x", "met": true, "certified": 1, "k": 10}',
        '{"target": 0.9, "met": true, "k": 10}',
        "null",
        "1",
    ],
)
def test_a_contract_that_nobody_writes_is_damage(tmp_path, contract):
    with semsearch.create("made", encoder=HashEncoder(), home=tmp_path, index="exact", recall=0.9) as made:
        made.add([Document(str(i), f"text {i}") for i in range(30)])
        made.reindex()
    with closing(sqlite3.connect(tmp_path / "made" / "collection.sqlite")) as database:
        changed = database.execute("UPDATE indexes SET contract = ? WHERE backend = 'exact'", (contract,)).rowcount
        database.commit()
    assert changed > 0
    with (
        semsearch.open("made", home=tmp_path, encoder=HashEncoder()) as opened,
        pytest.raises(CollectionDamaged, match="semsearch check made"),
    ):
        opened.search("text 3")


def test_as_many_quantiles_as_a_calibration_keeps():
    assert len(LEVELS) == settings.QUANTILES


def test_defaults_without_end_are_told(tmp_path, monkeypatch):
    with (tmp_path / "semsearch.toml").open("wb") as file:
        file.truncate(1 << 34)
    monkeypatch.chdir(tmp_path)
    ended = run("list", "--home", tmp_path / "home")
    assert ended.code == 2
    assert "semsearch.toml can't be read: it has more than 1,048,576 bytes" in ended.err
    (tmp_path / "semsearch.toml").write_text("k = " + "[" * 100_000)
    ended = run("list", "--home", tmp_path / "home")
    assert ended.code == 2
    assert "Traceback" not in ended.err
