"""An agent's framework that has its own environment asks `semsearch mcp` of this one.

`make adaptors` makes that environment beside this one, since smolagents' client needs version 1 of the protocol's SDK.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import semsearch

AGENTS = Path(os.environ.get("SEMSEARCH_AGENTS", "none"), "bin", "python")
PAGE = Path(__file__).parents[2] / "docs" / "adaptors.md"
MODEL = """
import os, sys
from smolagents import ChatMessage, Model

class Scripted(Model):
    def generate(self, messages, stop_sequences=None, **kwargs):
        said = 'I look.\\n<code>\\nfinal_answer(search(query="boiling", k=1))\\n</code>'
        return ChatMessage(role="assistant", content=said)

model = Scripted()
"""
END = """
print("tools:", sorted(tool.name for tool in tools))
print("answer:", answer)
"""


@pytest.mark.skipif(not AGENTS.exists(), reason="`make adaptors` makes the environment that SEMSEARCH_AGENTS names")
@pytest.mark.usefixtures("minilm")
def test_an_agent_of_smolagents_answers_as_the_page_has_it(tmp_path):
    with semsearch.create("notes", home=tmp_path) as made:
        made.add([semsearch.Document("boiling", "Water boils at 100 degrees.")])
    (block,) = re.findall(r"^```py\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    own = f'{sys.executable!r}, args=["-m", "semsearch", "mcp", "--home", {str(tmp_path)!r}], env=dict(os.environ)'
    there = '"/path/to/.venv/bin/semsearch", args=["mcp"]'
    assert there in block
    command = [AGENTS, "-c", MODEL + block.replace(there, own) + END]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stderr
    assert "'get', 'list_collections', 'more_like_this', 'search'" in ended.stdout
    assert "Water boils at 100 degrees." in ended.stdout.partition("answer:")[2]
