"""Making a late-interaction reranker: count the tokens of documents, and choose its weight on judged questions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from semsearch.encoder.text_encoder import TextEncoder
from semsearch.reranker.late_interaction import LateInteraction, count_tokens
from semsearch.training.held_out import Evaluation, by_text, evaluate
from semsearch.training.judged import Judged
from semsearch.training.mining import MinedCandidates

# What a folder of a published encoder may hold beside what opens it here: the same weights for other runtimes.
OTHER_RUNTIMES = ("onnx", "openvino", "*.h5", "*.msgpack", "*.ot", "*.onnx")


def make(
    encoder: TextEncoder, data: Sequence[tuple[Judged, MinedCandidates]], out: Path, depth: int
) -> tuple[LateInteraction, Evaluation]:
    """A reranker of an encoder's token embeddings, in the folder `out`, and what it does on the held-out questions.

    Args:
        encoder: A transformer on one device.
        data: Whose documents are counted, and on whose held-out questions the weight is chosen.
        out: A folder that is not there, or holds nothing.
        depth: Candidates of a question that are reranked.

    Raises:
        ModelError: The encoder has no embeddings of tokens.
    """
    texts = [text for judged, _ in data for text in judged.texts]
    made = LateInteraction(encoder, count_tokens(encoder, texts), len(texts), name=out.name)
    found = evaluate(by_text(made), data, 0, depth)
    made.weight = found.weight
    copy_encoder(encoder, out)
    (out / "training.jsonl").write_text(json.dumps({"evaluation": found.logged()}) + "\n", "utf-8")
    made.save(out)
    return made, found


def copy_encoder(encoder: TextEncoder, out: Path) -> None:
    """Put the files of an encoder into a folder, so that what is made of it needs nothing else."""
    shutil.copytree(encoder.folder, out, ignore=shutil.ignore_patterns(*OTHER_RUNTIMES), dirs_exist_ok=True)
