"""Pictures over HTTP: asked by one, put in as files, shown small, and from afar through a server as a home."""

import base64
import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import image_checkpoints as shown
from support.command_line import run
from support.named_hash import NAME, NamedHash, until
from support.serving import served

import semsearch
from semsearch.errors import DataError, UsageError
from semsearch.server import small_pictures

pytestmark = pytest.mark.slow

SEARCH = "/v1/collections/photos/search"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return str(shown.clip(tmp_path_factory.mktemp("clip") / "model"))


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        kind = "PNG" if number % 2 else "JPEG"
        (folder / f"{number}.{kind.lower()}").write_bytes(shown.written(shown.picture(number), kind))
    return folder


@pytest.fixture
def server(photos, clip, tmp_path, monkeypatch):
    """A server of a folder of pictures, and of texts whose model reads no pictures."""
    real = semsearch.models.encoder
    monkeypatch.setattr(
        "semsearch.models.encoder",
        lambda name, *args, **how: NamedHash(name, dim=16) if name == NAME else real(name, *args, **how),
    )
    home = str(tmp_path / "served")
    assert run("index", photos, "--encoder", clip, "--home", home).code == 0
    with served(home, encoders=(clip, NAME), folders={"photos": photos}, files=tmp_path / "kept") as running:
        running.ask("/v1/collections", {"name": "texts", "encoder": NAME}, 201)
        running.ask("/v1/collections/texts/documents", {"documents": [{"id": "note", "text": "a dog on the beach"}]})
        yield running


def sent(number, kind="PNG"):
    return base64.b64encode(shown.written(shown.picture(number), kind)).decode()


def test_a_server_is_asked_by_a_picture_and_by_both(server, photos):
    found = server.ask(SEARCH, {"image": sent(3), "k": 2})
    assert (found["hits"][0]["id"], found["query"]) == ("3.png", None)
    assert found["hits"][0]["score"] == pytest.approx(1, abs=1e-5)
    both = server.ask(SEARCH, {"image": sent(3), "query": "a cat", "k": 4})["hits"]
    with semsearch.open("photos", home=server.service.home) as opened:
        expected = opened.search("a cat", 4, image=photos / "3.png")
    assert [(hit["id"], hit["score"]) for hit in both] == [
        (hit.id, pytest.approx(hit.score, abs=1e-5)) for hit in expected
    ]


def test_what_cannot_be_explained_names_the_model_and_not_where_it_lies(server, clip):
    told = server.ask(SEARCH, {"query": "a cat", "explain": True})["hits"][0]["explanation"]["why"]
    assert "the model model " in told
    assert str(Path(clip).parent) not in told


def test_what_is_no_picture_is_refused_in_a_sentence(server):
    no_picture = base64.b64encode(b"no picture").decode()
    for image, status in (("???", 400), (no_picture, 422), (sent(1)[:400], 422), ("", 422)):
        told = server.refused(SEARCH, {"image": image}, status)
        assert "picture" in told["message"], told
        assert "png" not in told["message"], told
    assert "picture" in server.refused(SEARCH, {"image": sent(1), "vector": [0.0] * 16})["message"]
    assert "picture" in server.refused(SEARCH, {"image": sent(1), "queries": ["a"]})["message"]
    assert "a picture has none" in server.refused(SEARCH, {"image": sent(1), "explain": True})["message"]
    told = server.refused("/v1/collections/texts/search", {"image": sent(1)})
    assert "reads texts alone" in told["message"]


def test_several_collections_are_asked_by_a_picture_and_those_of_texts_are_told(server, clip, photos):
    assert (
        run("index", photos, "--name", "again", "--encoder", clip, "--home", str(server.service.home.folder)).code == 0
    )
    found = server.ask("/v1/search", {"image": sent(2, "JPEG"), "k": 3, "collections": ["photos", "texts", "again"]})
    assert {(hit["collection"], hit["id"]) for hit in found["hits"][:2]} == {("photos", "2.jpeg"), ("again", "2.jpeg")}
    assert any(note.startswith("texts is left out: ") for note in found["notes"])
    home = server.service.home
    with semsearch.Federation.open(["photos", "texts", "again"], home=home) as together:
        hits = together.search(image=photos / "2.jpeg", k=3)
        assert [(hit.collection, hit.id) for hit in hits] == [(hit["collection"], hit["id"]) for hit in found["hits"]]
        with pytest.raises(UsageError, match="can't be asked in the mode"):
            together.search(image=photos / "2.jpeg", mode="lexical")
    told = run("query", "photos,again", "--image", photos / "2.jpeg", "-k", "1", "--json", "--home", str(home.folder))
    assert json.loads(told.out)["hits"][0]["id"] == "2.jpeg"


def test_a_picture_is_put_in_as_a_file_and_shown_small(server):
    large = shown.picture(9, (900, 600))
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "a secret description"
    large.save(file, "JPEG", exif=exif)
    task = server.post(
        "/v1/collections/photos/files/new.jpg",
        content=file.getvalue(),
        headers={"content-type": "application/octet-stream"},
    )
    assert server.finished(task.json())["state"] == "done"
    image = base64.b64encode(file.getvalue()).decode()
    hit = server.ask(SEARCH, {"image": image, "k": 1})["hits"][0]
    assert (hit["id"], hit["metadata"]["image_format"]) == ("new.jpg", "JPEG")
    path = "/v1/collections/photos/original/thumbnail"
    for identity, longest in (("new.jpg", 320), ("3.png", 60)):
        answer = server.get(path, params={"id": identity})
        assert answer.headers["content-type"] == "image/jpeg"
        assert "sandbox" in answer.headers["content-security-policy"]
        small = Image.open(io.BytesIO(answer.content))
        assert max(small.size) == longest
        assert b"secret" not in answer.content
    assert max(Image.open(io.BytesIO(server.get(path, params={"id": "new.jpg", "side": 64}).content)).size) == 64
    assert server.refused(f"{path}?id=new.jpg&side=5000")["code"] == "invalid_parameter"
    assert server.refused(f"{path}?id=missing", status=404)["code"] == "file_not_found"


def test_thumbnails_of_a_collection_share_a_process_that_ends_by_itself(server, photos, monkeypatch):
    begun = []
    real = subprocess.Popen

    class Counted(real):
        def __init__(self, *arguments, **how):
            super().__init__(*arguments, **how)
            begun.append(self)

    monkeypatch.setattr(subprocess, "Popen", Counted)
    monkeypatch.setattr(small_pictures, "IDLE_SECONDS", 0.2)
    path = "/v1/collections/photos/original/thumbnail"
    (photos / "3.png").write_bytes(b"no picture any more")
    answers = [server.get(path, params={"id": name}) for name in ("0.jpeg", "3.png", "1.png", "2.jpeg")]
    assert [answer.status_code for answer in answers] == [200, 422, 200, 200]
    assert str(photos) not in answers[1].text
    assert len(begun) <= 2
    until(lambda: all(process.poll() is not None for process in begun))
    assert server.get(path, params={"id": "0.jpeg"}).content == answers[0].content
    server.service.small_pictures.close()
    assert all(process.poll() is not None for process in begun)


def test_a_server_as_a_home_is_given_pictures_and_asked_by_them(server, photos, clip):
    made = run("index", photos, "--name", "afar", "--encoder", clip, "--home", server.url)
    assert made.code == 0, made.err
    told = run("query", "afar", "--image", photos / "1.png", "-k", "1", "--json", "--home", server.url)
    assert json.loads(told.out)["hits"][0]["id"] == "1.png"
    with (
        semsearch.open("afar", home=server.url) as afar,
        semsearch.open("photos", home=server.service.home) as here,
    ):
        for asked in ({"image": photos / "0.jpeg"}, {"query": "a dog", "image": np.asarray(shown.picture(1))}):
            mine, theirs = ({hit.id: hit.score for hit in one.search(**asked)} for one in (afar, here))
            assert mine == pytest.approx(theirs, abs=1e-5)
    with semsearch.open("texts", home=server.url) as texts, pytest.raises(UsageError, match="reads texts alone"):
        texts.search(image=photos / "0.jpeg")


def test_pixels_on_their_way_are_bounded(server):
    from semsearch import engine_wire as ew

    pixels = shown.picture(5)
    assert (ew.read_pixels(ew.pixels_json(np.asarray(pixels))) == np.asarray(pixels)).all()
    height, width, packed = ew.pixels_json(np.zeros((64, 64, 3), np.uint8))
    for said in (
        None,
        [],
        [1, 2],
        [height, width],
        ["64", 64, packed],
        [height, width, 5],
        [height, width, "?"],
        [height, 2 * width, packed],
        [8, 8, packed],  # which is less than what is packed
        [-1, -64, packed],
        [0, 64, packed],
    ):
        with pytest.raises(DataError, match="a picture must be"):
            ew.read_pixels(said)
    with pytest.raises(DataError, match="has 16,777,216 pixels at most"):
        ew.read_pixels([1 << 20, 1 << 20, packed])
