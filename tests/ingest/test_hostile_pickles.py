"""Pickles and archives that were made to run, to read or to fill what they shouldn't: each ends in one sentence."""

import io
import pickle
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from support.encoder_checkpoints import classic

from semsearch import load_encoder
from semsearch.errors import DataError, ModelError
from semsearch.ingest.pickles import read_pickle
from semsearch.ingest.precomputed import read_together, read_vectors

DTYPE, ARRAY = b"cnumpy\ndtype\n", b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR"
OBJECT = DTYPE + b"(U\x02O8tR"
F4 = DTYPE + b"(U\x02f4I00\nI01\ntR"
TEXTS = b"X\x05\x00\x00\x00texts(lX\x01\x00\x00\x00aa"


def with_vectors(vectors, protocol=b"\x80\x02"):
    """A pickle of one text with these vectors."""
    return protocol + b"}(" + TEXTS + b"X\x07\x00\x00\x00vectors" + vectors + b"u."


def array(shape=b"(I1\nI2\nt", dtype=F4, content=b"U\x08" + bytes(8), fortran=b"I00\n"):
    return ARRAY + b"(I1\n" + shape + dtype + fortran + content + b"tb"


def tensor(change, dtype=torch.float32):
    """A pickle of a tensor, in which the arguments that rebuild it are changed."""
    storage = b"ctorch.storage\n_load_from_bytes\n(B" + struct.pack("<I", len(typed(dtype))) + typed(dtype) + b"tR"
    offset, shape, strides = change
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + shape + strides + b"I00\nNtR"


def typed(dtype=torch.float32, size=4):
    raw = io.BytesIO()
    storage = torch.arange(float(size)).untyped_storage()
    torch.save(
        torch.storage.TypedStorage(wrap_storage=storage, dtype=dtype, _internal=True),
        raw,
        _use_new_zipfile_serialization=False,
    )
    return raw.getvalue()


def nested(opener, closer, times=100_000):
    return opener * times + closer * times


def evil(call=b"cos\nmkdir\n"):
    return call + b"(X\x05\x00\x00\x00ownedtR"


def number(code, value, layout):
    return code + struct.pack(layout, value)


LAUGHS = b"(lp0\nI1\na0" + b"".join(b"(lp%d\n" % n + b"g%d\na" % (n - 1) * 100 + b"0" for n in range(1, 7)) + b"g6\n"
HOSTILE = {
    # what runs
    "GLOBAL and REDUCE": with_vectors(evil()),
    "STACK_GLOBAL": with_vectors(b"\x8c\x02os\x8c\x05mkdir\x93\x8c\x05owned\x85R", b"\x80\x04"),
    "eval": with_vectors(evil(b"c__builtin__\neval\n")),
    "a name with dots": with_vectors(b"\x8c\x05numpy\x8c\x0ctesting.os.x\x93)R", b"\x80\x04"),
    "a dtype's method": with_vectors(b"cnumpy\ndtype.__init_subclass__\n)R"),
    "a name that is no text": with_vectors(b"K\x01K\x02\x93", b"\x80\x04"),
    "INST": with_vectors(b"(X\x05\x00\x00\x00ownedios\nmkdir\n"),
    "OBJ": with_vectors(b"(cos\nmkdir\nX\x05\x00\x00\x00ownedo"),
    "NEWOBJ": with_vectors(b"cnumpy\nndarray\n(I8\nt\x81"),
    "NEWOBJ_EX": with_vectors(b"cnumpy\nndarray\n)}\x92", b"\x80\x04"),
    "EXT1": with_vectors(b"\x82\x01"),
    "EXT2": with_vectors(b"\x83\x01\x00"),
    "EXT4": with_vectors(b"\x84\x01\x00\x00\x00"),
    "PERSID": with_vectors(b"Psomething\n"),
    "BINPERSID": with_vectors(b"K\x01Q"),
    "NEXT_BUFFER": with_vectors(b"\x97", b"\x80\x05"),
    "READONLY_BUFFER": with_vectors(b"C\x01a\x98", b"\x80\x05"),
    "BUILD of a list": with_vectors(b"(l}b"),
    "BUILD of a name": with_vectors(b"cnumpy\ndtype\n}b"),
    "REDUCE of a value": with_vectors(b"K\x01)R"),
    "REDUCE of ndarray": with_vectors(b"cnumpy\nndarray\n(I1\ntR"),
    "torch's own loader": with_vectors(evil(b"ctorch\nload\n")),
    # dtypes
    "a dtype of objects over bytes": with_vectors(array(dtype=DTYPE + b"(U\x02O8I00\nI01\ntR")),
    "a dtype with an object field": with_vectors(
        array(
            dtype=DTYPE
            + b"(U\x03V16I00\nI01\ntR(I3\nU\x01|N(U\x01atN}U\x01a("
            + DTYPE
            + b"(U\x02O8tRI0\ntsI16\nI1\nI27\ntb"
        )
    ),
    "a dtype that is longer than it is": with_vectors(array(dtype=F4 + b"(I3\nU\x01<NNNI4096\nI1\nI0\ntb")),
    "a dtype with flags": with_vectors(array(dtype=F4 + b"(I3\nU\x01<NNNI-1\nI-1\nI63\ntb")),
    "a dtype with metadata": with_vectors(array(dtype=F4 + b"(I4\nU\x01<NNNI-1\nI-1\nI0\n}tb")),
    "a dtype of a structure": with_vectors(array(dtype=DTYPE + b"(U\x05i4,O8I00\nI01\ntR")),
    "a dtype of nothing": with_vectors(array(dtype=DTYPE + b"(U\x02V0I00\nI01\ntR")),
    "a dtype that is no text": with_vectors(array(dtype=DTYPE + b"(K\x01tR")),
    "a dtype without anything": with_vectors(array(dtype=DTYPE + b")R")),
    # arrays
    "a shape that is too large": with_vectors(array(shape=b"(I1\nI1000000\nt")),
    "a shape that overflows": with_vectors(array(shape=b"(I4611686018427387904\nI4\nt")),
    "a negative shape": with_vectors(array(shape=b"(I-1\nI-2\nt")),
    "a shape of a hundred numbers": with_vectors(array(shape=b"(" + b"I1\n" * 100 + b"t")),
    "a shape that is no number": with_vectors(array(shape=b"(U\x01aNt")),
    "bytes that are none": with_vectors(array(content=b"I4096\n")),
    "an address for bytes": with_vectors(b"cnumpy._core.numeric\n_frombuffer\n(I4096\n" + F4 + b"(I1\nI2\ntU\x01CtR"),
    "a buffer that is too short": with_vectors(
        b"cnumpy._core.numeric\n_frombuffer\n(U\x04abcd" + F4 + b"(I1\nI2\ntU\x01CtR"
    ),
    "objects that are no list": with_vectors(array(dtype=DTYPE + b"(U\x02O8I00\nI01\ntR", content=b"(dtb")),
    "an array without a state": with_vectors(ARRAY),
    "a scalar of an object": with_vectors(
        b"cnumpy._core.multiarray\nscalar\n(" + DTYPE + b"(U\x02O8tRU\x08" + b"\x41" * 8 + b"tR"
    ),
    # tensors
    "a storage that is none": with_vectors(b"ctorch._utils\n_rebuild_tensor_v2\n(NI0\n(I1\nt(I1\ntI00\nNtR"),
    "numbers that numpy has not": with_vectors(tensor((b"I0\n", b"(I1\nI2\nt", b"(I2\nI1\nt"), torch.qint8)),
    "an offset beyond the storage": with_vectors(tensor((b"I4\n", b"(I1\nI1\nt", b"(I1\nI1\nt"))),
    "a negative offset": with_vectors(tensor((b"I-9\n", b"(I1\nI2\nt", b"(I2\nI1\nt"))),
    "strides beyond the storage": with_vectors(tensor((b"I0\n", b"(I1\nI2\nt", b"(I2\nI4096\nt"))),
    "negative strides": with_vectors(tensor((b"I3\n", b"(I1\nI2\nt", b"(I2\nI-4096\nt"))),
    "strides of nothing": with_vectors(tensor((b"I0\n", b"(I1\nI1099511627776\nt", b"(I0\nI0\nt"))),
    "a storage of another file": with_vectors(b"ctorch.storage\n_load_from_bytes\n(U\x04nonetR"),
    "a storage that runs code": with_vectors(
        b"ctorch.storage\n_load_from_bytes\n(B" + struct.pack("<I", len(evil()) + 3) + b"\x80\x02" + evil() + b".tR"
    ),
    # sizes and depths
    "lists in lists": with_vectors(nested(b"(", b"l")),
    "tuples in tuples": with_vectors(b")" + b"\x85" * 100_000),
    "marks without end": b"\x80\x02" + b"(" * 1_000_000,
    "lists that name each other": with_vectors(LAUGHS),
    "a list in itself": with_vectors(b"]q\x00h\x00a"),
    "a mapping in itself": b"\x80\x02}q\x00X\x07\x00\x00\x00vectorsh\x00sX\x05\x00\x00\x00textsh\x00s.",
    "LONG4 of gigabytes": with_vectors(number(b"\x8b", 0x7FFF_FFFF, "<i")),
    "LONG4 of negative length": with_vectors(number(b"\x8b", -5, "<i")),
    "BINUNICODE8 of exabytes": with_vectors(number(b"\x8d", 1 << 62, "<Q"), b"\x80\x04"),
    "BINBYTES8 of terabytes": with_vectors(number(b"\x8e", 1 << 42, "<Q"), b"\x80\x04"),
    "BYTEARRAY8 of terabytes": with_vectors(number(b"\x96", 1 << 42, "<Q"), b"\x80\x05"),
    "BINSTRING of negative length": with_vectors(number(b"T", -1, "<i")),
    "FRAME of exabytes": with_vectors(number(b"\x95", 1 << 62, "<Q") + b"K\x01", b"\x80\x04"),
    "a memory of billions": with_vectors(b"K\x01" + number(b"r", 0xFFFF_FFFF, "<I") + number(b"j", 0x7FFF_FFFF, "<I")),
    "a place in memory of digits": with_vectors(b"K\x01p" + b"9" * 10_000 + b"\n"),
    "a negative place in memory": with_vectors(b"K\x01p-1\n"),
    "what was never kept": with_vectors(b"h\x99"),
    "a number of digits": with_vectors(b"I" + b"9" * 100_000 + b"\n"),
    # what is no pickle
    "nothing": b"",
    "noise": bytes(range(256)) * 8,
    "an empty stack": b".",
    "POP of nothing": b"0.",
    "APPEND to nothing": b"K\x01a.",
    "SETITEM of nothing": b"}s.",
    "TUPLE3 of nothing": b"K\x01\x87.",
    "a mark that is not there": b"K\x01t.",
    "items of an odd number": b"}(K\x01u.",
    "a key that is a list": b"}(](lK\x01u.",
    "cut short": with_vectors(array())[:-40],
    "text that is no UTF-8": with_vectors(b"X\x02\x00\x00\x00\xff\xfe"),
    "an escape that is none": with_vectors(b"S'\\x1'\n"),
    "a protocol of tomorrow": with_vectors(b"I1\n", b"\x80\x63")[:-1],
    "another encoding": with_vectors(b"c_codecs\nencode\n(U\x01aU\x03rottR"),
    "texts of a number": b"\x80\x02}(X\x05\x00\x00\x00textsK\x01X\x07\x00\x00\x00vectorsK\x02u.",
    "vectors of words": with_vectors(b"(lX\x01\x00\x00\x00aa"),
    "vectors of different lengths": with_vectors(b"(l(lK\x01aa(lK\x01aK\x02aa"),
}


def test_the_helpers_make_pickles_that_are_read(tmp_path):
    """Else all of the above would be refused for another reason than theirs."""
    for vectors in (array(), tensor((b"I0\n", b"(I1\nI2\nt", b"(I2\nI1\nt"))):
        (tmp_path / "e.pkl").write_bytes(with_vectors(vectors))
        (document,), found = read_together(tmp_path / "e.pkl")
        assert document.text == "a"
        assert found.shape == (1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_pickle_is_refused_in_a_sentence(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e.pkl").write_bytes(HOSTILE[what])
    with pytest.raises(DataError, match=r"(?s)e\.pkl.*\.$"):
        read_together(tmp_path / "e.pkl")
    assert not (tmp_path / "owned").exists()


LONG = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"q\x00"
COPIES = {  # of one text of a megabyte, from the memory
    "bytes": (LONG + b"0", b"c_codecs\nencode\n(h\x00U\x06latin1tR"),
    "arrays": (LONG + b"0" + DTYPE + b"(U\x02S1tRq\x010", ARRAY + b"(I1\n(I1048576\nth\x01I00\nh\x00tb"),
    "scalars": (
        LONG.replace(b"X", b"T", 1) + b"0" + DTYPE + b"(U\x08S1048576tRq\x010",
        b"cnumpy._core.multiarray\nscalar\n(h\x01h\x00tR",
    ),
    "mappings": (
        b"}(" + b"".join(b"I%d\nI1\n" % n for n in range(100_000)) + b"uq\x000",
        b"ccollections\nOrderedDict\n(h\x00tR",
    ),
    "storages": (
        b"B" + struct.pack("<I", len(typed(size=1 << 18))) + typed(size=1 << 18) + b"q\x000",
        b"ctorch.storage\n_load_from_bytes\n(h\x00tR",
    ),
}
BF16 = typed(torch.bfloat16, 1 << 18)
NARROW = (  # tensors of one number, all over the same half megabyte
    b"ctorch.storage\n_load_from_bytes\n(B" + struct.pack("<I", len(BF16)) + BF16 + b"tRq\x000",
    b"ctorch._utils\n_rebuild_tensor_v2\n(h\x00I0\n(I1\nt(I1\ntI00\nNtR",
)


@pytest.mark.slow
@pytest.mark.parametrize("what", COPIES)
def test_what_is_copied_again_and_again_fills_no_memory(tmp_path, what):
    kept, copy = COPIES[what]
    content = b"\x80\x02" + kept + b"(" + copy * 400 + b"l."
    (tmp_path / "e.pkl").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="again and again"):
            read_together(tmp_path / "e.pkl")
        assert tracemalloc.get_traced_memory()[1] < 32 * len(content), "with what the file holds itself"
    finally:
        tracemalloc.stop()


def test_marks_in_one_another_are_refused_at_once(tmp_path):
    (tmp_path / "e.pkl").write_bytes(b"\x80\x02" + b"(" * 10_000_000 + b".")
    started = time.process_time()
    with pytest.raises(DataError, match="one in another"):
        read_pickle(tmp_path / "e.pkl")
    assert time.process_time() - started < 1


def test_a_tensor_keeps_no_more_than_itself(tmp_path):
    content = b"\x80\x02" + NARROW[0] + b"(" + NARROW[1] * 400 + b"l."
    (tmp_path / "e.pkl").write_bytes(content)
    found = read_pickle(tmp_path / "e.pkl")
    assert sum(one.base.untyped_storage().nbytes() for one in found) == 400 * 4


@pytest.mark.parametrize("protocol", range(6))
def test_what_honest_pickles_hold_is_read(tmp_path, protocol):
    texts, vectors = ["one", "zwei \u20ac", "three\n"], np.arange(6, dtype=np.float32).reshape(3, 2)
    for given in (
        vectors, np.asfortranarray(vectors), vectors.astype(">f8"), list(vectors), vectors.tolist(),
        torch.from_numpy(vectors), torch.from_numpy(vectors).T.contiguous().T, torch.from_numpy(vectors).bfloat16(),
        torch.from_numpy(vectors).half(), [np.float32(1) * row for row in vectors],
    ):  # fmt: skip
        for said in (texts, np.array(texts), np.array(texts, dtype=object), tuple(texts)):
            content = {"sentences": said, "embeddings": given, "ids": [7, 8, 9], "more": None}
            (tmp_path / "e.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
            documents, found = read_together(tmp_path / "e.pkl")
            assert [(document.id, document.text) for document in documents] == list(zip("789", texts, strict=True))
            assert np.asarray(found, dtype=np.float32).tolist() == vectors.tolist()


def bomb(path, unpacked):
    """An archive of zeros, which deflate makes a thousandth of."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({unpacked // 4},), }}\n".encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("vectors.npy", "w") as file:
        file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        for _ in range(unpacked >> 20):
            file.write(bytes(1 << 20))


@pytest.mark.slow
def test_an_archive_that_would_fill_the_memory(tmp_path):
    bomb(tmp_path / "v.npz", 100 << 20)
    with pytest.raises(DataError, match=r"unpacked it would be 104,857,\d\d\d bytes long"):
        read_vectors(tmp_path / "v.npz")


def test_an_archive_that_lies_about_its_sizes(tmp_path):
    np.savez_compressed(tmp_path / "v.npz", vectors=np.zeros((1000, 1000), np.float32))
    whole = (tmp_path / "v.npz").read_bytes()
    at = whole.index(b"PK\x01\x02")
    for field, value in ((24, 10), (24, 1 << 31), (20, 7), (42, 99), (8, 1), (10, 99)):
        lie = bytearray(whole)
        struct.pack_into("<I" if field > 10 else "<H", lie, at + field, value)
        (tmp_path / "v.npz").write_bytes(lie)
        with pytest.raises(DataError, match=r"\.$"):
            read_vectors(tmp_path / "v.npz")


@pytest.mark.parametrize("dtype", ["|O", "V8", "<M8[s]", "<c8", "|S8"])
def test_arrays_of_no_numbers(tmp_path, dtype):
    np.save(tmp_path / "v.npy", np.zeros(4, dtype), allow_pickle=True)
    with pytest.raises(DataError, match=r"v\.npy is no array that numpy saved"):
        read_vectors(tmp_path / "v.npy")


def test_an_array_that_is_said_to_be_larger_than_its_file(tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((4, 4), np.float32))
    whole = (tmp_path / "v.npy").read_bytes()
    for spoilt in (
        whole.replace(b"(4, 4)", b"(4, 5)"),
        whole.replace(b"(4, 4), }", b"(1<<40,)}"),
        whole[:-1],
        whole + b"1",
    ):
        (tmp_path / "v.npy").write_bytes(spoilt)
        with pytest.raises(DataError, match=r"\.$"):
            read_vectors(tmp_path / "v.npy")


WEIGHTS = {
    "GLOBAL": b"\x80\x02" + evil() + b".",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x05owned\x85R.",
    "INST": b"(X\x05\x00\x00\x00ownedios\nmkdir\n.",
    "EXT1": b"\x80\x02\x82\x01.",
    "PERSID": b"\x80\x02Pfile\n.",
    "lists in lists": b"\x80\x02" + nested(b"(", b"l", 10_000) + b".",
    "LONG4 of gigabytes": b"\x80\x02" + number(b"\x8b", 0x7FFF_FFFF, "<i"),
    "BINUNICODE8": b"\x80\x04" + number(b"\x8d", 1 << 62, "<Q"),
    "a forged dtype": HOSTILE["a dtype with an object field"],
    "a place in memory": b"\x80\x02" + number(b"j", 0x7FFF_FFFF, "<I") + b".",
    "nothing": b"",
    "noise": bytes(range(256)) * 8,
    "a list": pickle.dumps([1, 2], 2),
    "an empty mapping": pickle.dumps({}, 2),
}


@pytest.mark.parametrize("what", WEIGHTS)
def test_hostile_weights_are_refused_in_a_sentence(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    folder = classic(tmp_path / "model", safe=False)
    (folder / "pytorch_model.bin").write_bytes(WEIGHTS[what])
    with pytest.raises(ModelError, match=r"(?s)\.$"):
        load_encoder(str(folder), device="cpu")
    assert not Path("owned").exists()


def rewritten(path, change):
    """A torch file with another pickle in it, or with its records changed."""
    with zipfile.ZipFile(path) as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in records.items():
            archive.writestr(name, change(name, content))


@pytest.mark.slow
def test_torch_files_changed_at_random_read_nothing_out_of_bounds(tmp_path):
    """In a process of its own: it ends with weights or with an error, and not with a signal."""
    path = tmp_path / "w.bin"

    def change(name, content):
        content = bytearray(content)
        if name.endswith("data.pkl"):
            for place in rng.integers(0, len(content), 3).tolist():
                content[place] = rng.integers(0, 256)
        return bytes(content)

    for mutation in range(60):
        rng = np.random.default_rng(mutation)
        torch.save({"a": torch.ones(3, 4), "b": torch.arange(6.0)[1:]}, path)
        rewritten(path, change)
        path.rename(tmp_path / f"{mutation}.bin")
    script = (
        "import sys; from pathlib import Path; from semsearch.encoder.weights import _read\n"
        "from semsearch.errors import ModelError\n"
        "for path in sorted(Path(sys.argv[1]).glob('*.bin')):\n"
        "    try: found = _read(path)\n"
        "    except ModelError: continue\n"
        "    for tensor in found.values(): tensor.clone()\n"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
