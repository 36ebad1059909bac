"""Pickles of texts and vectors, read by a machine of our own: plain values, numpy's arrays and torch's tensors.

Python's unpickler calls what a pickle names and hands it what the pickle holds, and even numpy's own classes take what
reads memory by address (a dtype with an object in it, arrays over any buffer). Here a name is a name: it is looked up
in a table, and what it builds is built from bytes whose number fits. Opcodes that are not in the table are refused.
"""

from __future__ import annotations

import io
import math
import pickletools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from semsearch.errors import SCARCE, DataError

DEEPEST = 8  # level of lists and mappings in one another
MOST_MARKS = 100  # open at once: each level has a few
AMPLIFIED = 16  # times the size of the file: what it may build, and come to, counted as often as it is named
ENDLESS = "it names the same values again and again, one in another, and would come to any size"
PLAIN_DTYPES = "fiubSU"
TENSOR_DTYPES = {  # of tensors
    *("float16", "bfloat16", "float32", "float64", "bool"),
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
}
VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


class Refused(ValueError):
    """What a pickle holds is not read; the message says what."""


def read_pickle(path: Path) -> Any:
    """The plain values in a pickle, its arrays and tensors as numpy's.

    Raises:
        DataError: It holds something else, or is none.
    """
    with _told(str(path)), path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        return _values(file, size)


def read_pickled(content: bytes, where: str) -> Any:
    """As `read_pickle`, of bytes that stand somewhere; `where` begins the sentence of an error."""
    with _told(where):
        return _values(io.BytesIO(content), len(content))


def _values(file: IO[bytes], size: int) -> Any:
    machine = _Machine(AMPLIFIED * size)
    return _resolved(machine.run(_Bounded(file, size)), AMPLIFIED * size)


@contextmanager
def _told(path: str) -> Iterator[None]:
    """What goes wrong in reading, as a `DataError` of its place."""
    try:
        yield
    except MemoryError:
        raise  # it may be whole
    except Refused as error:
        raise DataError(f"{path} can't be read as a pickle of texts and vectors: {error}.") from error
    except (
        OSError,
        ValueError,
        TypeError,
        LookupError,
        OverflowError,
        AttributeError,
        RuntimeError,
    ) as error:
        if isinstance(error, OSError) and error.errno in SCARCE:
            raise
        why = str(error) or type(error).__name__
        raise DataError(
            f"{path} can't be read as a pickle of texts and vectors: it is none, or damaged ({why:.200})."
        ) from error


class _Bounded:
    """A file that is asked for no more than it has: lengths in a pickle are whatever somebody wrote."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size = file, size
        self.readline = file.readline

    def read(self, count: int) -> bytes:
        if count > 1 << 16:
            count = min(count, self._size - self._file.tell())
        return self._file.read(count)


class _Name:
    """What a pickle would call."""

    def __init__(self, name: str, build: Callable[..., Any]) -> None:
        self.name, self.build = name, build


class _Array:
    """An array on its way: an empty one, then what its state says."""

    value: Any = None

    def set(self, state: Any) -> None:
        match state:
            case (_, tuple() as shape, _Dtype() as dtype, bool() | int() as fortran, content):
                self.value = _array(content, dtype, shape, "F" if fortran else "C")
            case _:
                raise Refused("the state of an array is none")


class _Fields:
    """An object of another library's, of which nothing but its named values is read."""

    def __init__(self) -> None:
        self.value: dict[Any, Any] = {}

    def set(self, state: Any) -> None:
        inner = state.get("__dict__", state) if isinstance(state, dict) else None  # as pydantic's models hold theirs
        if not isinstance(inner, dict):
            raise Refused("an object has no named values")
        self.value = inner


class _Dtype:
    """A dtype of plain numbers or letters; "O" stands for a list of values."""

    def __init__(self, name: Any, *_: Any) -> None:
        name = name.decode("latin1") if isinstance(name, bytes) else name
        if not isinstance(name, str) or len(name) > 12 or "," in name:
            raise Refused(f"the dtype {name!r:.40} is none of plain numbers")
        self.dtype = np.dtype(name)
        if self.dtype.kind not in PLAIN_DTYPES + "O" or not self.dtype.itemsize:
            raise Refused(f"the dtype {name!r:.40} is none of plain numbers")

    def set(self, state: Any) -> None:
        """Its order of bytes; nothing else may be said of it."""
        match state:
            case (int(), "<" | ">" | "|" | "=" as order, None, None, None, int() as size, int(), int() as flags, *_):
                if size not in (-1, self.dtype.itemsize) or (flags and self.dtype.kind not in "OU") or len(state) > 8:
                    raise Refused("a dtype is said to be other than it is")
                self.dtype = self.dtype.newbyteorder(order)
            case _:
                raise Refused("a dtype is said to be other than it is")


def _array(content: Any, dtype: Any, shape: Any, order: Any) -> Any:
    """An array over a copy of bytes, which must be as many as it needs."""
    if not isinstance(dtype, _Dtype) or order not in ("C", "F"):
        raise Refused("an array has no dtype of plain numbers")
    if not isinstance(shape, tuple) or len(shape) > 32 or not all(type(one) is int and one >= 0 for one in shape):
        raise Refused(f"an array has the shape {shape!r:.60}")
    if isinstance(content, str):  # as Python 2 wrote bytes
        content = content.encode("latin1")
    if dtype.dtype.kind == "O":
        if not isinstance(content, list) or (len(content),) != shape:
            raise Refused("an array of objects is no list of values")
        return content
    if not isinstance(content, bytes | bytearray) or math.prod(shape) * dtype.dtype.itemsize != len(content):
        raise Refused(f"an array of the shape {shape!r:.60} is not as long as its bytes")
    return np.frombuffer(content, dtype.dtype).reshape(shape, order=order)


def _scalar(dtype: Any, content: Any) -> Any:
    found: NDArray[Any] = _array(content, dtype, (1,), "C")
    return found.tolist()[0] if isinstance(found, np.ndarray) else found[0]


def _ordered(*pairs: Any) -> dict[Any, Any]:
    return dict(*pairs)


def _encoded(text: str, encoding: str) -> bytes:
    """How pickles of Python 2's protocols hold bytes."""
    if encoding != "latin1" or not isinstance(text, str):
        raise Refused(f"it asks for the encoding {encoding!r:.40}")
    return text.encode("latin1")


def _storage(raw: Any) -> Any:
    """The numbers of a tensor, which torch reads as weights: it calls nothing, and looks at every size."""
    import torch

    if not isinstance(raw, bytes):
        raise Refused("a tensor has no bytes")
    try:
        found = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what it likes
        raise Refused(f"a tensor can't be read ({str(error).partition(chr(10))[0]:.200})") from error
    if not isinstance(found, torch.storage.TypedStorage):
        raise Refused("a tensor has no numbers")
    return found


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Any:
    import torch

    if not isinstance(storage, torch.storage.TypedStorage):
        raise Refused("a tensor has no numbers")
    if str(storage.dtype).removeprefix("torch.") not in TENSOR_DTYPES:  # quantized ones have a scale that is not read
        raise Refused(f"a tensor has numbers of the dtype {storage.dtype}, which is not read")
    numbers = torch.tensor([], dtype=storage.dtype).set_(storage._untyped_storage)
    sizes = (offset, *shape, *strides)
    if not all(type(one) is int and one >= 0 for one in sizes) or len(shape) != len(strides):
        raise Refused("a tensor lies nowhere")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    count = numbers.numel()
    if math.prod(shape) > count or (math.prod(shape) and last >= count):
        raise Refused("a tensor reaches beyond its numbers")
    there = numbers.as_strided(shape, strides, offset)
    found = (there.float() if there.dtype is torch.bfloat16 else there).numpy(force=True)  # numpy has no bfloat16
    found.flags.writeable = False  # others may lie over the same numbers
    return found


KNOWN = {
    "numpy.dtype": _Dtype,
    "numpy.ndarray": None,
    "numpy._core.multiarray._reconstruct": lambda *_: _Array(),
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _array,
    "collections.OrderedDict": _ordered,
    "_codecs.encode": _encoded,
    "torch.storage._load_from_bytes": _storage,
    "torch._utils._rebuild_tensor_v2": _tensor,
    # what other stores keep of a document
    **dict.fromkeys(
        (
            "qdrant_client.http.models.models.PointStruct",
            "qdrant_client.http.models.models.SparseVector",
            "langchain_core.documents.base.Document",
            "langchain_community.docstore.in_memory.InMemoryDocstore",
        ),
        _Fields,
    ),
}


def _named(module: Any, name: Any) -> _Name:
    said = f"{module}.{name}".replace("numpy.core.", "numpy._core.")
    if said not in KNOWN:
        raise Refused(f"it asks for {module}.{name}, which might run anything; only data is read")
    return _Name(said, KNOWN[said] or _uncalled)


def _uncalled(*_: Any) -> Any:
    raise Refused("it calls what is no function")


class _Machine:
    """The stack, its marks and its memory; what it builds comes to no more than `most` bytes."""

    def __init__(self, most: int) -> None:
        self.left = most
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memory: dict[int, Any] = {}

    def run(self, file: Any) -> Any:
        for opcode, argument, _ in pickletools.genops(file):
            name = opcode.name
            if name in VALUES:
                self.stack.append(argument)
            elif name == "STOP":
                return self.stack.pop()
            elif name in CONSTANTS:
                self.stack.append(CONSTANTS[name])
            else:
                step = STEPS.get(name)
                if step is None:
                    raise Refused(f"it holds {name}, which is neither data nor an array")
                step(self, argument)
        raise Refused("it ends too soon")

    def marked(self) -> list[Any]:
        """What came since the last mark, which goes."""
        found, self.stack = self.stack, self.marks.pop()
        return found

    def mark(self, _: Any) -> None:
        if len(self.marks) >= MOST_MARKS:
            raise Refused(f"it begins more than {MOST_MARKS} lists, one in another")
        self.marks.append(self.stack)
        self.stack = []

    def get(self, place: Any) -> None:
        self.stack.append(self.memory[int(place)])

    def put(self, place: Any) -> None:
        self.memory[len(self.memory) if place is None else int(place)] = self.stack[-1]

    def tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise Refused("it holds a tuple of what is not there")
        self.stack[len(self.stack) - count :] = [tuple(self.stack[len(self.stack) - count :])]

    def append(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise Refused("it appends to what is no list")
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise Refused("it puts items into what is no mapping")
        self.stack[-1].update(_pairs(values))

    def call(self, _: Any) -> None:
        arguments, what = self.stack.pop(), self.stack.pop()
        if not isinstance(what, _Name) or not isinstance(arguments, tuple):
            raise Refused("it calls what is no function")
        self.stack.append(self.counted(what.build(*arguments)))

    def build(self, _: Any) -> None:
        state, what = self.stack.pop(), self.stack[-1]
        if not isinstance(what, _Array | _Dtype | _Fields):
            raise Refused("it changes what is no array")
        what.set(state)
        if isinstance(what, _Array):
            self.counted(what.value)

    def counted(self, built: Any) -> Any:
        """What was built: it may be a copy of what was named before, as often as that is named."""
        numbers = getattr(built, "_untyped_storage", built)
        self.left -= numbers.nbytes() if numbers is not built else getattr(built, "nbytes", sys.getsizeof(built))
        if self.left < 0:
            raise Refused(ENDLESS)
        return built

    def stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(_named(module, name))


def _pairs(values: list[Any]) -> Iterator[tuple[Any, Any]]:
    if len(values) % 2 or not all(isinstance(key, str | int) for key in values[::2]):
        raise Refused("a mapping has other keys than names and numbers")
    return zip(values[::2], values[1::2], strict=True)


STEPS: dict[str, Callable[[_Machine, Any], object]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "MARK": _Machine.mark,
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.marked(),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "LIST": lambda machine, _: _push(machine, machine.marked()),
    "TUPLE": lambda machine, _: _push(machine, tuple(machine.marked())),
    "DICT": lambda machine, _: _push(machine, dict(_pairs(machine.marked()))),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "EMPTY_SET": lambda machine, _: machine.stack.append([]),
    "ADDITEMS": lambda machine, _: machine.append(machine.marked()),
    "NEWOBJ": lambda machine, _: machine.call(None),
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.marked()),
    "SETITEM": lambda machine, _: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.marked()),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    "GLOBAL": lambda machine, argument: _push(machine, _named(*argument.split(" ", 1))),
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
}


def _push(machine: _Machine, value: Any) -> None:
    machine.stack.append(value)


def _resolved(found: Any, most: int) -> Any:
    """The values with arrays in their places, as long as they come to no more than `most`."""
    left = most

    def resolved(value: Any, depth: int) -> Any:
        nonlocal left
        if isinstance(value, _Array | _Fields):
            value = value.value
        left -= value.nbytes if isinstance(value, np.ndarray) else 1
        if left < 0 or depth > DEEPEST:
            raise Refused(ENDLESS)
        if isinstance(value, dict):
            return {key: resolved(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [resolved(inner, depth + 1) for inner in value]
        if isinstance(value, str | bytes | bytearray | int | float | np.ndarray | None):
            return value
        raise Refused("it holds something that is no value")

    return resolved(found, 0)
