"""Whatever a server of embeddings answers, it is a sentence in bounded time and memory, and tells no secret."""

import threading
import time
import traceback
import tracemalloc

import numpy as np
import pytest
from support.hostile_server import BEHAVIOURS, DIM, bomb, serve

from semsearch.encoder import remote
from semsearch.encoder.remote import RemoteEncoder
from semsearch.errors import EncodingFailed, ModelError, UsageError

SECRET = "sk-0123456789abcdef-not-for-eyes"
SOUND = {"sound", "sound_and_packed", "sound_and_wordy"}
NOT_FINITE = {"nan", "infinity", "beyond_float32"}
SECONDS = 0.3  # that an answer may take here


@pytest.fixture(scope="module", autouse=True)
def _made_before():
    bomb()  # takes as long as an answer may


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("SEMSEARCH_API_KEY", SECRET)
    with serve() as running:
        running.secret = SECRET
        yield running


def encoder(server, **given):
    given = {"sleep": lambda seconds: None, "seconds": 5.0} | given
    name = f"openai-compatible:{server.url}#m"
    remote.trust_named(name)
    return RemoteEncoder(name, **given)


def refused(client, texts=("a", "b")):
    """The error that encoding ends in."""
    with pytest.raises((ModelError, EncodingFailed)) as caught:
        client.encode_documents(list(texts))
    return caught.value


def whole(error):
    """All that anybody could print of an error, with what it is chained to."""
    chained = []
    while error is not None:
        chained += [repr(error), *map(str, error.args), *traceback.format_exception(error)]
        error = error.__cause__ or error.__context__
    return "\n".join(chained)


def test_there_are_many_ways():
    assert len(BEHAVIOURS) >= 60


@pytest.mark.parametrize("name", sorted(SOUND))
def test_sound_answers_are_taken(server, name):
    server.behaviour = name
    vectors = encoder(server).encode_documents(["a", "b", "c"])
    assert np.allclose(vectors, np.full((3, DIM), DIM**-0.5))


@pytest.mark.parametrize("at_once", [False, True], ids=["later", "at once"])
@pytest.mark.parametrize("name", sorted(BEHAVIOURS.keys() - SOUND))
def test_every_answer_is_a_sentence_in_time_that_tells_no_secret(server, monkeypatch, name, at_once):
    monkeypatch.setattr(remote, "TRIES", 1)
    server.behaviour, server.at_once = name, at_once
    client = encoder(server, seconds=SECONDS)
    started = time.monotonic()
    error = refused(client)
    assert time.monotonic() - started < 20 * SECONDS  # on a machine that is busy
    message = str(error)
    assert message.startswith(server.url)
    assert len(message) < 600
    assert "\n" not in message
    assert SECRET not in whole(error)
    assert not any(SECRET[at : at + 8] in message for at in range(len(SECRET) - 7))
    if not at_once:
        assert isinstance(error, EncodingFailed) == (name in NOT_FINITE or name == "echoes_the_key_to_a_text")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("endless_body", "answered with more than 1,04.,... bytes, more than 2 embeddings can need"),
        ("a_length_of_terabytes", "answered with more than"),
        ("endless_body_of_an_error", "answered 404: no such model, says the server, and goes on"),
        ("gzip_bomb", "answered with more than"),
        ("gzip_in_gzip", "packed as 'gzip, gzip', which was not asked for"),
        ("drip_of_the_body", r"no whole answer in 0\.3 seconds"),
        ("drip_of_the_headers", r"no whole answer in 0\.3 seconds"),
        ("drip_of_the_body_of_an_error", r"no whole answer in 0\.3 seconds"),
        ("continues_without_end", r"no whole answer in 0\.3 seconds"),
        ("silence", r"no whole answer in 0\.3 seconds"),
        ("silence_in_the_middle", r"no whole answer in 0\.3 seconds"),
        ("nothing", "answered nothing"),
        ("html", "not JSON: '<!doctype html>"),
        ("nested_100000_deep", r"not JSON: '\[\["),
        ("data_is_null", "no list of 2 embeddings under 'data'"),
        ("too_few", "no list of 2 embeddings"),
        ("an_index_twice", "each needs an 'index' of its own, from 0 to 1"),
        ("an_index_out_of_range", "can't be matched"),
        ("a_vector_too_short", "a vector of 7 components, where 8 were due"),
        ("a_vector_of_base64", "gave a text, where an embedding is a list of numbers"),
        ("a_vector_of_nulls", "a list that holds null"),
        ("an_empty_vector", "an empty list"),
        ("nan", "NaN or infinite numbers for the text 'a'"),
        ("beyond_float64", "a number of more digits than any component has"),
        ("echoes_the_key_in_a_message", r"401: Incorrect API key provided: …\. See …"),
        ("redirects_elsewhere", "answered 307"),
        ("echoes_the_key_but_its_end", r"no such key: …\*"),
        ("echoes_the_key_but_its_start", r"no such key: \*…, …"),
        ("breaks_off_until_closed", r"not JSON: '\{\"data.*', which may have been cut off"),
        ("nothing_until_closed", "answered nothing, which may have been cut off"),
        ("breaks_off_packed", "the answer is cut off"),
        ("gzip_cut_short", "the answer is cut off"),
        ("headers_without_end", "answered with more than 100 kB of headers"),
        ("continues_at_once_without_end", "answered with more than 100 kB of headers"),
    ],
)
def test_what_is_said(server, monkeypatch, name, said):
    monkeypatch.setattr(remote, "TRIES", 1)
    server.behaviour = name
    with pytest.raises((ModelError, EncodingFailed), match=said):
        encoder(server, seconds=SECONDS).encode_documents(["a", "b"])


@pytest.mark.parametrize("name", ["endless_body", "a_length_of_terabytes", "gzip_bomb", "endless_body_of_an_error"])
def test_memory_is_bounded(server, name):
    server.behaviour = name
    client = encoder(server)
    assert client.dim == DIM
    tracemalloc.start()
    try:
        refused(client)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_an_answer_as_long_as_it_may_need_to_be_is_read(server):
    """Many texts of many components, each written as wordily as a server may."""
    server.behaviour = "sound_and_wordy"
    texts = [f"text {n}" for n in range(150)]
    assert encoder(server).encode_documents(texts).shape == (150, DIM)


@pytest.mark.parametrize("name", [name for name in BEHAVIOURS if name.startswith("asks_to_wait")])
def test_no_server_makes_one_wait_for_long(server, name):
    waits = []
    server.behaviour = name
    refused(encoder(server, sleep=waits.append))
    assert len(waits) == remote.TRIES - 1
    assert all(0 < wait <= remote.LONGEST for wait in waits)


@pytest.mark.parametrize("name", [name for name in BEHAVIOURS if name.startswith("redirects")])
def test_the_key_goes_nowhere_else(server, name):
    with serve() as elsewhere:
        server.elsewhere = f"{elsewhere.url}/embeddings"
        server.behaviour = name
        refused(encoder(server))
        assert elsewhere.asked == []
    assert len(server.asked) == 2, "the dimension, and the texts once"


def test_what_went_wrong_once_is_no_matter_to_the_next_request(server, monkeypatch):
    monkeypatch.setattr(remote, "TRIES", 1)
    client = encoder(server, seconds=SECONDS)
    for name in ("drip_of_the_headers", "endless_body", "hangs_up_in_the_middle", "sound"):
        server.behaviour = name
        if name == "sound":
            assert client.encode_queries(["a"]).shape == (1, DIM)
        else:
            refused(client)


CUT = [name for name in BEHAVIOURS if name.startswith("breaks_off")]


@pytest.mark.parametrize("name", ["hangs_up_in_the_middle", "nothing_until_closed", "gzip_cut_short", *CUT])
def test_what_is_cut_off_is_asked_for_again(server, name):
    server.behaviour = name

    def mend(seconds):
        server.behaviour = "sound"

    assert encoder(server, sleep=mend).encode_queries(["a"]).shape == (1, DIM)
    assert len(server.asked) == 3, "the dimension, and the text twice"


@pytest.mark.parametrize("name", ["headers_without_end", "endless_body", "html"])
def test_what_would_be_answered_again_is_asked_for_once(server, name):
    server.behaviour = name
    refused(encoder(server))
    assert len(server.asked) == 2, "the dimension, and the texts once"


def test_no_clock_runs_on(server):
    client = encoder(server, seconds=60.0)
    client.encode_queries(["a"])
    for clock in [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]:
        clock.join(5)
        assert not clock.is_alive(), "it ends with its request"


@pytest.mark.parametrize(
    "address", ["http://me:{}@127.0.0.1:9/v1", "http://{}@127.0.0.1:9/v1", "http://127.0.0.1:9/v1?key={}", "me:{}@host"]
)
def test_an_address_with_a_secret_is_refused_without_repeating_it(address):
    with pytest.raises(UsageError, match="a key goes into SEMSEARCH_API_KEY") as caught:
        RemoteEncoder(f"openai-compatible:{address.format(SECRET)}#m")
    assert SECRET not in whole(caught.value)


@pytest.mark.parametrize("key", [f"{SECRET}\nX-More: 1", f"{SECRET}ü", f"{SECRET}\x00"])
def test_a_key_that_no_header_may_hold(server, monkeypatch, key):
    if "\0" in key:  # which no environment holds
        monkeypatch.setattr(remote.os, "environ", {"SEMSEARCH_API_KEY": key})
    else:
        monkeypatch.setenv("SEMSEARCH_API_KEY", key)
    with pytest.raises(UsageError, match="SEMSEARCH_API_KEY holds characters that no key has") as caught:
        encoder(server).encode_queries(["a"])
    assert SECRET not in whole(caught.value)
    assert server.asked == []


@pytest.mark.parametrize(("key", "sent"), [(f" {SECRET}\n", f"Bearer {SECRET}"), ("Basic bWU6eW91", "Basic bWU6eW91")])
def test_what_is_sent_as_a_key(server, monkeypatch, key, sent):
    monkeypatch.setenv("SEMSEARCH_API_KEY", key)
    encoder(server).encode_queries(["a"])
    assert {headers["Authorization"] for _, headers, _ in server.asked} == {sent}
