"""The command line as tests call it: in this process for what it says, in one of its own for signals and terminals."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semsearch.cli.main import execute

SUBJECTS = {
    "bread": "flour yeast dough oven crust loaf bake knead",
    "bicycle": "wheel chain pedal saddle brake gear tyre spoke",
    "ocean": "wave tide salt reef current whale harbour storm",
    "guitar": "string fret chord tune pick bridge amplifier strum",
    "garden": "soil seed compost weed prune spade blossom hedge",
}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The results."""
        return self.out.splitlines()

    @property
    def last(self) -> str:
        """The last line said on stderr."""
        return self.err.splitlines()[-1]


def run(*arguments: object, stdin: bytes = b"") -> Ended:
    """`semsearch ARGUMENTS` in this process."""
    streams = [io.TextIOWrapper(io.BytesIO(content), encoding="utf-8") for content in (stdin, b"", b"")]
    before = sys.stdin
    sys.stdin = streams[0]
    try:
        with contextlib.redirect_stdout(streams[1]), contextlib.redirect_stderr(streams[2]):
            code = execute([str(argument) for argument in arguments])
    finally:
        sys.stdin = before
    for stream in streams[1:]:
        stream.flush()
    return Ended(code, *(stream.buffer.getvalue().decode() for stream in streams[1:]))


def start(*arguments: object, **options) -> subprocess.Popen:
    """`semsearch ARGUMENTS` in a process of its own."""
    offline = options.pop("offline", "1")
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    command = [sys.executable, "-c", "from semsearch.cli.main import main; main()", *map(str, arguments)]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # these tests run in the background: it would be inherited
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(command, env={**os.environ, "HF_HUB_OFFLINE": offline}, **pipes)


def corpus(folder: Path, name: str = "notes.jsonl", count: int = 40) -> Path:
    """A file of short documents on a few subjects, `d0`, `d1`, …; document i is on subject i modulo 5."""
    generator = np.random.default_rng(0)
    subjects = list(SUBJECTS.items())
    with (folder / name).open("w") as file:
        for number in range(count):
            subject, words = subjects[number % len(subjects)]
            text = " ".join([subject, *generator.choice(words.split(), 8)])
            record = {"_id": f"d{number}", "title": f"On the {subject}", "text": text, "year": 2000 + number}
            file.write(json.dumps(record) + "\n")
    return folder / name


def tiny_model(folder: Path, *, seed: int = 0) -> Path:
    """A checkpoint of random static word vectors over the words of `corpus`, opened in milliseconds."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace

    words = sorted({*SUBJECTS, *" ".join(SUBJECTS.values()).split(), "on", "the"})
    vocabulary = {word: number for number, word in enumerate(["[UNK]", *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    inner = folder / "0_StaticEmbedding"
    inner.mkdir(parents=True)
    tokenizer.save(str(inner / "tokenizer.json"))
    vectors = np.random.default_rng(seed).normal(size=(len(vocabulary), 32)).astype(np.float32)
    for subject, around in SUBJECTS.items():  # the words of a subject lie near each other
        for word in around.split():
            vectors[vocabulary[word]] = vectors[vocabulary[word]] * 0.3 + vectors[vocabulary[subject]]
    save_file({"embedding.weight": vectors}, inner / "model.safetensors")
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {
                    "idx": 0,
                    "name": "0",
                    "path": "0_StaticEmbedding",
                    "type": "sentence_transformers.models.StaticEmbedding",
                },
                {"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"},
            ]
        )
    )
    return folder
