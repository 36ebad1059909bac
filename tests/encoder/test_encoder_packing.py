"""Where tokens lie: every text whole, once, by itself, within the budget, and with few holes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semsearch.encoder.packing import ROW, SHORT, plan, spared


@pytest.mark.slow
@settings(max_examples=150)
@given(
    lengths=st.lists(st.integers(0, 300), min_size=1, max_size=80),
    budget=st.sampled_from([64, 100, 512, 4096]),
    share=st.booleans(),
)
def test_every_text_lies_whole_in_one_place(lengths, budget, share):
    lengths = np.array(lengths)
    batches = plan(lengths, budget, share=share)
    assert sorted(np.concatenate([batch.texts for batch in batches])) == list(range(len(lengths)))
    for batch in batches:
        own = lengths[batch.texts]
        rows = batch.rows(own)
        size = rows.count * rows.length
        assert size == batch.cost
        assert size <= max(budget, ROW) or rows.count == 1
        assert share or not rows.shared
        slots = np.arange(own.sum()) if rows.slots is None else rows.slots.numpy()
        assert len(set(slots.tolist())) == len(slots), "two tokens share a slot"
        owners = np.full(size, -1) if rows.owners is not None else np.repeat(np.arange(rows.count), rows.length)
        owners[slots] = np.repeat(np.arange(len(own)), own)
        if rows.owners is not None:
            assert (rows.owners.flatten().numpy() == owners).all()
        place = 0
        for i, length in enumerate(own):
            mine = slots[place : place + length]
            assert (mine == mine[:1] + np.arange(length)).all() if length else True
            assert len(set(mine // rows.length)) <= 1, "a text runs over the end of its row"
            assert (rows.positions[place : place + length].numpy() == np.arange(length)).all()
            assert (owners[mine] == i).all()
            place += length


def test_short_texts_leave_few_holes():
    lengths = np.random.default_rng(0).integers(6, SHORT + 1, 8192)
    batches = plan(lengths, 4096)
    filled = sum(lengths[batch.texts].sum() for batch in batches) / sum(batch.cost for batch in batches)
    assert filled > 0.98


@pytest.mark.parametrize(("length", "slots"), [(7, 32), (32, 32), (33, 64), (250, 256)])
def test_a_single_text_lies_in_a_row_as_beside_others(length, slots):
    (batch,) = plan(np.array([length]), 4096)
    rows = batch.rows(np.array([length]))
    assert (rows.count, rows.length) == (1, slots)
    assert rows.dense == (length == slots or length == 250)


def test_a_model_that_knows_no_rows_gets_no_longer_rows_than_its_longest_text():
    lengths = np.array([85, 3, 84])
    assert [batch.length for batch in plan(lengths, 4096, share=False)] == [85]


@pytest.mark.parametrize("count", [2, 9])
def test_few_short_texts_make_a_row_no_longer_than_they_need(count):
    lengths = np.full(count, 5)
    (batch,) = plan(lengths, 4096)
    assert (batch.length, batch.cost) == ((32, 32) if count == 2 else (64, 64))


def test_texts_that_make_one_batch_together_make_no_second_one():
    """The questions of a server's clients: a longer one among them would cost all the steps of a model once more."""
    lengths = np.array([9, 12, 40, 11, 64, 33])
    (batch,) = plan(lengths, 2048)
    assert (batch.length, batch.shared) == (ROW, True)
    assert sorted(batch.texts) == list(range(6))
    assert len(plan(np.array([9, 40, 65]), 2048)) == 2
    many = np.array([12, 40] * 100)
    apart = [many[batch.texts] for batch in plan(many, 2048)]
    assert all(lengths.max() <= SHORT or lengths.min() > SHORT for lengths in apart)


def test_moving_rows_keeps_them():
    lengths = np.array([3, 40, 8])
    for batch in plan(lengths, 4096):
        rows = batch.rows(lengths[batch.texts])
        moved = rows.to(torch.device("cpu"))
        assert (moved.count, moved.length, moved.shared) == (rows.count, rows.length, rows.shared)
        assert torch.equal(moved.positions, rows.positions)


def test_tokens_to_spare_are_few_and_of_few_sizes():
    counts = np.arange(1, 5000)
    sizes = np.array([spared(int(count)) for count in counts])
    assert (sizes >= counts).all()
    most = np.select([counts > 1024, counts > 384], [0.0625, 0.25], 0.5)
    assert (sizes <= counts + np.maximum(8, counts * most)).all()
    assert len(set(sizes[counts <= 4096])) < 50
