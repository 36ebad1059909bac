"""Where a resident process is found, and by whom: a socket of one user, of one installation, of one environment.

The folder is the user's own, of mode 0700, and the socket's name is made of all that decided what the process imported
and opened: who it is, the interpreter, the files of semsearch, the folders of the packages, the variables that
libraries read while they are imported, the file system that paths are looked up in, and the limits of `ulimit`. Whoever
differs in any of it finds another socket, or none; and since a name could be that of two, the whole is compared again
before a command runs.

What `SEMSEARCH_…` says, like a home, is no part of it: commands read that when they run, and a child has the caller's.

It is imported ahead of everything else: the standard library's smallest modules only.
"""

from __future__ import annotations

import os
import stat
import sys
import zlib

from semsearch.state import state_path

TYPE_CHECKING = False  # as type checkers take it
if TYPE_CHECKING:
    from collections.abc import Iterator

PROTOCOL = b"semsearch resident 1\n"  # what it says first
SOCKET, LOCK, LOG = ".sock", ".lock", ".log"
# Linux alone says who is at the other end of a socket in a way that Python knows, has /proc, and forks safely whatever
# libraries are loaded.
SUPPORTED = sys.platform == "linux"
UNSUPPORTED = "resident processes are there on Linux only"
_USERS_ALONE = 0o700

# Variables that are read while libraries are imported and models opened, or that the C library keeps.
_PREFIXES = (
    *("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_"),
    *("HF_", "HUGGINGFACE", "TRANSFORMERS_", "TOKENIZERS_", "SAFETENSORS", "TORCH", "PYTORCH", "CUDA_", "NVIDIA_"),
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "GOTO_", "BLIS_", "NUMEXPR_", "RAYON_", "NPY_", "NUMPY_"),
)
_VARIABLES = (
    *("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
    *("TZ", "TMPDIR", "TEMP", "TMP", "VIRTUAL_ENV", "CONDA_PREFIX"),
)


class NoResident(Exception):
    """There can be no resident process here; says why."""


def folder() -> str:
    """The folder of the sockets: under `SEMSEARCH_STATE` where it is set, else `XDG_RUNTIME_DIR`, else the state's."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not os.environ.get("SEMSEARCH_STATE") and os.path.isabs(runtime) and _is_own(runtime):  # noqa: PTH117
        return os.path.join(runtime, "semsearch")  # noqa: PTH118
    return os.path.join(state_path(), "resident")  # noqa: PTH118


def open_folder(*, make: bool = False) -> int | None:
    """A descriptor of the folder; None where there is none.

    Raises:
        NoResident: It is another's, open to others, or no folder.
    """
    if not SUPPORTED:
        raise NoResident(UNSUPPORTED)
    path = folder()
    try:
        if make:
            os.makedirs(os.path.dirname(path), _USERS_ALONE, exist_ok=True)  # noqa: PTH103, PTH120
            if not os.path.lexists(path):
                os.mkdir(path, _USERS_ALONE)  # noqa: PTH102
        opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NoResident(f"{path} is no folder of its own that can be used ({error.strerror})") from error
    status = os.fstat(opened)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        os.close(opened)
        whose = "is another user's" if status.st_uid != os.geteuid() else "is open to other users"
        raise NoResident(f"the folder {path} {whose}: take it away, or name another with SEMSEARCH_STATE")
    return opened


def at(opened: int, name: str) -> str:
    """A path of what lies in the opened folder: short, as a socket's must be, and of that folder, whatever moves."""
    return f"/proc/self/fd/{opened}/{name}"


def name_of(environment: bytes) -> str:
    """What the files of a resident process are called, without their endings."""
    return f"{zlib.crc32(environment):08x}{zlib.adler32(environment):08x}"


def environment() -> bytes:
    """All that decides what a resident process has imported and opened, of the process that asks."""
    path = sys.path if sys.flags.safe_path else sys.path[1:]  # the first is the script's, or the present folder
    flags = str(sys.flags).replace("safe_path=True", "safe_path=False")
    said = [
        PROTOCOL,
        *(os.getuid(), os.geteuid(), os.getgid(), os.getegid(), sorted(os.getgroups())),
        *(sys.executable, sys.version, sys.prefix, flags, sys.warnoptions, sorted(sys._xoptions.items())),
        [(entry, _changed(entry)) for entry in path],
        _package(),
        sorted(pair for pair in os.environ.items() if pair[0].startswith(_PREFIXES) or pair[0] in _VARIABLES),
        *_place(),
    ]
    return ascii(said).encode()


def _is_own(path: str) -> bool:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return False
    return status.st_uid == os.geteuid() and stat.S_ISDIR(status.st_mode)


def _changed(entry: str) -> int:
    """When a folder of installed packages last gained or lost one; of others nothing that happens in them matters."""
    try:
        if any(name.endswith((".dist-info", ".egg-info")) for name in os.listdir(entry)):  # noqa: PTH208
            return os.stat(entry).st_mtime_ns  # noqa: PTH116
    except OSError:
        pass
    return 0


def _package() -> tuple[str, int, int]:
    """Where semsearch is, how many files it has, and a sum over their names, times and sizes."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    around = os.path.dirname(package)  # noqa: PTH120
    files = [
        file
        for top in ("semsearch", "indexes", "corpora")
        for file in _files(os.path.join(around, top))  # noqa: PTH118
    ]
    return package, len(files), zlib.crc32(ascii(sorted(files)).encode())


def _files(path: str) -> Iterator[tuple[str, int, int]]:
    try:
        entries = list(os.scandir(path))
    except OSError:
        return
    for entry in entries:
        if entry.name.endswith((".py", ".toml", ".json")):
            status = entry.stat()
            yield entry.path, status.st_mtime_ns, status.st_size
        elif entry.name != "__pycache__" and entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)


def _place() -> list[object]:
    """In which file system, in which network and as whom paths and addresses are looked up, and within which limits."""
    root = os.stat("/")  # noqa: PTH116
    rooms = []
    for kind in ("mnt", "net", "user", "pid"):
        try:
            rooms.append(os.readlink(f"/proc/self/ns/{kind}"))  # noqa: PTH115
        except OSError:
            rooms.append("")
    return [root.st_dev, root.st_ino, *rooms, *(_limits() if SUPPORTED else [])]


def _limits() -> list[object]:
    """What a process may take of the machine: its processors, its turn at them, and what `ulimit` bounds."""
    try:
        with open("/proc/self/limits", "rb") as file:  # noqa: PTH123
            bounds = file.read()
    except OSError:
        bounds = b""
    return [sorted(os.sched_getaffinity(0)), os.getpriority(os.PRIO_PROCESS, 0), bounds]
