"""Collections of pictures, and of pictures and texts: by text, picture, or both; alike ones; changes; refusals."""

import json

import numpy as np
import pytest
from support import image_checkpoints as shown
from support import tiny
from support.command_line import run

import semsearch
from semsearch.errors import UsageError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return str(shown.clip(tmp_path_factory.mktemp("clip") / "model"))


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sea").mkdir(parents=True)
    for number in range(6):
        name = f"sea/{number}.png" if number % 2 else f"dog_{number}.jpg"
        said = shown.exif(taken=f"20{20 + number}:05:01 12:00:00", camera=("Canon", "EOS"))
        kind = "PNG" if number % 2 else "JPEG"
        (folder / name).write_bytes(shown.written(shown.picture(number), kind, exif=said))
    (folder / "broken.jpg").write_bytes(b"broken")
    return folder


def test_a_folder_is_indexed_and_asked_by_text_picture_and_both(photos, clip):
    made = run("index", photos, "--encoder", clip)
    assert made.code in (0, 3), made.err
    assert "added 6" in made.out + made.err
    assert "broken.jpg" in made.err
    like = run("query", "photos", "--image", photos / "sea" / "3.png", "-k", "2", "--json")
    assert like.code == 0, like.err
    first, _ = json.loads(like.out)["hits"]
    assert first["id"] == "sea/3.png"
    assert first["score"] == pytest.approx(1, abs=1e-5)
    assert first["metadata"]["taken"] == "2023-05-01T12:00:00"
    both = json.loads(run("query", "photos", "--image", photos / "sea" / "3.png", "a dog", "-k", "6", "--json").out)
    assert both["hits"][0]["score"] < first["score"]
    assert len(both["hits"]) == 6
    text = json.loads(run("query", "photos", "a dog", "--where", "taken >= 2023-01-01", "--json").out)
    assert {hit["id"] for hit in text["hits"]} == {"sea/3.png", "dog_4.jpg", "sea/5.png"}
    words = json.loads(run("query", "photos", "sea", "--mode", "lexical", "--json").out)
    assert {hit["id"] for hit in words["hits"]} == {"sea/1.png", "sea/3.png", "sea/5.png"}


def test_the_scores_are_those_of_the_towers(photos, clip):
    run("index", photos, "--encoder", clip, "--dtype", "float32")
    encoder = semsearch.load_encoder(clip, device="cpu", dtype="float32")
    with semsearch.open("photos", dtype="float32") as opened:
        pixels = [semsearch.read_image(photos / "dog_0.jpg")]
        (text,), (picture,) = encoder.encode_queries(["a cat"]), encoder.encode_images(pixels)
        scores = {hit.id: hit.score for hit in opened.search("a cat")}
        assert scores["dog_0.jpg"] == pytest.approx(float(text @ picture), abs=1e-5)
        by_array = opened.search(image=pixels[0], k=1)
        assert by_array[0].id == "dog_0.jpg"
        both = {hit.id: hit.score for hit in opened.search("a cat", image=photos / "dog_0.jpg")}
        direction = (text + picture) / np.linalg.norm(text + picture)
        assert both["dog_0.jpg"] == pytest.approx(float(direction @ picture), abs=1e-5)
        with pytest.raises(UsageError, match="not by both"):
            opened.search(image=pixels[0], vector=text)


def test_what_changed_is_encoded_anew_and_what_did_not_is_not(photos, clip):
    run("index", photos, "--encoder", clip)
    (photos / "dog_0.jpg").write_bytes(shown.written(shown.picture(99), "JPEG"))
    (photos / "sea" / "1.png").unlink()
    again = run("sync", "photos")
    assert "changed 1" in again.out + again.err
    with semsearch.open("photos") as opened:
        hit = opened.search(image=np.asarray(shown.picture(99)), k=1)[0]
        assert hit.id == "dog_0.jpg"
        assert len(opened) == 5


def test_alike_pictures_are_found_as_pairs(photos, clip):
    (photos / "copy.jpg").write_bytes(shown.written(shown.picture(2), "JPEG", quality=60))
    run("index", photos, "--encoder", clip)
    found = json.loads(run("pairs", "photos", "--limit", "1", "--json").out.splitlines()[0])
    assert {"copy.jpg", "dog_2.jpg"} <= set(json.dumps(found).replace('"', " ").split())


def test_texts_and_pictures_are_in_one_collection(photos, clip, tmp_path):
    (tmp_path / "notes.jsonl").write_text('{"id": "note", "text": "the dog at the sea"}\n', "utf-8")
    run("index", photos, "--encoder", clip, "--name", "both")
    added = run("index", tmp_path / "notes.jsonl", "--name", "both", "--add")
    assert added.code == 0, added.err
    with semsearch.open("both") as opened:
        found = {hit.id for hit in opened.search("the dog at the sea", k=10)}
        assert {"note", "dog_0.jpg"} <= found
        opened.add([semsearch.ImageDocument("mine", "of mine", pixels=np.asarray(shown.picture(7))), "another text"])
        assert opened.search(image=np.asarray(shown.picture(7)), k=1)[0].id == "mine"


def test_a_model_of_texts_refuses_pictures_and_names_one_that_reads_them(photos, tmp_path):
    tiny.bert(tmp_path / "bert")
    made = run("index", photos, "--encoder", tmp_path / "bert")
    assert made.code != 0
    assert "reads texts alone" in made.err
    assert "clip" in made.err
    (tmp_path / "notes.jsonl").write_text('{"id": "1", "text": "the dog"}\n', "utf-8")
    run("index", tmp_path / "notes.jsonl", "--encoder", tmp_path / "bert")
    asked = run("query", "notes", "--image", photos / "dog_0.jpg")
    assert "reads texts alone" in asked.err


def test_another_model_needs_the_files_again_and_says_so(photos, clip, tmp_path):
    run("index", photos, "--encoder", clip)
    other = shown.clip(tmp_path / "other", seed=5)
    said = run("reencode", "photos", "--encoder", other)
    assert said.code != 0
    assert "index its folder again" in said.err
    with semsearch.open("photos") as opened:
        assert opened.search(image=photos / "dog_0.jpg", k=1)[0].score == pytest.approx(1, abs=1e-5)


def test_questions_about_a_picture_that_is_none_are_sentences(photos, clip, tmp_path):
    run("index", photos, "--encoder", clip)
    for arguments, says in (
        (("--image", tmp_path / "none.jpg"), "no file"),
        (("--image", photos / "broken.jpg"), "no picture of a kind"),
        (("--image", photos / "dog_0.jpg", "-"), "one TEXT or none"),
        (("--image", photos / "dog_0.jpg", "--compare-exact"), "one TEXT or none"),
    ):
        asked = run("query", "photos", *arguments)
        assert asked.code not in (0, 1), asked.out
        assert says in asked.err
