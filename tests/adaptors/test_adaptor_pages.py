"""The blocks of the pages on frameworks and other tools run, where the framework or the tool is installed."""

import ast
import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
OURS = {"semsearch", "asyncio", "sys"}


def sections(page):
    """The title and blocks of each section that has any."""
    text = (DOCS / page).read_text("utf-8")
    for part in re.split(r"^## ", text, flags=re.MULTILINE):
        blocks = re.findall(r"^```python\n(.*?)^```", part, re.DOTALL | re.MULTILINE)
        if blocks:
            yield part.partition("\n")[0].lstrip("# "), blocks


def tools_of(block):
    """The packages of others that a block imports."""
    for one in ast.walk(ast.parse(block)):
        names = [alias.name for alias in one.names] if isinstance(one, ast.Import) else []
        names += [one.module] if isinstance(one, ast.ImportFrom) else []
        yield from (name.partition(".")[0] for name in names)


CASES = [(page, title) for page in ("adaptors.md", "coming-from.md") for title, _ in sections(page)]


def test_every_tool_has_ten_calls():
    for title, blocks in sections("coming-from.md"):
        for block in blocks:
            calls = [one for one in ast.parse(block).body if not isinstance(one, ast.Import | ast.ImportFrom)]
            assert title == "Coming from" or len(calls) >= 9, title


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not os.environ.get("SEMSEARCH_FULL"), reason="`make adaptors` runs it")
@pytest.mark.parametrize(("page", "title"), CASES)
def test_the_blocks_of_a_section_run(page, title, tmp_path, monkeypatch, minilm):
    monkeypatch.chdir(tmp_path)
    names = {}
    for name, blocks in sections(page):
        if name not in (title, "Coming from"):
            continue
        for block in blocks:
            for tool in set(tools_of(block)) - OURS:
                if find_spec(tool) is None:
                    pytest.skip(f"{tool} is not installed")
            text = block.replace('SentenceTransformer("all-MiniLM-L6-v2")', f"SentenceTransformer({str(minilm)!r})")
            exec(compile(text, page, "exec"), names)
