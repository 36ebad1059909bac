"""Losses and gradients of an encoder's training: sentence-transformers' own on the same batch."""

import numpy as np
import pytest
import torch
from support import synonyms, tiny
from support.encoder_checkpoints import classic

from semsearch.training import losses, trainable
from semsearch.training.trainable import TrainableEncoder, TrainableHead, between, state_of, take_state

QUESTIONS, PASSAGES = tiny.TEXTS[:3], [*tiny.TEXTS[3:], *tiny.TEXTS[:3], "he drove home", "the sea is big", "a dog sat"]
POSITIVES = torch.arange(3)
TAUGHT = torch.tensor([[5.0, 2.0, 1.0], [3.0, 3.5, -1.0], [0.5, 0.0, 0.25]])


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Where the processor is fast in bfloat16, training rounds to it, and no two orders of a sum agree to 1e-5."""
    monkeypatch.setattr(trainable, "bf16_is_fast", lambda device: False)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "m"
    classic(folder)
    config = folder / "config.json"
    said = config.read_text("utf-8")
    config.write_text(said.replace('_dropout_prob": 0.1', '_dropout_prob": 0.0'), "utf-8")
    return folder


def candidates(scores):
    """Each question's own: its answer, and two others of the batch."""
    return torch.stack([scores[row, [row, 3 + row, 6 + row]] for row in range(3)])


def contrast(queries, documents):
    scores = 20 * losses.similarities(queries, documents, cosine=True)
    return losses.in_batch_negatives(scores, POSITIVES)


def margin(queries, documents):
    return losses.margins(candidates(queries @ documents.T), TAUGHT)


def divergence(queries, documents):
    scores = candidates(losses.similarities(queries, documents, cosine=True))
    return losses.divergence(scores, TAUGHT, 0.5)


OURS = {
    "in-batch negatives": contrast,
    "margins": margin,
    "divergence": divergence,
    "nested": losses.nested(contrast, [16, 8, 4]),
}


def theirs(name, model):
    """Loss and gradients by sentence-transformers."""
    from sentence_transformers import SentenceTransformer, util
    from sentence_transformers.sentence_transformer import losses as peers

    student = SentenceTransformer(str(model), device="cpu", local_files_only=True).eval()
    contrast = peers.MultipleNegativesRankingLoss(student)
    made = {
        "in-batch negatives": contrast,
        "cached": peers.CachedMultipleNegativesRankingLoss(student, mini_batch_size=2),
        "margins": peers.MarginMSELoss(student, similarity_fct=util.pairwise_cos_sim),
        "divergence": peers.DistillKLDivLoss(student, similarity_fct=util.pairwise_cos_sim, temperature=0.5),
        "nested": peers.MatryoshkaLoss(student, contrast, [16, 8, 4]),
    }[name]
    columns = [QUESTIONS, PASSAGES[:3], PASSAGES[3:6], PASSAGES[6:]]
    features = [student.preprocess(column) for column in columns]
    value = made(features, TAUGHT if name in ("margins", "divergence") else None)
    value.backward()
    return float(value), {name: one.grad for name, one in student[0].model.named_parameters() if one.grad is not None}


def ours(loss, model, **limits):
    student = TrainableEncoder(str(model), QUESTIONS, PASSAGES, device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in limits.items():
            patch.setattr(trainable, name, {"cpu": value})
        value = student.backward(range(3), range(9), loss, 0)
    (module,) = [module for kind, module in student._made.values() if kind == "transformer"]
    return value, {name: one.grad for name, one in module.model.named_parameters() if one.grad is not None}


def assert_alike(one, other):
    assert one[0] == pytest.approx(other[0], rel=1e-5, abs=1e-6)
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        scale = max(1.0, float(other[1][name].abs().max()))
        assert float((gradient - other[1][name]).abs().max()) < 1e-5 * scale, name


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(OURS))
def test_losses_and_gradients_are_those_of_sentence_transformers(name, model):
    assert_alike(ours(OURS[name], model), theirs(name, model))


@pytest.mark.filterwarnings("ignore")
def test_so_is_the_cached_one(model):
    assert_alike(ours(contrast, model, STATE_BYTES=0, PART_TOKENS=16), theirs("cached", model))


@pytest.mark.parametrize("name", list(OURS))
def test_the_cached_gradient_is_the_uncached(name, model):
    assert_alike(ours(OURS[name], model, STATE_BYTES=0, PART_TOKENS=16), ours(OURS[name], model))


def test_the_cached_gradient_is_the_uncached_with_dropout(tmp_path):
    model = classic(tmp_path / "m")
    cached, whole = (ours(contrast, model, STATE_BYTES=limit, PART_TOKENS=16) for limit in (0, 1 << 40))
    assert_alike(cached, whole)
    assert whole[0] != pytest.approx(ours(contrast, model, PART_TOKENS=1 << 20)[0], abs=1e-4), (
        "dropout is drawn by part"
    )


def test_a_part_takes_the_same_memory_however_wide_the_model_is(tmp_path, monkeypatch):
    student = TrainableEncoder(str(classic(tmp_path / "m")), QUESTIONS, PASSAGES, device="cpu")
    whole, _, tokens = student._parts("document", PASSAGES)
    assert len(whole) == 1
    monkeypatch.setattr(trainable, "PART_BYTES", {"cpu": tokens // 3 * student._state_bytes})
    parts, chosen, _ = student._parts("document", PASSAGES)
    assert len(parts) >= 3
    assert sorted(number for own in chosen for number in own.tolist()) == list(range(len(PASSAGES)))


def test_a_table_is_gone_through_at_once(tmp_path):
    student = TrainableEncoder(str(synonyms.table(tmp_path / "static")), [], ["the cat sat", "a dog"] * 5_000)
    parts, chosen, tokens = student._parts("document", student._texts["document"])
    assert tokens > trainable.PART_TOKENS["cpu"]
    assert (len(parts), len(chosen[0])) == (1, 10_000)


def test_what_may_answer_is_no_negative_and_a_pair_counts_what_it_weighs():
    scores = torch.tensor([[1.0, 9.0, 0.0], [0.0, 2.0, 0.0]], requires_grad=True)
    forbidden = torch.tensor([[False, True, False], [False, False, False]])
    value = losses.in_batch_negatives(scores, torch.tensor([0, 1]), forbidden, torch.tensor([3.0, 1.0]))
    first, second = np.log1p(np.exp(-1.0)), np.log1p(2 * np.exp(-2.0))
    assert value.item() == pytest.approx((3 * first + second) / 4)
    value.backward()
    assert scores.grad[0, 1] == 0


def test_low_rank_products_begin_as_nothing_and_are_saved_as_a_plain_model(model, tmp_path):
    import semsearch

    student = TrainableEncoder(str(model), QUESTIONS, PASSAGES, device="cpu", way="lora")
    before = semsearch.load_encoder(str(model), device="cpu", dtype="float32").encode_documents(tiny.TEXTS)
    assert np.abs(student.encoder.encode_documents(tiny.TEXTS) - before).max() < 1e-6
    optimizer = torch.optim.Adam(student.learnt, 0.1)
    for _ in range(2):
        student.backward(range(3), range(9), contrast, 0)
        optimizer.step()
    student.save(tmp_path / "saved")
    saved = semsearch.load_encoder(str(tmp_path / "saved"), device="cpu", dtype="float32").encode_documents(tiny.TEXTS)
    assert np.abs(saved - student.encoder.encode_documents(tiny.TEXTS)).max() < 1e-6
    assert np.abs(saved - before).max() > 1e-3


def test_a_head_begins_as_nothing(model):
    import semsearch

    encoder = semsearch.load_encoder(str(model), device="cpu", dtype="float32")
    student = TrainableHead(encoder, encoder.encode_queries(QUESTIONS), encoder.encode_documents(PASSAGES))
    made = student.backward(range(3), range(9), contrast, 0)
    scores = encoder.encode_queries(QUESTIONS) @ encoder.encode_documents(PASSAGES).T
    wanted = losses.in_batch_negatives(torch.from_numpy(20 * scores), POSITIVES).item()
    assert made == pytest.approx(wanted, abs=1e-5)
    assert student.learnt[0].grad.abs().max() > 1e-4


def test_half_way_between_two_models(model):
    student = TrainableEncoder(str(model), QUESTIONS, PASSAGES, device="cpu")
    begun = state_of(student)
    learnt = {name: tensor + 1 for name, tensor in begun.items()}
    for share in (0.0, 0.5, 1.0):
        take_state(student, between(begun, learnt, share))
        assert all(torch.allclose(now, begun[name] + share) for name, now in state_of(student).items())
