"""Pictures as documents: every format, what their files say of them, and what is broken, huge or something else."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image
from support import image_checkpoints as shown

from corpora import images
from corpora.extraction import picture as extraction
from corpora.extraction.parts import Unreadable
from corpora.images import ImagesReader
from semsearch import Document, ImageDocument, read_image
from semsearch.errors import DataError, UsageError
from semsearch.ingest.source import ReadReport, Source
from semsearch.records import Record
from semsearch.types import Confidence

PICTURE = shown.picture(1)


def read(path, **options):
    report = ReadReport(skip=True)
    return list(ImagesReader.read(path, ImagesReader.Options(**options), report)), report


def put(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_every_format_gives_its_pixels_and_its_name(tmp_path, kind):
    suffix = {"JPEG": "jpg", "TIFF": "tif"}.get(kind, kind.lower())
    path = put(tmp_path, f"beach/Lucky_the-dog.{suffix}", shown.written(PICTURE, kind))
    (document,), _ = read(tmp_path)
    assert isinstance(document, ImageDocument)
    assert document.id == document.metadata["file"] == f"beach/Lucky_the-dog.{suffix}"
    assert document.text == "beach Lucky the dog"
    assert (document.metadata["image_format"], document.metadata["width"], document.metadata["height"]) == (
        kind,
        60,
        40,
    )
    with Image.open(path) as opened:
        assert np.array_equal(document.pixels, np.asarray(opened.convert("RGB")))


def test_what_the_file_says_is_metadata_and_turned_pictures_are_upright(tmp_path):
    said = shown.exif(
        taken="2021:05:01 12:30:59",
        camera=("Canon", "Canon EOS 5D"),
        orientation=6,
        description="Lucky at the sea",
        place=(("N", (52.0, 31.0, 12.0)), ("W", (13.0, 24.0, 0.0))),
    )
    put(tmp_path, "a.jpg", shown.written(PICTURE, "JPEG", exif=said))
    (document,), _ = read(tmp_path)
    facts = dict(document.metadata)
    assert facts == {
        "file": "a.jpg", "image_format": "JPEG", "width": 40, "height": 60, "orientation": 6,
        "taken": "2021-05-01T12:30:59", "camera": "Canon EOS 5D", "latitude": 52.52, "longitude": -13.4,
    }  # fmt: skip
    assert document.text == "a Lucky at the sea"
    assert document.pixels.shape == (60, 40, 3)


@pytest.mark.parametrize(
    ("said", "lacks"),
    [
        ({"taken": "yesterday"}, "taken"),
        ({"taken": "0000:00:00 00:00:00"}, "taken"),
        ({"camera": ("", "")}, "camera"),
        ({"place": (("N", (900.0, 0.0, 0.0)), ("E", (1.0, 0.0, 0.0)))}, "latitude"),
    ],
)
def test_what_makes_no_sense_is_left_out(tmp_path, said, lacks):
    put(tmp_path, "a.jpg", shown.written(PICTURE, "JPEG", exif=shown.exif(**said)))
    (document,), report = read(tmp_path)
    assert lacks not in document.metadata
    assert not report.skipped


def test_an_animation_gives_its_first_picture_and_its_length(tmp_path):
    frames = [shown.picture(seed) for seed in range(3)]
    put(tmp_path, "a.gif", shown.written(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    put(tmp_path, "b.webp", shown.written(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    documents, _ = read(tmp_path)
    assert [document.metadata["frames"] for document in documents] == [3, 3]


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16", "F"])
def test_pictures_of_other_colours_become_rgb(tmp_path, mode):
    source = PICTURE.convert("L").convert(mode) if mode in ("LA", "I;16", "F", "1") else PICTURE.convert(mode)
    put(tmp_path, "a.tif", shown.written(source, "TIFF"))
    (document,), _ = read(tmp_path)
    assert document.pixels.shape == (40, 60, 3)


def bomb(width=60_000, height=60_000):
    """A PNG that says it is huge."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1_000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_bombs_what_ends_too_early_and_what_is_no_picture_are_named_and_the_rest_is_read(tmp_path):
    put(tmp_path, "bomb.png", bomb())
    whole = shown.written(shown.picture(2, (300, 300)), "JPEG")
    put(tmp_path, "cut.jpg", whole[: len(whole) // 2])
    put(tmp_path, "text.png", b"no picture at all")
    put(tmp_path, "script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")  # whose reader would start others
    put(tmp_path, "empty.gif", b"")
    put(tmp_path, "good.png", shown.written(PICTURE, "PNG"))
    documents, report = read(tmp_path)
    assert [document.id for document in documents] == ["good.png"]
    told = sorted(map(str, report.errors))
    for name, says in {
        "bomb.png": "60,000 by 60,000 pixels",
        "cut.jpg": "ends too early",
        "text.png": "no picture of a kind",
        "script.jpg": "no picture of a kind",
        "empty.gif": "no picture of a kind",
    }.items():
        assert any(name in error and says in error for error in told), (name, told)
    assert report.files.count == 5


@pytest.mark.slow
def test_a_picture_that_takes_too_much_memory_or_time_costs_itself(tmp_path):
    put(tmp_path, "a.png", shown.written(shown.picture(3, (7_000, 7_000)), "PNG", compress_level=1))
    put(tmp_path, "b.png", shown.written(PICTURE, "PNG"))
    documents, report = read(tmp_path, megabytes=400)
    assert [document.id for document in documents] == ["b.png"]
    assert "memory" in str(report.errors[0]) or "crashed" in str(report.errors[0]) or "decoded" in str(report.errors[0])


def test_a_large_picture_is_brought_to_what_models_read(tmp_path):
    put(tmp_path, "wide.png", shown.written(shown.picture(4, (3_000, 1_500)), "PNG"))
    (document,), _ = read(tmp_path)
    assert document.pixels.shape == (extraction.SHORTER, 2 * extraction.SHORTER, 3)
    assert (document.metadata["width"], document.metadata["height"]) == (3_000, 1_500)


def test_a_folder_of_pictures_is_one_and_one_of_papers_is_not(tmp_path):
    put(tmp_path, "photos/a.jpg", shown.written(PICTURE, "JPEG"))
    put(tmp_path, "photos/b/c.PNG", shown.written(PICTURE, "PNG"))
    put(tmp_path, "photos/notes.txt", b"a text")
    assert ImagesReader.recognises(tmp_path / "photos") == Confidence.LIKELY
    assert Source.of(tmp_path / "photos").format == "images"
    assert Source.of(tmp_path / "photos" / "a.jpg").format == "images"
    for number in range(3):
        put(tmp_path, f"photos/{number}.md", b"# A text")
    assert ImagesReader.recognises(tmp_path / "photos") == Confidence.NONE


def test_other_pixels_are_another_document_though_the_name_is_the_same():
    one, two = (Record.of(ImageDocument("a", "a", pixels=np.asarray(shown.picture(seed)))) for seed in (1, 2))
    assert one.hash != two.hash
    assert Record.of(ImageDocument("a", "a", pixels=np.asarray(shown.picture(1)))).hash == one.hash
    assert Record.of(Document("a", "a")).hash != one.hash


def test_one_picture_is_read_by_its_path(tmp_path):
    path = put(tmp_path, "a.png", shown.written(PICTURE, "PNG"))
    assert np.array_equal(read_image(path), np.asarray(PICTURE))
    with pytest.raises(UsageError, match="no file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(UsageError, match="no picture by its name"):
        read_image(put(tmp_path, "a.txt", b"x"))
    with pytest.raises(DataError, match="no picture of a kind"):
        read_image(put(tmp_path, "b.png", b"x"))


def test_pictures_do_not_come_from_standard_input():
    assert images.ImagesReader.suffixes[0] == ".jpg"
    with pytest.raises(UsageError, match="standard input"):
        Source.of("-")


def test_heic_is_read_where_a_plug_in_is(tmp_path, monkeypatch):
    heif = pytest.importorskip("pillow_heif", reason="the extra 'heic' is not installed")
    heif.register_heif_opener()
    said = shown.exif(taken="2024:02:03 04:05:06", camera=("Canon", "EOS"))
    place = put(tmp_path, "IMG_0001.HEIC", shown.written(PICTURE, "HEIF", exif=said, quality=100))
    (document,), report = read(place)
    assert not report.errors
    assert document.metadata["image_format"] == "HEIF"
    assert (document.metadata["taken"], document.metadata["camera"]) == ("2024-02-03T04:05:06", "Canon EOS")
    pixels = np.asarray(PICTURE)
    assert document.pixels.shape == pixels.shape
    assert np.abs(document.pixels.astype(int) - pixels).mean() < 20  # it is not kept without loss
    cut = put(tmp_path, "cut.heic", place.read_bytes()[:200])
    none, report = read(cut)
    assert not none
    assert report.errors


def test_heic_without_a_plug_in_is_told_what_reads_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for brand in (b"heic", b"mif1"):
        with pytest.raises(Unreadable, match=r"pip install 'semsearch\[heic\]'"):
            list(extraction.picture(io.BytesIO(b"\0\0\0\x18ftyp" + brand + b"\0" * 100)))
    with pytest.raises(Unreadable, match="it is no picture of a kind that is read"):
        list(extraction.picture(io.BytesIO(b"\0\0\0\x18ftypmp42" + b"\0" * 100)))
