"""An agent's framework that has its own environment asks `semsearch mcp` of this one.

`make adaptors` makes that environment beside this one, since smolagents' client needs version 1 of the protocol's SDK.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.fakes import HashEncoder

import semsearch

AGENTS = Path(os.environ.get("SEMSEARCH_AGENTS", "none"), "bin", "python")
SCRIPT = """
import os, sys
from mcp import StdioServerParameters
from mcpadapt.core import MCPAdapt
from mcpadapt.smolagents_adapter import SmolAgentsAdapter

command = StdioServerParameters(command=sys.argv[1], args=["-m", "semsearch", "mcp", "--home", sys.argv[2]],
                                env=dict(os.environ))
with MCPAdapt(command, SmolAgentsAdapter(), connect_timeout=200) as found:  # from_mcp waits 30 s
    tools = {tool.name: tool for tool in found}
    print(sorted(tools))
    print(tools["get"](collection="notes", id="boiling"))
"""


@pytest.mark.skipif(not AGENTS.exists(), reason="`make adaptors` makes the environment that SEMSEARCH_AGENTS names")
def test_smolagents_takes_the_tools(tmp_path):
    with semsearch.create("notes", home=tmp_path, encoder=HashEncoder()) as made:
        made.add([semsearch.Document("boiling", "Water boils at 100 degrees.")])
    command = [AGENTS, "-c", SCRIPT, sys.executable, tmp_path]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stderr
    assert "'get', 'list_collections', 'more_like_this', 'search'" in ended.stdout
    assert "Water boils at 100 degrees." in ended.stdout
