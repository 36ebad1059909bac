"""What is sent and said, without a server: addresses, names, the order of terms, a sentence for each refusal."""

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("orjson", reason="the extra 'opensearch' is not installed")

from semsearch.cluster import cluster_connection, cluster_errors
from semsearch.cluster.cluster_address import ClusterAddress
from semsearch.cluster.cluster_origins import ClusterOrigins
from semsearch.cluster.coded_words import coded, coded_text
from semsearch.cluster.collection_state import CollectionState
from semsearch.cluster.dialects import ClusterAnswer, RequestTimeout
from semsearch.cluster.document_store import DocumentStore
from semsearch.cluster.index_creation import mapping_differences
from semsearch.cluster.index_layout import identity_of, index_name
from semsearch.cluster.metadata_tokens import decoded, encoded, field_tokens, prefix, taken_apart
from semsearch.cluster.word_bounds import DocumentShapes, ServerStatistics, ShapeLevel, WordTotals, idf, norm
from semsearch.errors import CollectionLocked, CollectionNotFound, EngineUnreachable, StorageError, UsageError
from semsearch.search.term_weights import DOCUMENT_SHARE, TITLE

SECRET = "hunter2"
SERVERLESS = "Settings [index.number_of_shards] are not available when running in serverless mode"
NO_IDS = "Document ID is not supported in create/index operation request"
FLOOD = "index [a] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark]"


@pytest.mark.parametrize(
    ("url", "location", "hosts"),
    [
        ("opensearch://h", "opensearch://h:9200", ("http://h:9200",)),
        (
            "opensearch+https://me:hunter2@a,b:93?prefix=x",
            "opensearch+https://me@a:9200,b:93?prefix=x",
            ("https://a:9200", "https://b:93"),
        ),
        ("elasticsearch://[::1]:9201", "elasticsearch://[::1]:9201", ("http://[::1]:9201",)),
    ],
)
def test_an_address_is_shown_without_its_password(url, location, hosts):
    address = ClusterAddress.of(url)
    assert (address.location, address.hosts) == (location, hosts)
    assert SECRET not in address.location


def test_a_password_may_hold_any_sign():
    assert ClusterAddress.of("opensearch://m%40e:p%2Fw%25@h").password == "p/w%"
    assert ClusterAddress.of("opensearch://m%40e:p%2Fw%25@h").user == "m@e"


@pytest.mark.parametrize(
    "url",
    [
        f"opensearch://me:{SECRET}@",
        f"opensearch://me:{SECRET}@h/path",
        f"opensearch://me:{SECRET}@h?nonsense=1",
        f"opensearch://me:{SECRET}@h?prefix=A-b",
        f"opensearch://me:{SECRET}@h?shards=0",
        f"opensearch://me:{SECRET}@h:x",
        f"opensearch://me:{SECRET}@h?ca_certs=/dev/null/none",
        f"opensearch+https://me:{SECRET}@h?ca_certs=/dev/null/none",
    ],
)
def test_an_address_that_can_not_be_read_is_not_repeated(url):
    with pytest.raises(UsageError) as told:
        ClusterAddress.of(url)
    assert SECRET not in str(told.value)


def test_names_of_collections_are_names_of_indexes_and_never_the_same():
    names = [
        "notes",
        "Notes",
        "Übersicht",
        "übersicht",
        "книги",
        "a.b",
        "a..b",
        "a.62",
        "x" * 100,
        "x" * 99 + "y",
        "Ü" * 100,
    ]
    found = [index_name(name) for name in names]
    assert len({*found}) == len(names)
    for name in found:
        assert set(name) <= set(string.ascii_lowercase + string.digits + "._-")
        assert len(name) <= 150


def test_ids_of_any_text_and_length():
    ids = ["", "a", "a" * 10_000, "/?#%,*..", "\udfff", "ü"]
    assert len({identity_of(one) for one in ids}) == len(ids)
    assert {len(identity_of(one)) for one in ids} == {32}


def test_numbers_are_in_their_order_and_none_are_alike():
    generator = random.Random(0)
    numbers = [
        0,
        -0.0,
        1,
        1.5,
        -1.5,
        1e308,
        -1e308,
        5e-324,
        2**53,
        2**53 + 1,
        -(2**53) - 1,
        2**63,
        10**400,
        -(10**400),
        2**1024,
    ]
    numbers += [
        generator.choice([generator.randint(-(2**70), 2**70), generator.uniform(-1e9, 1e9)]) for _ in range(500)
    ]
    numbers += [2**60 + generator.randint(-300, 300) for _ in range(200)]
    for one in numbers:
        assert decoded("number", encoded("number", one)) == one
        other = generator.choice(numbers)
        a, b = encoded("number", one), encoded("number", other)
        assert (a < b) == (one < other)
        assert (a == b) == (one == other)


def test_terms_are_taken_apart_again():
    for name in ("a", "a.b", "ü" * 600):
        for kind, value in (("text", "x"), ("bool", True), ("date", -5)):
            token = prefix(name, True, kind) + encoded(kind, value)
            own, element, told, text = taken_apart(token)
            assert (element, told, decoded(kind, text)) == (True, kind, value)
            assert own == name or own.startswith("ü" * 90)
    values, kinds = field_tokens({"a": [1, "1", True], "b": None, "c": {"d": 2.0}})
    assert (len(values), len(kinds)) == (7, 7)


def test_words_are_coded_as_letters_and_digits_and_never_alike():
    terms = ["cat", "3d", "é", "日本", "🦊", "a" * 300, "a" * 301, "x6e", "日" * 200, "日" * 201]
    codes = [coded(term) for term in terms]
    assert len({*codes}) == len(terms)
    assert all(code.isascii() and code.isalnum() and code.islower() and len(code) <= 255 for code in codes)
    assert coded_text("Two cats", ["one", "two"], ("en",)).count("wcat") == 2, "a title counts twice"


class Slow(cluster_connection.ClusterConnection):
    """A connection to a server that has no time for more than some bytes at once."""

    def __init__(self, most):
        self.location = "opensearch://h"
        self.most = most
        self.sizes = []
        self.good_size = cluster_connection.RequestSize()

    def ask(self, method, path, body, **_):
        self.sizes.append(len(body))
        if len(body) > self.most:
            raise RequestTimeout("not in time")
        return ClusterAnswer(200, {"items": [{"index": {"status": 201}} for _ in body.splitlines()]})


def test_a_slow_server_is_sent_less_at_once():
    lines = [(str(number), b"x" * 30_000 + b"\n") for number in range(500)]
    slow = Slow(400_000)
    DocumentStore(slow, "p-x.g1", ()).write(lines)
    done = [size for size in slow.sizes if size <= slow.most]
    assert sum(done) == sum(len(line) for _, line in lines), "each once"
    assert len(slow.sizes) < 100
    with pytest.raises(EngineUnreachable):
        DocumentStore(Slow(10), "p-x.g1", ()).write(lines)


# ---------------------------------------------------------------- what a score can be at most


@given(data=st.data())
def test_no_passage_is_worth_more_than_its_bound(data):
    """By the formulas as they are written, over any lengths and counts, with words that were removed still counted."""
    counts = st.integers(0, 30)
    words = data.draw(st.lists(st.floats(0.01, 12), min_size=1, max_size=4))
    documents = []
    for _ in range(data.draw(st.integers(1, 4))):
        title = [data.draw(counts) for _ in words]
        texts = [[data.draw(counts) for _ in words] for _ in range(data.draw(st.integers(1, 3)))]
        others = [data.draw(st.integers(1, 400)) for _ in range(len(texts) + 1)]
        documents.append((title, texts, others))
    lengths = [
        (sum(title) + others[0], [sum(text) + more for text, more in zip(texts, others[1:], strict=True)])
        for title, texts, others in documents
    ]
    passages = [title + length for title, texts in lengths for length in texts]
    wholes = [title + sum(texts) for title, texts in lengths]
    totals = WordTotals(len(wholes), len(passages), sum(passages), sum(wholes))
    mean = data.draw(st.floats(0.3, 3)) * totals.mean_whole
    for (title, texts, _), (of_title, of_texts), whole in zip(documents, lengths, wholes, strict=True):
        indexed = whole + (TITLE - 1) * of_title
        shape = DocumentShapes(0, 1, indexed, indexed, indexed / (of_title + min(of_texts)), indexed / whole)
        found = [TITLE * own + sum(text[at] for text in texts) for at, own in enumerate(title)]
        rounded = indexed * data.draw(st.floats(0.87, 1))  # as a server rounds lengths
        theirs = sum(idf * f / (f + norm(rounded, mean)) for idf, f in zip(words, found, strict=True) if f)
        for text, length in zip(texts, of_texts, strict=True):
            held = [TITLE * a + b for a, b in zip(title, text, strict=True)]
            own = sum(
                i * t / (t + norm(of_title + length, totals.mean_passage)) for i, t in zip(words, held, strict=True)
            )
            if len(passages) > len(wholes):
                of_whole = sum(i * f / (f + norm(whole, totals.mean_whole)) for i, f in zip(words, found, strict=True))
                own = DOCUMENT_SHARE * of_whole + (1 - DOCUMENT_SHARE) * own if own else 0.0
            assert own <= shape.excess(totals, mean) * theirs * (1 + 1e-9)


def test_what_a_server_counts_is_read_from_its_explanation():
    def leaf(what, value):
        return {"value": value, "description": what, "details": []}

    def weight(code, holding):
        idf = {
            "value": 2,
            "description": "idf, computed as",
            "details": [leaf("n, number", holding), leaf("N, all", 9)],
        }
        tf = {"value": 0.5, "description": "tf, computed as", "details": [leaf("freq, x", 2), leaf("avgdl, x", 7.5)]}
        score = {"value": 2.2, "description": "score(freq=2.0)", "details": [leaf("boost", 2.2), idf, tf]}
        return {"value": 2.2, "description": f"weight(words:{code} in 3) [x], result of:", "details": [score]}

    said = {"_explanation": {"value": 5, "description": "sum of:", "details": [weight("wa", 3), weight("wb", 1)]}}
    found = ServerStatistics.of([said])
    assert (found.documents, found.mean, found.factor, found.holding) == (9, 7.5, 2.2, {"wa": 3, "wb": 1})
    assert found.idf("wa", 2, 7) == idf(3, 9)
    assert found.idf("wc", 2, 7) == idf(4, 9), "all that was removed may have held it"
    assert ServerStatistics.of([{"_explanation": leaf("something else", 1)}]) is None


def test_documents_are_asked_for_by_how_much_they_may_be_off():
    totals = WordTotals(3, 6, 600, 1200)
    shapes = [DocumentShapes(2, 3, 400, 500, 2.5, 1.1), DocumentShapes(9, 10, 2000, 3000, 9.5, 1.0)]
    levels = ShapeLevel.of(shapes, totals, 420.0)
    assert [level.clause["bool"]["should"] for level in levels] == [
        [{"range": {"of_shortest": {"gte": 2, "lt": 3}}}],
        [{"range": {"of_shortest": {"gte": 9, "lt": 10}}}],
    ]
    assert levels[0].excess < levels[1].excess
    assert ShapeLevel.of(shapes[:1], totals, 420.0)[0].clause is None


def test_what_a_template_makes_of_an_index():
    fields = {"kind": {"type": "keyword"}, "p": {"type": "nested", "dynamic": False}}
    fields["codes"] = {"type": "binary", "doc_values": True}
    wanted = {"_source": {"excludes": ["a", "b"]}, "dynamic": False, "properties": fields}
    told = {
        **fields,
        "p": {"type": "nested", "dynamic": "false"},
        "codes": {"type": "binary"},
        "theirs": {"type": "long"},
    }
    made = {"_source": {"excludes": ["b", "a"]}, "dynamic": "false", "properties": told}
    assert mapping_differences(wanted, made) == []
    assert mapping_differences({**wanted, "_source": {}}, {**made, "_source": {}}) == []
    for changed, names in (
        ({"_source": {"enabled": "false"}}, ["_source"]),
        ({"_routing": {"required": True}}, ["_routing"]),
        ({"dynamic": "true"}, ["dynamic"]),
        ({"properties": {**told, "kind": {"type": "keyword", "normalizer": "low"}}}, ["kind"]),
        ({"properties": {**told, "p": {"type": "object"}}}, ["p"]),
    ):
        assert mapping_differences(wanted, {**made, **changed}) == names


# -------------------------------------------------------------------- what a server says


class Fake:
    """A dialect that gives answers one after the other, the last one for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    def send(self, method, path, body, lines):
        self.asked += 1
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def connection(monkeypatch):
    def made(*answers):
        fake = Fake(*answers)
        monkeypatch.setattr(cluster_connection, "dialect_of", lambda address: fake)
        monkeypatch.setattr(cluster_connection, "FIRST_BACK_OFF", 0.0001)
        monkeypatch.setattr(cluster_connection, "LONGEST_BACK_OFF", 0.0001)
        monkeypatch.setattr(cluster_connection, "BUSY_PATIENCE", 0.05)
        return cluster_connection.ClusterConnection(ClusterAddress.of(f"opensearch://me:{SECRET}@h")), fake

    return made


def error(kind, reason="because", status=400):
    return ClusterAnswer(status, {"error": {"type": kind, "reason": reason, "root_cause": []}, "status": status})


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (EngineUnreachable("Connection refused"), EngineUnreachable, "can't be reached"),
        (EngineUnreachable("certificate verify failed: self-signed"), EngineUnreachable, "ca_certs=FILE"),
        (error("security_exception", status=401), EngineUnreachable, "does not let you in"),
        (error("security_exception", "no permissions", 403), StorageError, "no right"),
        (error("cluster_block_exception", FLOOD, 429), StorageError, "too little room"),
        (error("index_create_block_exception", "blocked by: [FORBIDDEN/10]", 403), StorageError, "too little room"),
        (error("index_not_found_exception", "no such index [x]", 404), CollectionNotFound, "was dropped"),
        (ClusterAnswer(413, "too large"), StorageError, "http.max_content_length"),
        (ClusterAnswer(0, "garbage"), StorageError, "not as a cluster does"),
        (ClusterAnswer(200 + 300, "<html>oops</html>"), StorageError, "oops"),
        (error("search_phase_execution_exception", "all shards failed", 503), StorageError, "retry_failed=true"),
        (error("circuit_breaking_exception", "Data too large", 429), StorageError, "too little memory"),
        (error("illegal_argument_exception", SERVERLESS), UsageError, "serverless flavour"),
        (error("illegal_argument_exception", NO_IDS), UsageError, "serverless flavour"),
        (error("rejected_execution_exception", "too many: point in time", 429), CollectionLocked, "as many readers"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_sentence_within_a_bounded_time(connection, answer, kind, words):
    own, _ = connection(answer)
    with pytest.raises(kind, match=words) as told:
        own.ask("GET", "x", patience=0.05)
    assert SECRET not in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("place", ["type", "root_cause", "caused_by", "failed_shards"])
def test_a_node_that_has_gone_just_now_is_waited_for(connection, place):
    """The others answer 500 until they have noticed; what else is a 500 is none of that."""
    for kind, again in (("node_not_connected_exception", True), ("null_pointer_exception", False)):
        gone = {"type": kind, "reason": "[node2][127.0.0.1:60235] Node not connected"}
        inner = {"root_cause": [gone], "caused_by": gone, "failed_shards": [{"shard": 0, "reason": gone}]}
        said = gone if place == "type" else {"type": "other", "reason": "all shards failed", place: inner[place]}
        lost = ClusterAnswer(500, {"error": said, "status": 500})
        own, _ = connection(lost, ClusterAnswer(200, {"fine": True}))
        if again:
            assert own.ask("GET", "x", patience=5).body == {"fine": True}
            own, _ = connection(lost)
        with pytest.raises(StorageError, match="can't do this now" if again else "refused a request"):
            own.ask("GET", "x", patience=0.01)


def test_what_is_busy_is_asked_again_and_what_is_full_is_not(connection):
    ok = ClusterAnswer(200, {"fine": True})
    own, fake = connection(error("circuit_breaking_exception", status=429), ClusterAnswer(503, "wait"), ok)
    assert own.ask("GET", "x", patience=5).body == {"fine": True}
    assert fake.asked == 3
    own, fake = connection(error("cluster_block_exception", "flood", 429), ok)
    with pytest.raises(StorageError):
        own.ask("GET", "x", patience=5)
    assert fake.asked == 1


@pytest.mark.parametrize(
    "shards",
    [
        {"total": 3, "successful": 2, "failed": 0},  # a lost shard: no failure is told
        {"total": 3, "successful": 2, "failed": 1},
        {},
    ],
)
def test_a_partial_answer_is_never_passed_off_as_whole(connection, shards):
    hits = {"hits": {"total": {"value": 0}, "hits": []}}
    partial = (
        ClusterAnswer(200, {"_shards": shards, **hits})
        if shards
        else ClusterAnswer(200, {"_shards": {"total": 1}, **hits})
    )
    own, _ = connection(partial)
    with pytest.raises(StorageError, match="a part of the collection only"):
        own.search("x", {})
    several = ClusterAnswer(200, {"responses": [partial.body]})
    own, _ = connection(several)
    with pytest.raises(StorageError, match="a part of the collection only"):
        own.searches("x", [{}])
    whole = ClusterAnswer(200, {"_shards": {"total": 3, "successful": 3, "failed": 0}, **hits})
    own, fake = connection(partial, whole)
    assert own.search("x", {})["hits"]["hits"] == []
    assert fake.asked == 2


def test_the_status_of_each_item_is_read(connection):
    """Of what is written of sources and files, too: an item that was refused is no success."""
    full = {"status": 429, "error": {"type": "cluster_block_exception", "reason": FLOOD}}
    own, _ = connection(ClusterAnswer(200, {"items": [{"create": {"status": 409}}, {"update": full}]}))
    origins = ClusterOrigins(own, CollectionState(own, "x", "u"), lambda: None, lambda: None)
    with pytest.raises(StorageError, match="too little room"):
        origins._written([("a", b"{}\n"), ("b", b"{}\n")])
    for items in ([], [{"create": {"status": 201}}], [{"create": {}}, {}], "fine", [1, 2]):
        own, _ = connection(ClusterAnswer(200, {"items": items}))
        with pytest.raises(StorageError, match="not as a cluster does"):
            list(own.bulk("x", [("a", b"{}\n"), ("b", b"{}\n")]))


def test_an_answer_that_ran_out_of_time_is_none(connection):
    said = {"timed_out": True, "_shards": {"total": 1, "successful": 1}, "hits": {"hits": []}}
    own, _ = connection(ClusterAnswer(200, said))
    with pytest.raises(StorageError):
        own.search("x", {})


def test_the_deepest_cause_is_told():
    body = {
        "error": {
            "type": "x",
            "reason": "all shards failed",
            "failed_shards": [{"reason": {"type": "y", "reason": "the cause"}}],
        }
    }
    assert cluster_errors.reason(body) == "the cause"
