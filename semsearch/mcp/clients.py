"""The lines by which assistants learn of a server, in the form of each client, as its documentation of 2026 has it.

They are of the person and not of a project: what a client adds by default is known in the present folder alone.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path


def command(arguments: Sequence[str]) -> list[str]:
    """How a client starts this server, whatever the folder and the path that it runs in."""
    program = Path(sys.argv[0])
    if program.name == "semsearch" and program.is_file():
        return [str(program.absolute()), *arguments]
    if (found := shutil.which("semsearch")) is not None:
        return [found, *arguments]
    return [sys.executable, "-m", "semsearch", *arguments]


def lines(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """For each of the usual clients, where its line goes, and the line.

    >>> lines(["mcp"])[0][0]
    'Claude Code: type'
    """
    started = command(arguments)
    entry = {"command": started[0], "args": started[1:]}
    usual = json.dumps({"mcpServers": {"semsearch": entry}}, ensure_ascii=False)
    typed = shlex.join(started)
    toml = "\n".join(
        [
            "[mcp_servers.semsearch]",
            f"command = {json.dumps(started[0], ensure_ascii=False)}",
            f"args = {json.dumps(started[1:], ensure_ascii=False)}",
        ]
    )
    return [
        ("Claude Code: type", f"claude mcp add --scope user semsearch -- {typed}"),
        ("Claude Desktop: into claude_desktop_config.json", usual),
        ("Cursor: into ~/.cursor/mcp.json", usual),
        (
            "VS Code: type",
            "code --add-mcp " + shlex.quote(json.dumps({"name": "semsearch", **entry}, ensure_ascii=False)),
        ),
        ("Codex: into ~/.codex/config.toml", toml),
        ("Gemini CLI: type", f"gemini mcp add --scope user semsearch {typed}"),
        (
            "Zed: into settings.json",
            json.dumps({"context_servers": {"semsearch": {"source": "custom", **entry}}}, ensure_ascii=False),
        ),
    ]


def lines_for_url(url: str) -> list[tuple[str, str]]:
    """The same for a server that runs already, at an address that ends in `/mcp`.

    >>> lines_for_url("http://127.0.0.1:7700/mcp")[0][1]
    'claude mcp add --scope user --transport http semsearch http://127.0.0.1:7700/mcp'
    """
    written = json.dumps(url, ensure_ascii=False)
    typed = shlex.quote(url)
    entry = json.dumps({"name": "semsearch", "type": "http", "url": url}, ensure_ascii=False)
    return [
        ("Claude Code: type", f"claude mcp add --scope user --transport http semsearch {typed}"),
        ("Cursor: into ~/.cursor/mcp.json", f'{{"mcpServers": {{"semsearch": {{"url": {written}}}}}}}'),
        ("VS Code: type", "code --add-mcp " + shlex.quote(entry)),
        ("Codex: into ~/.codex/config.toml", f"[mcp_servers.semsearch]\nurl = {written}"),
        ("Gemini CLI: type", f"gemini mcp add --scope user --transport http semsearch {typed}"),
        ("Zed: into settings.json", f'{{"context_servers": {{"semsearch": {{"url": {written}}}}}}}'),
    ]
