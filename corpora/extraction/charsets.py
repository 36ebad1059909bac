"""Bytes as text, by the name of an alphabet that a page or a message gives."""

from __future__ import annotations

WIDER = {  # what programs write under the name of a part of it, as browsers read it (WHATWG, "Encoding")
    "us-ascii": "cp1252",
    "ascii": "cp1252",
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "gb2312": "gb18030",
    "gb_2312-80": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "x-sjis": "cp932",
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
}


def decoded_as(raw: bytes, said: str | None) -> str:
    """The text; in UTF-8 where what was `said` is unknown or wrong. Bytes that are wrong cost themselves alone."""
    name = (said or "us-ascii").strip().lower()
    known = WIDER.get(name, name)
    for charset in (
        ("utf-8",) if known == "cp1252" else (known, "utf-8")
    ):  # where every byte has a letter, it is no proof
        try:
            return raw.decode(charset)
        except (LookupError, ValueError):
            continue
    try:
        return raw.decode(known, "replace")
    except (LookupError, ValueError):  # some codecs of Python's give no text
        return raw.decode("cp1252", "replace")
