"""The benchmark of training: what a run that was interrupted keeps."""

import importlib
from argparse import Namespace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTIONS = {"base": None, "suffix": "", "by_itself": False, "alone": False, "dense": True, "seed": 0}
RECIPE = {"epochs": None, "batch": None, "lr": None, "patience": None}


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("training")


def folds(training, file, name="cacm", way="head", **options):
    return training.FinishedFolds(file, name, way, Namespace(**{**OPTIONS, **RECIPE, **options}))


def test_finished_folds_are_there_again_for_the_same_command_alone(training, tmp_path):
    file = tmp_path / "finished.jsonl"
    finished = folds(training, file)
    assert 0 not in finished
    finished[0] = {"values": {"dense": [[0.5], [0.25]]}}
    finished[1] = {"values": {"dense": [[1.0], [0.0]]}}
    again = folds(training, file)
    assert again[0] == {"values": {"dense": [[0.5], [0.25]]}}
    assert 1 in again
    assert 2 not in again
    others = [{"name": "cisi"}, {"way": "full"}, {"suffix": "-l3"}, {"dense": False}, {"epochs": 2}, {"seed": 1}]
    assert not any(0 in folds(training, file, **other) for other in others)


def test_a_line_that_was_cut_short_is_measured_again(training, tmp_path):
    file = tmp_path / "finished.jsonl"
    finished = folds(training, file)
    finished[0] = finished[1] = {"values": {}}
    file.write_bytes(file.read_bytes()[:-9])
    again = folds(training, file)
    assert 0 in again
    assert 1 not in again
    again[1] = {"values": {"dense": [[], []]}}
    assert folds(training, file)[1] == {"values": {"dense": [[], []]}}


def test_without_a_file_nothing_is_kept(training):
    finished = folds(training, None)
    finished[0] = {"values": {}}
    assert finished[0] == {"values": {}}
    assert 0 not in folds(training, None)
