"""Files from a stranger: collections' own, changed or made by hand, and everything that is read to fill one."""

import contextlib
import gzip
import hashlib
import io
import json
import pickle
import sqlite3
import struct
import zipfile

import numpy as np

from attack import backups
from attack.arena import COUNT, DIM, TEXTS, documents
from attack.commands import type_some

FAMILY = "hostile files"
SHARE = 28
NUMBERS = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def mutated(rng, content):
    """`content` with bytes changed, cut, repeated or put in."""
    place = rng.randrange(len(content) or 1)
    number = rng.choice(NUMBERS).to_bytes(8, "little")
    return rng.choice(
        [
            lambda: content[:place] + bytes([rng.randrange(256)]) + content[place + 1 :],
            lambda: content[:place] + rng.randbytes(rng.randrange(1, 400)) + content[place + 400 :],
            lambda: content[:place] + bytes(rng.randrange(1, 4096)) + content[place:],
            lambda: content[:place],
            lambda: content + rng.randbytes(rng.randrange(1, 3000)),
            lambda: content[:place] + content[max(place - 4096, 0) :],
            lambda: content[:place] + number + content[place + 8 :],
            lambda: b"",
        ]
    )()


def of_a_collection(case):
    """A file of the collection is changed as disks and people change it."""
    folder = case.home / TEXTS
    path = case.rng.choice([path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock"])
    path.write_bytes(mutated(case.rng, path.read_bytes()))
    case.note(f"{path.relative_to(folder)} mutated")
    type_some(case, 2)


def of_an_index(case):
    """The body of an index is made by hand, and every digest above it is right."""
    folder = case.home / TEXTS
    found = list(folder.glob("indexes/*/manifest.json"))
    manifest = json.loads(found[0].read_text()) if found else {"files": {}}
    if not manifest["files"]:  # exact search keeps none
        of_a_collection(case)
        return
    name = case.rng.choice(sorted(manifest["files"]))
    body = found[0].parent / name
    content = body.read_bytes()
    for _ in range(case.rng.choice([1, 1, 4])):
        content = crafted(case.rng, content)
    body.write_bytes(content)
    if case.rng.random() < 0.2:
        option = case.rng.choice(sorted(manifest["options"]))
        manifest["options"][option] = case.rng.choice([-1, 0, 2**40, 1e308, "x", None, [], {}, True])
        case.note(f"the option {option} is {manifest['options'][option]!r}")
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    manifest["sizes"][name] = len(content)
    found[0].write_text(json.dumps(manifest, indent=1, sort_keys=True))
    with contextlib.closing(sqlite3.connect(folder / "collection.sqlite")) as database, database:
        database.execute("UPDATE indexes SET digest = ?", [hashlib.sha256(found[0].read_bytes()).hexdigest()])
    case.note(f"{name} crafted, its digests right")
    case.call(through_the_index, case.home, TEXTS)
    case.whole()
    type_some(case, 1)


def crafted(rng, content):
    """An index's body with a number in its head or a few of its links changed."""
    head = rng.randrange(0, max(min(len(content) - 8, 120), 1))
    anywhere = rng.randrange(0, max(len(content) - 8, 1))
    number = rng.choice([*NUMBERS, 3, 41, 1000, 10**6])
    return rng.choice(
        [
            lambda: content[:head] + struct.pack("<Q", number) + content[head + 8 :],
            lambda: content[:head] + struct.pack("<I", number % 2**32) + content[head + 4 :],
            lambda: content[:anywhere] + struct.pack("<I", number % 2**32) + content[anywhere + 4 :],
            lambda: content[:anywhere] + rng.randbytes(64) + content[anywhere + 64 :],
            lambda: content[:anywhere] + rng.randbytes(4) + content[anywhere + 4 :],
            lambda: content[: len(content) // 2] + rng.randbytes(len(content) - len(content) // 2),
            lambda: content[: len(content) - rng.randrange(1, 64)],
            lambda: rng.randbytes(len(content)),
        ]
    )()


def through_the_index(home, name):
    """In a child: answers by way of the index, whose hits are their documents."""
    import semsearch

    with semsearch.open(name, home=home) as collection:
        collection.load_index()
        for number in range(10):
            for hit in collection.search(f"b{number} word{number}", 5):
                assert hit.text.startswith(hit.id + " "), f"the hit {hit.id} has the text {hit.text!r}"


def a_backup(case):
    """A backup that was changed, or never was one."""
    if case.rng.random() < 0.4:
        a_backup_made_by_hand(case)
        return
    content = case.backup.read_bytes()
    case.backup.write_bytes(
        case.rng.choice(
            [lambda: mutated(case.rng, content), lambda: case.rng.randbytes(5000), lambda: b"SQLite format 3\0" * 400]
        )()
    )
    case.note("a backup mutated")
    if case.run("restore", case.backup, "--name", "again").code == 0:
        case.run("check", "again", "--deep")
        there = case.look("again")
        if there is not None:
            wanted = {d.id: d.text for d in documents("b", COUNT)}
            case.problems += [
                f"restored {key} as {text!r}" for key, (text, _) in there.items() if wanted.get(key) != text
            ][:1]


def a_backup_made_by_hand(case):
    """Members that lead out, are no files, or are odd; the digests are right."""
    manifest, files = backups.unpack(case.backup)
    rng, more = case.rng, []
    match rng.choice(["member", "member", "manifest", "vectors", "marker"]):
        case "member":
            more = [backups.leading_out(rng, case.canary)]
            case.note(f"a backup with {more[0].name!r} of kind {more[0].type!r}")
        case "manifest":
            key = rng.choice(["format", "name", "other"])
            manifest[key] = rng.choice([None, -1, 2**70, "../canary", "", [], {}, "\x1b[31m", "a/b", "x" * 5000])
            case.note(f"a backup whose {key} is {manifest[key]!r}")
        case "vectors":
            name = next(name for name in files if name.startswith("vectors"))
            files[name] = rng.choice([b"", files[name][:-3], files[name] * 3, b"\xff" * len(files[name])])
            case.note(f"a backup with other bytes in {name}")
        case "marker":
            files["marker"] = rng.choice([b"", b"x", b"\xff" * 36, b"0" * 36])
    backups.pack(case.backup, manifest, files, more)
    words = ["--name", "again"] if rng.random() < 0.7 else []
    if case.run("restore", case.backup, *words).code == 0:
        case.run("list")
        case.run("check", "again", "--deep")
        case.run("query", "again", "word1", "--json", as_json=True)


def records(case, count=20):
    path = case.work / "records.jsonl"
    path.write_text("".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in documents("b", count)))
    return path


def vectors(case):
    """A file of vectors that are none, too many, or more than vectors."""
    rng, path = case.rng, case.work / "vectors.npy"
    good = io.BytesIO()
    np.save(good, np.ones((20, DIM), "<f4"))
    good = good.getvalue()
    zipped = rng.random() < 0.35
    canary = str(case.canary / "secret.txt")

    def header(text):
        text = text.encode().ljust(118) + b"\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text

    def saved(array):
        file = io.BytesIO()
        np.save(file, array, allow_pickle=True)
        return file.getvalue()

    content = rng.choice(
        [
            lambda: mutated(rng, good),
            lambda: header("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 8), }"),
            lambda: header("{'descr': '<f4', 'fortran_order': False, 'shape': (20, 4611686018427387904), }"),
            lambda: header("{'descr': '<f4', 'fortran_order': False, 'shape': (-20, -8), }") + bytes(640),
            lambda: header("{'descr': '<f4', 'fortran_order': True, 'shape': (20, 8), }") + bytes(640),
            lambda: header("{'descr': '|O', 'fortran_order': False, 'shape': (20, 8), }") + pickle.dumps(Opens(canary)),
            lambda: header("__import__('os').remove(%r)" % canary),  # noqa: UP031
            lambda: header("(" * 110),
            lambda: saved(np.array([Opens(canary)] * 20, dtype=object)),
            lambda: saved(np.zeros(20, dtype=[("a", "<f4"), ("b", "<i8")])),
            lambda: saved(np.full((20, DIM), np.nan, "<f4")),
            lambda: saved(np.full((20, DIM), 1e300, "<f8")),
            lambda: saved(np.zeros((20, DIM), "<f4")),
            lambda: saved(np.ones((20, 3), "<f4")),
            lambda: saved(np.ones((19, DIM), "<f4")),
            lambda: saved(np.ones((20, DIM), "<c8")),
            lambda: saved(np.ones((20, DIM), "S4")),
            lambda: saved(np.zeros((20, DIM), "<M8[s]")),
            lambda: saved(np.ones((20, 0), "<f4")),
            lambda: saved(np.float32(1)),
        ]
    )()
    if zipped:
        path = path.with_suffix(".npz")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(rng.choice(["vectors.npy", "../vectors.npy", "arr_0.npy", "vectors"]), content)
            if rng.random() < 0.3:
                archive.writestr("ids.npy", bytes(1 << 28))
    else:
        path.write_bytes(content)
    case.note(f"vectors in {path.name} ({len(content):,} bytes)")
    case.run("index", records(case), "--name", "given", "--vectors", path, "-m", "none", "--unchecked")
    case.run("import", path, "--name", "imported", "-m", "none")


class Opens:
    """Deletes a file as it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.unlink, (self.path,)


class Runs(Opens):
    def __reduce__(self):
        return eval, (f"open({self.path!r}, 'w')",)


def pickles(case):
    """A pickle as sentence-transformers' users keep them, and what else a pickle can be."""
    rng, path, canary = case.rng, case.work / "embeddings.pkl", str(case.canary / "secret.txt")
    sentences = [d.text for d in documents("b", 20)]
    whole = {"sentences": sentences, "embeddings": np.ones((20, DIM), "<f4")}
    good = pickle.dumps(whole)
    content = rng.choice(
        [
            lambda: mutated(rng, good),
            lambda: pickle.dumps(Opens(canary)),
            lambda: pickle.dumps(whole | {"x": Runs(canary)}),
            lambda: pickle.dumps(whole | {"x": Opens(canary)}),
            lambda: b"cos\nsystem\n(S'rm -f %s'\ntR." % canary.encode(),
            lambda: b"cnumpy\nload\n(S'%s'\nI00\nI01\ntR." % canary.encode(),
            lambda: b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1000000000000\ntS'b'\ntR.",
            lambda: b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"x",
            lambda: b"\x80\x04\x96" + struct.pack("<Q", 1 << 40) + b"x.",
            lambda: b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b".",
            lambda: b"\x80\x02]" + b"]q\x01a" * 100_000 + b".",
            lambda: b"\x80\x02]q\x000" + b"".join(b"](h%ch%ceq%c0" % (i, i, i + 1) for i in range(40)) + b"h\x28.",
            lambda: b"\x80\x02r" + b"\xff\xff\xff\x7f" + b"N.",
            lambda: b"\x80\x02I" + b"9" * 100_000 + b"\n.",
            lambda: b"\x80\x02L" + b"9" * 1_000_000 + b"L\n.",
            lambda: pickle.dumps({"sentences": sentences, "embeddings": [[1.0] * DIM] * 20}),
            lambda: pickle.dumps({"sentences": sentences[:5], "embeddings": np.ones((20, DIM))}),
            lambda: pickle.dumps({"sentences": [None, b"x", 3, []] * 5, "embeddings": np.ones((20, DIM))}),
            lambda: pickle.dumps({"sentences": sentences, "embeddings": np.array([None] * 20, dtype=object)}),
            lambda: pickle.dumps([]),
        ]
    )()
    path.write_bytes(content)
    case.note(f"a pickle beginning with {content[:40]!r}")
    case.run("import", path, "--name", "imported", "-m", rng.choice(["none", case.arena.model]), "--unchecked")


def parquet(case):
    """Parquet whose bytes are changed, or whose columns are of other types."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, path, count = case.rng, case.work / "records.parquet", 20
    columns = {"id": [f"b{n}" for n in range(count)], "text": [f"b{n} word1" for n in range(count)]}
    odd = rng.choice(["none", "text", "id", "vector", "meta", "nested", "names"])
    match odd:
        case "text":
            columns["text"] = rng.choice(
                [[1] * count, [None] * count, [b"\xff"] * count, [["x"]] * count, [{"a": 1}] * count]
            )
        case "id":
            columns["id"] = rng.choice(
                [[1.5] * count, [None] * count, [b"\xff"] * count, ["x"] * count, [["x"]] * count]
            )
        case "vector":
            columns["vector"] = rng.choice(
                [
                    [[1.0] * 8] * 19 + [[1.0]],
                    [[float("nan")] * 8] * count,
                    [None] * count,
                    ["x"] * count,
                    [[None] * 8] * count,
                    [[[1.0]]] * count,
                ]
            )
        case "meta":
            columns["m"] = rng.choice([[float("inf")] * count, [2**62] * count, [b"\0\xff"] * count, [[None]] * count])
        case "nested":
            value = 1
            for _ in range(60):
                value = {"a": value}
            columns["m"] = [value] * count
        case "names":
            columns |= {"\x1b[31m": ["x"] * count, "": ["y"] * count, "text.x": [1] * count}
    table = pa.table(columns)
    pq.write_table(table, path, compression=rng.choice(["none", "snappy", "gzip", "zstd"]))
    if odd == "none":
        path.write_bytes(mutated(rng, path.read_bytes()))
    case.note(f"parquet with odd {odd}")
    extra = ["--vectors", "vector", "-m", "none", "--unchecked"] if odd == "vector" else ["-m", case.arena.model]
    case.run("index", path, "--name", "new", *extra, "--on-error", rng.choice(["skip", "stop"]))


def zipped(**files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_DOT_", "."), content)
    return file.getvalue()


BILLION = (
    '<!DOCTYPE x [<!ENTITY a "haha">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(12))
    + "]><w:document xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'><w:body><w:p><w:r><w:t>&m;</w:t></w:r></w:p></w:body></w:document>"
)


def secret_xml(path):
    return f"<!DOCTYPE x [<!ENTITY s SYSTEM 'file://{path}'>]><html><body><p>word1 &s;</p></body></html>"


def office(case):
    """A document of another program: bombs, nests, entities, names that lead out."""
    rng, secret = case.rng, case.canary / "secret.txt"
    office = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    schemas = "http://schemas.openxmlformats.org"
    types = (
        f"<Types xmlns='{schemas}/package/2006/content-types'>"
        f"<Override PartName='/word/document.xml' ContentType='{office}'/></Types>"
    )
    relations = (
        f"<Relationships xmlns='{schemas}/package/2006/relationships'><Relationship Id='r' Target='word/document.xml' "
        f"Type='{schemas}/officeDocument/2006/relationships/officeDocument'/></Relationships>"
    )
    container = (
        "<container xmlns='urn:oasis:names:tc:opendocument:xmlns:container'><rootfiles>"
        "<rootfile full-path='%s'/></rootfiles></container>"
    )
    package = (
        "<package xmlns='http://www.idpf.org/2007/opf'><manifest>"
        "<item id='a' href='%s' media-type='application/xhtml+xml'/></manifest><spine>%s</spine></package>"
    )

    def docx(body):
        return zipped(**{"[Content_Types]_DOT_xml": types, "_rels/.rels": relations, "word/document.xml": body})

    def epub(root, href, spine, page):
        return zipped(
            **{
                "mimetype": "application/epub+zip",
                "META-INF/container.xml": container % root,
                "a.opf": package % (href, spine),
                "a.html": page,
            }
        )

    one = "<itemref idref='a'/>"
    name, content = rng.choice(
        [
            ("a.docx", lambda: docx(BILLION)),
            ("a.docx", lambda: docx(secret_xml(secret))),
            ("a.docx", lambda: docx("<w:document>" + "<w:p>" * 100_000)),
            ("a.docx", lambda: docx(" " * (1 << 28))),
            (
                "a.docx",
                lambda: mutated(
                    rng,
                    docx(
                        "<w:document xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'><w:body/></w:document>"
                    ),
                ),
            ),
            ("a.docx", lambda: b"PK\x03\x04" + rng.randbytes(2000)),
            ("a.epub", lambda: epub("a.opf", "a.html", one, "<p>" + "x " * (1 << 26))),
            ("a.epub", lambda: epub("a.opf", "../../canary/secret.txt", one, "x")),
            ("a.epub", lambda: epub(str(secret), "a.html", one, "x")),
            ("a.epub", lambda: epub("a.opf", "a.html", one * 50_000, "<p>word1</p>")),
            ("a.epub", lambda: epub("a.opf", "a.html", one, secret_xml(secret))),
            ("a.epub", lambda: mutated(rng, epub("a.opf", "a.html", one, "<p>word1</p>"))),
            ("a.pdf", lambda: b"%PDF-1.4\n" + rng.randbytes(4000)),
            (
                "a.pdf",
                lambda: (
                    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
                    b"2 0 obj<</Type/Pages/Kids[2 0 R]/Count 9999999999>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
                ),
            ),
            ("a.pdf", lambda: b"%PDF-1.4\n1 0 obj" + b"[" * 100_000 + b"\ntrailer<</Root 1 0 R>>\n%%EOF"),
            ("a.pdf", lambda: b"%PDF-1.4\nstartxref\n-1\n%%EOF"),
            ("a.html", lambda: b"<div>" * 200_000 + b"word1"),
            ("a.html", lambda: secret_xml(secret).encode()),
            ("a.html", lambda: b"<p>" + b"&#x1F;&#0;&#xD800;&#x110000;&bogus;" * 1000),
            ("a.html", lambda: b"<a " + b"x=y " * 200_000 + b">word1"),
            ("a.md", lambda: b"> " * 20_000 + b"word1"),
            ("a.md", lambda: b"[" * 20_000 + b"](" * 20_000),
            ("a.md", lambda: b"*_" * 30_000 + b"a" + b"_*" * 30_000),
            (
                "a.eml",
                lambda: (
                    b"Content-Type: multipart/mixed; boundary=x\n\n"
                    + b"--x\nContent-Type: multipart/mixed; boundary=x\n\n" * 5000
                ),
            ),
            ("a.eml", lambda: b"Content-Type: message/rfc822\n\n" * 5000 + b"word1"),
            (
                "a.eml",
                lambda: (
                    b"Subject: =?utf-8?b?" + b"A" * 100_000 + b"?=\nContent-Type: text/plain; charset=nonsense\n\nword1"
                ),
            ),
            (
                "a.eml",
                lambda: (
                    b"Content-Transfer-Encoding: base64\nContent-Type: text/plain; charset=utf-7\n\n" + b"/" * 100_001
                ),
            ),
            ("a.mbox", lambda: b"From x\n\n" * 50_000),
            ("a.py", lambda: b"(" * 100_000),
            ("a.py", lambda: b"def f():\n" + b"".join(b" " * n + b"if x:\n" for n in range(1, 900))),
            ("a.js", lambda: b"`${" * 20_000),
        ]
    )
    content = content()
    folder = case.work / "papers"
    folder.mkdir()
    (folder / name).write_bytes(content)
    (folder / "good.html").write_text("<h1>good</h1><p>good word1 word2</p>")
    case.note(f"{name} of {len(content):,} bytes beginning with {content[:30]!r}")
    case.run(
        "index",
        folder,
        "--name",
        "new",
        "-m",
        case.arena.model,
        "--format",
        "documents",
        "--read",
        "seconds=10",
        "--read",
        "megabytes=1024",
        deadline=40,
    )
    there = case.look("new", own=False)
    if there is not None:
        case.problems += [f"{key} holds what is outside" for key, (text, _) in there.items() if "secret0" in text]
        if not any("good" in text for text, _ in there.values()):
            case.problems.append("the good document beside it is not there")


def json_lines(case):
    """Lines of JSON, and what only looks like them."""
    rng = case.rng
    odd = [
        *(
            "{",
            "[]",
            "null",
            "1",
            '"x"',
            "{}",
            '{"id": "a"}',
            '{"text": null, "id": "a"}',
            '{"text": ["x"], "id": "b"}',
        ),
        *(
            '{"text": "x", "id": null}',
            '{"text": "x", "id": 1e400}',
            '{"text": "x", "n": NaN}',
            '{"text": "x", "n": -Infinity}',
        ),
        *('{"text": "x\\u0000y", "id": "nul"}', '{"text": "\\ud800", "id": "lone"}', '{"text": "x", "id": "\\ud800"}'),
        *(
            '{"text": "x", "id": "' + "i" * 100_000 + '"}',
            '{"text": "x", "n": ' + "9" * 5000 + "}",
            '{"text": "x", "n": 1e-400}',
        ),
        *('{"text": "x", "text": "y", "id": "twice"}', '{"text": "x", "": 1}', '{"text": "x", "__proto__": {"a": 1}}'),
        '{"text": "x", "m": ' + "[" * 3000 + "]" * 3000 + "}",
        '{"a":' * 100_000,
        '{"text": "x", ' + ", ".join(f'"f{n}": {n}' for n in range(5000)) + "}",
        '{"text": "' + "w " * 500_000 + '", "id": "long"}',
        '{"text": "\x1b]0;title\x07 word1", "id": "raw"}',
        '\ufeff{"text": "bom word1", "id": "bom"}',
        '{"text": "\u202eword1\u2066", "id": "\u202eid", "title": "\x9b31m"}',
        "\x00" * 1000,
    ]
    lines = [rng.choice(odd) for _ in range(4)] + [json.dumps({"id": f"b{n}", "text": f"b{n} word1"}) for n in range(3)]
    rng.shuffle(lines)
    path = case.work / "lines.jsonl"
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        content = mutated(rng, content)
    if rng.random() < 0.2:
        path = path.with_suffix(".jsonl.gz")
        content = mutated(rng, gzip.compress(content)) if rng.random() < 0.5 else gzip.compress(content)
    path.write_bytes(content)
    case.note(f"lines {', '.join(line[:30] for line in lines)}")
    if (
        case.run(
            "index",
            path,
            "--name",
            "new",
            "-m",
            case.arena.model,
            "--on-error",
            rng.choice(["skip", "skip", "stop"]),
            terminal=rng.random() < 0.5,
        ).code
        == 0
    ):
        case.run("query", "new", "word1", terminal=True)
        case.run("query", "new", "word1", "--json", as_json=True)


def a_model(case):
    """A checkpoint that was changed, cut, or asks for what is not in it."""
    rng = case.rng
    folder = case.work / "model"
    folder.mkdir()
    for path in case.arena.model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    path = folder / rng.choice(["model.safetensors", "tokenizer.json", "config.json"])
    match rng.choice(["mutated", "pickle", "modules", "header"]):
        case "mutated":
            path.write_bytes(mutated(rng, path.read_bytes()))
        case "pickle":
            (folder / "model.safetensors").unlink()
            (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Opens(str(case.canary / "secret.txt"))))
        case "modules":
            entry = {
                "idx": 0,
                "name": "0",
                "path": rng.choice(["", "../../canary", "/", "\0"]),
                "type": rng.choice(["os.system", "sentence_transformers.models.StaticEmbedding", "x" * 1000, None]),
            }
            (folder / "modules.json").write_text(json.dumps(rng.choice([[entry], {"a": entry}, [[entry]], entry])))
        case "header":
            size = rng.choice([2**63, 10**9, 5, 0])
            (folder / "model.safetensors").write_bytes(
                struct.pack("<Q", size)
                + b'{"embeddings":{"dtype":"F32","shape":[1099511627776,8],"data_offsets":[0,35184372088832]}}'
            )
    case.note(f"a model with {path.name} changed")
    case.run("index", records(case), "--name", "new", "-m", folder)


KINDS = (
    of_a_collection,
    of_an_index,
    of_an_index,
    a_backup,
    vectors,
    pickles,
    parquet,
    office,
    office,
    json_lines,
    a_model,
)


def attack(case):
    """One of the kinds, and afterwards the other collection is whole."""
    KINDS[case.number % len(KINDS)](case)
    case.whole("vectors", "v")
