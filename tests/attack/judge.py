"""The judge of a process: strict, and the same for every attack."""

import json
import re
import signal
import unicodedata

from attack.children import MEMORY

CODES = {0, 1, 2, 3, 4, 5, 130}  # those of docs/command-line.md
# Of C0 all but what moves to the next line or column; C1; and what turns the direction of a line.
RAW = re.compile("\r(?![\r\n])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
SENTENCE = re.compile(r"^semsearch: |^Usage: |\w[^\n]*\.\s*$", re.MULTILINE)


def faults(ended, *, as_json=False):
    """What is wrong with how a process ended, as sentences."""
    found = []
    reports = ended.what.startswith("check ")  # whose output is the problems that it found, a line each
    if ended.late:
        found.append(f"still ran after {ended.seconds:.0f} s")
    elif ended.code < 0 and not (ended.disturbed and -ended.code in (signal.SIGKILL, signal.SIGTERM)):
        found.append(f"was ended by {signal.Signals(-ended.code).name}")
    elif ended.code >= 0 and ended.code not in CODES:
        found.append(f"ended with the code {ended.code}, which is not documented")
    said = ended.out + ended.err
    if "Traceback (most recent call last)" in said:
        lines = [
            line for line in said.splitlines() if re.match(r"[\w.]+(Error|Exception|Exit|Interrupt|Warning)\b", line)
        ]
        found.append(f"printed a traceback: {lines[-1][:160] if lines else said.strip().splitlines()[-1][:160]}")
    elif ended.code in CODES - {0, 1, 130} and not re.search(r"\w[^\n]*\w", said):
        found.append(f"ended with {ended.code} and said nothing")
    elif ended.code in CODES - {0, 1, 130} and not reports and not SENTENCE.search(said):
        found.append(f"ended with {ended.code} and no sentence of ours: {said.strip()[-120:]!r}")
    if ended.memory > MEMORY:
        found.append(f"took {ended.memory >> 20:,} MB")
    if as_json and not ended.terminal and (ended.code in (0, 1) or reports) and (ended.out.strip() or not reports):
        found += not_json(ended.out)
    if ended.terminal and (raw := RAW.search(ended.out)):
        name = unicodedata.name(raw.group(), f"U+{ord(raw.group()):04X}")
        around = ended.out[max(raw.start() - 30, 0) : raw.end() + 30]
        found.append(f"let {name} through to the terminal: {around!r}")
    return found


def not_json(out):
    """Why the output is not a JSON document, nor one a line."""
    if not out.strip():
        return ["printed nothing where JSON was asked for"]
    try:
        strictly(out)
    except ValueError:
        try:
            for line in out.splitlines():
                strictly(line)
        except ValueError as error:
            return [f"printed what is no JSON ({error}): {out[:80]!r}"]
    return []


def strictly(text):
    """The value of a JSON text; NaN and Infinity are none."""

    def refuse(name):
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)
