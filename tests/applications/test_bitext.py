"""Translated sentences: the margin by hand, one to one, the files, and xSIM."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from support.command_line import SUBJECTS, run, tiny_model

import semsearch
from semsearch import load_encoder
from semsearch.applications import bitext as mining
from semsearch.errors import DataError, DimensionMismatch, UsageError


def by_definition(left, right, k):
    """The margins of all pairs, and the pairs of the greedy choice among what each side proposes."""
    left, right = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (left, right))
    cosines = left @ right.T
    own, other = np.sort(cosines, axis=1)[:, -k:].mean(axis=1), np.sort(cosines, axis=0)[-k:].mean(axis=0)
    margins = cosines / ((own[:, None] + other[None]) / 2)
    proposed = set()
    for i in range(len(left)):
        near = np.argsort(-cosines[i])[:k]
        proposed.add((i, int(near[margins[i, near].argmax()])))
    for j in range(len(right)):
        near = np.argsort(-cosines[:, j])[:k]
        proposed.add((int(near[margins[near, j].argmax()]), j))
    taken, rows, columns = [], set(), set()
    for i, j in sorted(proposed, key=lambda pair: -margins[pair]):
        if i not in rows and j not in columns:
            taken.append((i, j))
            rows.add(i)
            columns.add(j)
    return margins, taken


def sides(seed=0, count=60):
    rng = np.random.default_rng(seed)
    left = rng.standard_normal((count, 12)) + 1
    right = left[rng.permutation(count)][: count - 10] + 0.4 * rng.standard_normal((count - 10, 12))
    return left, right


def test_it_is_the_margin_of_the_definition():
    left, right = sides()
    margins, taken = by_definition(left, right, 4)
    found = semsearch.bitext(left, right, min_margin=0)
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == taken
    assert found.margins == pytest.approx([margins[pair] for pair in taken], abs=1e-5)
    least = float(np.median(found.margins))
    some = semsearch.bitext(left, right, min_margin=least)
    assert some.margins.tolist() == [margin for margin in found.margins.tolist() if margin >= least]


def test_xsim_counts_what_is_not_found():
    left, _ = sides()
    assert mining.xsim(left, left) == 0
    swapped = left.copy()
    swapped[[0, 1]] = left[[1, 0]]
    assert mining.xsim(left, swapped) == pytest.approx(2 / 60)
    with pytest.raises(UsageError, match="60 and 59"):
        mining.xsim(left, left[1:])


def aligned(count, noise, seed=3):
    """Rows that translate each other, line by line."""
    rng = np.random.default_rng(seed)
    left = rng.standard_normal((count, 12)) + 1
    return left, left + noise * rng.standard_normal((count, 12))


def test_the_margin_is_learnt_where_lines_translate_each_other():
    left, right = aligned(300, 0.5)
    learnt = mining.learn_margin(left, right)
    assert learnt == mining.learn_margin(left, right)
    assert learnt.f1 == pytest.approx(2 * learnt.precision * learnt.recall / (learnt.precision + learnt.recall))
    assert 0.8 < learnt.f1 <= 1
    # on others of the kind, of which a third of each side has no translation, it does better than 1, …
    one, other = aligned(300, 0.5, seed=4)

    def f1(least):
        found = semsearch.bitext(one[100:], np.concatenate([other[:100], other[200:]]), min_margin=least)
        right_ones = ((found.first >= 100) & (found.first == found.second)).sum()
        return 2 * right_ones / (len(found.first) + 100)

    assert f1(learnt.min_margin) > f1(1.0)
    # … and no other does much better
    assert f1(learnt.min_margin) > max(f1(least) for least in np.linspace(0.9, 1.6, 15)) - 0.05


@pytest.mark.parametrize(
    ("left", "right", "says"),
    [
        (np.eye(40), np.eye(40)[:39], "40 and 39"),
        (np.eye(20), np.eye(20), "30 translations at least, and there are 20"),
        (aligned(60, 0)[0], np.roll(aligned(60, 0)[0], 7, axis=0), "no pair that was found is a translation"),
    ],
)
def test_what_no_margin_is_learnt_on(left, right, says):
    with pytest.raises(UsageError, match=says):
        mining.learn_margin(left, right)


def test_the_margin_is_learnt_on_the_command_line(tmp_path):
    model = tiny_model(tmp_path / "model")
    words = " ".join(SUBJECTS.values()).split()
    for name in ("a", "b"):
        (tmp_path / name).write_text("".join(f"{word}\n" for word in words))
    asked = ["bitext", tmp_path / "a", tmp_path / "b", "-m", model, "--learn", tmp_path / "a", tmp_path / "b"]
    ended = run(*asked)
    assert ended.code == 0
    assert "learnt --min-margin" in ended.err
    assert all(line.split("\t")[1] == line.split("\t")[2] for line in ended.lines)
    for wrong in (["--xsim"], ["--min-margin", 1.1]):
        assert "leave out" in run(*asked, *wrong).err


def test_nothing_one_and_what_is_wrong():
    none, one = np.empty((0, 3)), np.ones((1, 3))
    assert len(semsearch.bitext(none, one).first) == 0
    assert mining.xsim(none, none) == 0
    assert semsearch.bitext(one, one).margins.tolist() == [1.0]
    with pytest.raises(DimensionMismatch, match="3 and of 2"):
        semsearch.bitext(one, np.ones((1, 2)))
    with pytest.raises(DataError, match="NaN"):
        semsearch.bitext(one, one * np.nan)
    with pytest.raises(UsageError, match="k must"):
        semsearch.bitext(one, one, k=0)


def test_files_on_the_command_line(tmp_path):
    model = tiny_model(tmp_path / "model")
    words = [text.split() for text in SUBJECTS.values()]
    (tmp_path / "a.txt").write_text("".join(" ".join(some) + "\n" for some in words))
    (tmp_path / "b.txt").write_text("".join(" ".join(some[::-1]) + "\n" for some in words[::-1]))
    asked = ["bitext", tmp_path / "a.txt", tmp_path / "b.txt", "-m", model, "--home", tmp_path / "home"]
    ended = run(*asked)
    assert ended.code == 0
    assert sorted(line.split("\t")[1:] for line in ended.lines) == sorted(
        [" ".join(some), " ".join(some[::-1])] for some in words
    )
    assert run(*asked, "--out", tmp_path / "p.tmx", "--languages", "de,en", "--moses", tmp_path / "p").code == 0
    units = ET.parse(tmp_path / "p.tmx").getroot().findall("body/tu")
    assert len(units) == len(words)
    assert [tuv.get("{http://www.w3.org/XML/1998/namespace}lang") for tuv in units[0]] == ["de", "en"]
    lines = [(tmp_path / f"p.{number}").read_text().splitlines() for number in (1, 2)]
    assert {tuple(sorted(one.split())) for one in lines[0]} == {tuple(sorted(one.split())) for one in lines[1]}
    assert [units[0][0][0].text, units[0][1][0].text] == [lines[0][0], lines[1][0]]
    assert run(*asked, "--out", tmp_path / "p.jsonl").code == 0
    assert json.loads((tmp_path / "p.jsonl").read_text().splitlines()[0])["first"] == lines[0][0]
    assert run(*asked, "--xsim").lines == ["0.8000"]
    for wrong, what in (
        (["--out", "p.doc"], "must end in"),
        (["--moses", tmp_path / "p"], "is there already"),
        (["--languages", "de"], "two languages"),
    ):
        ended = run(*asked, *wrong)
        assert ended.code == 2
        assert what in ended.err
    assert "--encoder" in run("bitext", tmp_path / "a.txt", tmp_path / "b.txt").err


def test_lines_that_are_empty_or_there_twice_keep_their_places(tmp_path):
    """Where line i translates line i, none may be dropped on one side alone."""
    model = tiny_model(tmp_path / "model")
    words = " ".join(SUBJECTS.values()).split()
    one, other = [*words, "wheel", "tide", "", "oven"], [*words, "chain", "tide", "salt", "oven"]
    other[3:3], one[3:3] = ["", "salt", ""], ["bake", "salt", ""]
    (tmp_path / "a").write_text("".join(f"{line}\n" for line in one))
    (tmp_path / "b").write_text("".join(f"{line}\n" for line in other))
    asked = ["bitext", tmp_path / "a", tmp_path / "b", "-m", model]
    ended = run(*asked, "--xsim")
    kept = [pair for pair in zip(one, other, strict=True) if all(pair)]
    vectors = [load_encoder(str(model)).encode_documents([pair[side] for pair in kept]) for side in range(2)]
    assert ended.lines == [f"{mining.xsim(*vectors):.4f}"]
    assert f"of {len(kept)} sentences" in ended.err
    assert "left out 3 lines, which are empty in a file" in ended.err
    learnt = run(*asked, "--learn", tmp_path / "a", tmp_path / "b")
    assert f"learnt --min-margin {mining.learn_margin(*vectors).min_margin:.4f}" in learnt.err
    (tmp_path / "c").write_text("".join(f"{line}\n" for line in other[1:]))
    for aligned in (
        ["bitext", tmp_path / "a", tmp_path / "c", "--xsim"],
        [*asked[:3], "--learn", *asked[1:2], tmp_path / "c"],
    ):
        ended = run(*aligned, "-m", model)
        assert (ended.code, f"there are {len(one)} and {len(one) - 1}" in ended.err) == (2, True)


def test_a_measure_writes_nothing_and_is_of_something(tmp_path):
    model = tiny_model(tmp_path / "model")
    (tmp_path / "a").write_text("one\ntwo\n")
    (tmp_path / "blank").write_text("\n \n")
    asked = ("bitext", tmp_path / "a", tmp_path / "a", "-m", model, "--xsim")
    for more in (["--out", tmp_path / "x.tsv"], ["--moses", tmp_path / "x"], ["--min-margin", "1.1"]):
        ended = run(*asked, *more)
        assert (ended.code, "leave out --out, --moses and --min-margin" in ended.err) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "blank", "model"]
    ended = run("bitext", tmp_path / "blank", tmp_path / "blank", "-m", model, "--xsim")
    assert (ended.code, ended.out, "nothing to compare" in ended.err) == (2, "", True)


def test_a_file_beside_what_is_none_is_told(tmp_path):
    (tmp_path / "a").write_text("a\n")
    for asked in ([tmp_path / "a", tmp_path / "b"], [tmp_path / "b", tmp_path / "a"]):
        ended = run("bitext", *asked, "-m", "x")
        assert ended.code == 2
        assert (
            f"{tmp_path / 'a'} is a file, and {tmp_path / 'b'} is none: name two files, or two collections" in ended.err
        )


def test_two_collections(tmp_path):
    home = tmp_path / "collections"
    left, right = sides()
    for name, vectors in (("one", left), ("other", right)):
        with semsearch.create(name, home=home, encoder=None, dim=12) as made:
            made.add([f"{name} {at}" for at in range(len(vectors))], vectors=vectors)
    ended = run("bitext", "one", "other", "--home", home, "--min-margin", 0)
    _, taken = by_definition(left, right, 4)
    assert [line.split("\t")[1:] for line in ended.lines] == [[f"one {i}", f"other {j}"] for i, j in taken]


def test_what_xml_can_not_hold_is_replaced():
    text = "a < b & \x0b\x00 \ud800 \uffff"
    lines = "\n".join(mining.tmx([(text, ']]> "')], ('x-a"', "und")))
    seg = ET.fromstring(lines.encode()).findall(".//seg")
    assert seg[0].text.startswith("a < b & \ufffd\ufffd")
    assert seg[1].text == ']]> "'
