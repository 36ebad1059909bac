"""Parquet: every type of Arrow's comes out right, as a text of itself, or as a bad record with its row."""

import datetime
import decimal
import uuid

import pytest

from semsearch.errors import DataError
from semsearch.ingest.source import ReadReport, Source

pa = pytest.importorskip("pyarrow")
DAY = 86_400


def read(tmp_path, column, kind, *, name="m", **others):
    """What the column's values are as metadata, row by row; the sentences of bad records."""
    from pyarrow import parquet

    array = column if isinstance(column, pa.Array) else pa.array(column, kind)
    rows = range(len(array))
    table = pa.table({"id": [str(n) for n in rows], "text": [f"text {n}" for n in rows], **others, name: array})
    parquet.write_table(table, tmp_path / "a.parquet", version="2.6", store_schema=True)
    report = ReadReport(skip=True)
    found = {document.id: document for document in Source.of(tmp_path / "a.parquet").read(report)}
    return found, [str(error).partition("a.parquet, ")[2] for error in report.errors]


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (pa.timestamp("ns"), 1, "1970-01-01T00:00:00.000000001"),
        (pa.timestamp("ns"), 1_500, "1970-01-01T00:00:00.000001500"),
        (pa.timestamp("ns"), 2_000, "1970-01-01T00:00:00.000002"),
        (pa.timestamp("us"), 5, "1970-01-01T00:00:00.000005"),
        (pa.timestamp("ms"), 500, "1970-01-01T00:00:00.500000"),
        (pa.timestamp("ms"), -500, "1969-12-31T23:59:59.500000"),
        (pa.timestamp("ms", "Europe/Berlin"), 0, "1970-01-01T00:00:00+00:00"),
        (pa.timestamp("ns", "America/New_York"), 1, "1970-01-01T00:00:00.000000001+00:00"),
        (pa.time64("ns"), 3_600 * 10**9 + 1, "01:00:00.000000001"),
        (pa.time32("s"), 60, "00:01:00"),
        (pa.date32(), 1, "1970-01-02"),
        (pa.duration("ns"), 1, 1e-9),
        (pa.duration("s"), 90, 90.0),
        (pa.duration("ns"), 2**62 + 1, "4611686018.427387905"),
        (pa.decimal128(38, 2), decimal.Decimal("1.10"), 1.1),
        (pa.decimal128(38, 0), decimal.Decimal("12345678901234567890"), "12345678901234567890"),
        (pa.decimal256(76, 2), decimal.Decimal("9" * 70 + ".25"), "9" * 70 + ".25"),
        (pa.binary(), "über".encode(), "über"),
        (pa.binary(), b"\xff\x00", "ff00"),
        (pa.binary(), b"a\0b", "610062"),
        (pa.binary(4), b"\xde\xad\xbe\xef", "deadbeef"),
        (pa.list_(pa.timestamp("ns")), [1, None], ["1970-01-01T00:00:00.000000001", None]),
        (pa.struct([("at", pa.timestamp("ns")), ("n", pa.int8())]), {"at": 1, "n": 2},
         {"at": "1970-01-01T00:00:00.000000001", "n": 2}),
        (pa.map_(pa.string(), pa.int8()), [("a", 1)], [["a", 1]]),
        (pa.float64(), float("nan"), None),
    ],
    ids=str,
)  # fmt: skip
def test_a_value_is_right_or_the_text_of_itself(tmp_path, kind, value, said):
    column = pa.array([value, None], pa.int64() if isinstance(value, int) and not pa.types.is_date32(kind) else kind)
    if pa.types.is_time32(kind):
        column = pa.array([value, None], pa.int32())
    found, errors = read(tmp_path, column.cast(kind) if isinstance(value, int) else column, kind)
    assert errors == []
    assert [document.metadata["m"] for document in found.values()] == [said, None]
    assert type(found["0"].metadata["m"]) is type(said)


def test_uuids_are_texts(tmp_path):
    if not hasattr(pa, "uuid"):
        pytest.skip("of pyarrow 18 on")
    one = uuid.uuid4()
    found, errors = read(tmp_path, pa.array([one.bytes], pa.uuid()), None)
    assert (found["0"].metadata["m"], errors) == (str(one), [])


@pytest.mark.parametrize("kind", [pa.timestamp("s"), pa.timestamp("s", "UTC"), pa.timestamp("ms")])
def test_a_time_out_of_range_is_a_bad_record_with_its_row(tmp_path, kind):
    far = pa.array([0, 10_000 * 366 * DAY * (1000 if kind.unit == "ms" else 1), 0], pa.int64()).cast(kind)
    found, errors = read(tmp_path, far, kind)
    assert list(found) == ["0", "2"]
    assert errors == ["row 2: it holds a time that lies beyond the years 1 to 9999."]


def test_bytes_are_text_or_a_bad_record(tmp_path):
    found, errors = read(tmp_path, [b"whales", "über".encode(), b"\xff"], pa.binary(), name="text")
    assert [document.text for document in found.values()] == ["whales", "über"]
    assert errors == ["row 3: a text that is not UTF-8; write the file anew."]


def test_times_of_two_zones_compare(tmp_path):
    moment = datetime.datetime(2024, 1, 2, 10, tzinfo=datetime.UTC)
    berlin = moment.astimezone(datetime.timezone(datetime.timedelta(hours=1)))
    found, _ = read(
        tmp_path, [berlin], pa.timestamp("us", "Europe/Berlin"), there=pa.array([moment], pa.timestamp("s", "UTC"))
    )
    assert found["0"].metadata == {"m": "2024-01-02T10:00:00+00:00", "there": "2024-01-02T10:00:00+00:00"}


def test_a_number_beyond_64_bits_is_a_bad_record_with_its_row(tmp_path):
    found, errors = read(tmp_path, [1, 2**64 - 1], pa.uint64())
    assert list(found) == ["0"]
    assert errors[0].startswith("row 2: the metadata, 'm', holds a whole number beyond 64 bits")


def test_the_name_of_a_column_that_is_no_text_costs_its_file(tmp_path):
    from pyarrow import parquet

    table = pa.table({"id": ["1"], "text": ["a whale"], "naXXme": ["x"]})
    parquet.write_table(table, tmp_path / "a.parquet", store_schema=False)
    raw = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(raw.replace(b"naXXme", b"na\xff\xfeme"))
    with pytest.raises(DataError, match="the name of a column is not UTF-8"):
        list(Source.of(tmp_path / "a.parquet").read())


def test_a_column_that_is_there_twice_is_told(tmp_path):
    from pyarrow import parquet

    parquet.write_table(pa.table([["a"], ["b"]], names=["text", "text"]), tmp_path / "a.parquet")
    with pytest.raises(
        DataError, match=r"a\.parquet: the column 'text' is there twice; one of the two would be lost\."
    ):
        list(Source.of(tmp_path / "a.parquet").read())
