"""A model that is nowhere, on a machine without network: a sentence at once, and nothing made."""

import pytest
from support.command_line import corpus, start

from semsearch import list_collections


@pytest.mark.slow
@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_model_that_is_nowhere(tmp_path, monkeypatch, offline):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    process = start("index", corpus(tmp_path), "-m", "nobody/nothing", offline=offline)
    out, err = process.communicate(timeout=100)
    assert (process.returncode, out) == (2, b"")
    said = err.decode()
    assert said.startswith("semsearch: the model 'nobody/nothing' was not found. Looked in ")
    assert len(said.splitlines()) == 1
    assert ("HF_HUB_OFFLINE is set" if offline == "1" else "could not be asked") in said
    assert list_collections(home=tmp_path / "home") == []
