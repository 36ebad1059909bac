"""The unit of systemd and the Dockerfile that are shown: their commands are ours, and systemd takes the unit."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from semsearch.cli.serve import serve

EXAMPLES = Path(__file__).parents[2] / "examples" / "server"
OPTIONS = {name for parameter in serve.params for name in parameter.opts}


def command_of_the_unit():
    lines = (EXAMPLES / "semsearch.service").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("ExecStart=")]
    return shlex.split(line.removeprefix("ExecStart="))


def command_of_the_container():
    lines = (EXAMPLES / "Dockerfile").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("CMD ")]
    return [part.strip('" ') for part in line.removeprefix("CMD ").strip("[]").split(",")]


@pytest.mark.parametrize("command", [command_of_the_unit, command_of_the_container])
def test_the_command_is_one_of_ours(command):
    program, name, *rest = command()
    assert (Path(program).name, name) == ("semsearch", "serve")
    assert {word for word in rest if word.startswith("-")} <= OPTIONS


def test_systemd_takes_the_unit(tmp_path):
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not on this machine")
    unit = (EXAMPLES / "semsearch.service").read_text().replace("/opt/semsearch/bin/semsearch", "/bin/true")
    (tmp_path / "semsearch.service").write_text(unit)
    done = subprocess.run(
        [program, "verify", tmp_path / "semsearch.service"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_image_is_built_of_the_repository_alone():
    """Collections and environments that lie in a checkout don't go into it."""
    left_out = (EXAMPLES / "Dockerfile.dockerignore").read_text().splitlines()
    ignored = (EXAMPLES.parents[1] / ".gitignore").read_text().split()
    folders = [line.strip("/") for line in ignored if line.endswith("/") and not line.endswith("_cache/")]
    assert {".semsearch", ".venv"} <= set(folders)
    assert {".git", ".*_cache", *folders} <= {line.removeprefix("**/") for line in left_out}
