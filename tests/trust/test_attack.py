"""A seeded sample of the attacks from outside; `make attack` does them all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="the attacked processes are forked, and their limits set")

from attack.children import Ended
from attack.families import FAMILIES
from attack.judge import RAW, faults
from support.workload import FULL

pytestmark = pytest.mark.trust
TESTS = Path(__file__).parents[1]
COUNT = 1000
PERCENT = 100 if FULL else 3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_of_attacks(family, note):
    note(f"attacks: {'all' if FULL else f'a seeded sample, {PERCENT} %,'} of {COUNT:,}; `make attack` does them all")
    command = [sys.executable, "-m", "attack", str(COUNT), "--family", family, "--percent", str(PERCENT)]
    environment = {**os.environ, "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
    ended = subprocess.run(command, env=environment, cwd=TESTS, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def ended(**how):
    return Ended(**{"what": "x", "code": 0, "out": "", "err": "", "seconds": 1.0, "memory": 0} | how)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({}, ""),
        ({"code": 3, "err": "semsearch: line 3 is no JSON."}, ""),
        ({"code": 7, "err": "semsearch: no."}, "not documented"),
        ({"code": 2}, "said nothing"),
        ({"code": 2, "err": "oh"}, "no sentence"),
        ({"code": 1, "err": "Traceback (most recent call last):\n  x\nValueError: y"}, "traceback: ValueError: y"),
        ({"code": -11}, "SIGSEGV"),
        ({"code": -9}, "SIGKILL"),
        ({"code": -9, "disturbed": True}, ""),
        ({"late": True, "code": -9}, "still ran"),
        ({"memory": 1 << 40}, "MB"),
        ({"out": "a\x1b[31m", "terminal": True}, "U+001B"),
        ({"out": "a\u202e", "terminal": True}, "RIGHT-TO-LEFT OVERRIDE"),
        ({"out": "a\x9b", "terminal": True}, "U+009B"),
        ({"out": "kept\rover", "terminal": True}, "U+000D"),
        ({"out": "a\tb\r\n", "terminal": True}, ""),
    ],
)
def test_the_judge_sees(how, told):
    found = faults(ended(**how))
    assert told in "; ".join(found)
    assert bool(found) is bool(told)


@pytest.mark.parametrize(
    ("out", "right"),
    [('{"a": 1}', True), ('{"a": 1}\n{"b": 2}\n', True), ("{'a'}", False), ('{"a": NaN}', False), ("", False)],
)
def test_the_judge_reads_json(out, right):
    assert (not faults(ended(out=out), as_json=True)) is right


def test_text_of_every_script_may_be_shown():
    assert not RAW.search("größer שלום العربية 日本語 👩\u200d🚀 e\u0301\n\t")
