"""The README, followed to the letter: every command, in order, in a clean copy of the project, with the network closed.

`make train` and `make test` are not run here: the one installs everything anew, the other runs this test. In their
place stands an environment like the one they build: the copy is installed into it as `make install` does, and what it
depends on is taken from the environment that runs the test.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.request
from pathlib import Path

import pytest

from rnnlab.config import fragments

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PATIENCE = 1200.0  # [s] for one command, on a machine that does other things as well

CLOSED = '''"""The network is closed: whoever asks for another address than this machine's is refused."""
import sys

HERE = (None, "localhost", "127.0.0.1", "::1")

def refuse(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in HERE:
        raise OSError(f"the network is closed: {arguments[1]}")
    if event == "socket.getaddrinfo" and arguments[0] not in HERE:
        raise OSError(f"the network is closed: {arguments[0]}")

sys.addaudithook(refuse)
'''


BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
"""(language, text) of every block between fences. `sh` is followed; what has no language is shown."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy of the project with an environment in `.venv`, which reaches nothing but this machine."""
    folder = tmp_path_factory.mktemp("checkout") / "rnnlab"
    listing = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / ".venv")], check=True)
    paths = {"base": str(folder / ".venv"), "platbase": str(folder / ".venv")}
    site = Path(sysconfig.get_path("purelib", "venv", paths))
    (site / "heavy.pth").write_text(sysconfig.get_path("purelib") + "\n")  # whose own .pth files are not followed
    (site / "closed_network.py").write_text(CLOSED)
    (site / "closed_network.pth").write_text("import closed_network\n")
    done = _python(folder, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", ".")
    assert done.returncode == 0, done.stderr
    return folder


def _python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(folder / ".venv" / "bin" / "python"), *arguments]
    return subprocess.run(command, cwd=folder, env=_environment(folder), capture_output=True, text=True)


def _environment(folder: Path) -> dict[str, str]:
    """A stranger's: no settings of ours, one thread a process since the suite uses the other cores."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "OMP_NUM_THREADS": "1",
        "RNNLAB_DATA": str(folder / "cache"),
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


@pytest.mark.long
@pytest.mark.packaging
def test_the_network_is_closed_in_the_copy(copy: Path) -> None:
    for call in ("create_connection(('192.0.2.1', 80))", "getaddrinfo('example.org', 80)"):
        done = _python(copy, "-c", f"import socket; socket.{call}")
        assert "the network is closed" in done.stderr


@pytest.mark.long
@pytest.mark.packaging
@pytest.mark.timeout(3600)
def test_every_command_of_the_readme_runs_in_order(copy: Path) -> None:
    activation = ". .venv/bin/activate"
    commands = []
    for language, text in BLOCKS:
        if language == "sh":
            commands += text.splitlines()
        elif language == "python" and "@register" not in text:  # what is executed rather than shown
            commands.append(f"python - <<'SNIPPET'\n{text}SNIPPET")
    assert commands.pop(0) == activation  # holds for the commands after it, each of which gets a shell of its own
    for command in commands:
        started = time.monotonic()
        output = _follow(copy, activation, command)
        print(f"{time.monotonic() - started:6.1f} s  {command}")  # shown by pytest -rP, and when the test fails
        assert output.strip() or ">" in command or "mkdir" in command or "pip" in command, f"{command}: said nothing"
    assert (copy / "runs" / "compared" / "compare.html").is_file()
    _, qrnn = json.loads((copy / "runs" / "parity" / "ablation.json").read_text())["rows"]
    assert qrnn["variant"] == "qrnn"
    assert qrnn["difference"]["high"] < -0.3
    assert qrnn["p"] < 0.05
    assert qrnn["p_flip"] < 0.05
    assert (copy / "runs" / "memory_dropout" / "best.gin").is_file()


def _follow(folder: Path, activation: str, command: str) -> str:
    process = subprocess.Popen(
        ["bash", "-euc", f"{activation}\n{command}"],
        cwd=folder,
        env=_environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        if command.startswith("rnnlab board"):
            return _look_at(process)
        output, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, f"{command}\n{output}\n{errors}"
        return output
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def _look_at(board: subprocess.Popen[str]) -> str:
    """A server: look at what it serves, and end it by Ctrl-C."""
    assert board.stdout is not None
    told = board.stdout.readline()
    (url,) = re.findall(r"http://\S+", told)
    with urllib.request.urlopen(url, timeout=60) as page:
        assert b"TensorBoard" in page.read()
    os.killpg(board.pid, signal.SIGINT)
    _, errors = board.communicate(timeout=60)
    assert board.returncode in (130, -signal.SIGINT), errors
    return told


def test_the_part_in_the_readme_is_the_example_word_for_word() -> None:
    source = (ROOT / "examples" / "my_part" / "my_part.py").read_text(encoding="utf-8")
    (shown,) = (text for _, text in BLOCKS if "@register" in text)
    assert source.endswith(shown)


def test_the_examples_own_readme_has_the_same_commands() -> None:
    def commands(text: str) -> list[str]:
        lines = re.findall(r"^(?:rnnlab|python|pip|pytest) .*(?:my_part|Ema|parts core).*$", text, flags=re.MULTILINE)
        return [line.partition(" #")[0].split(" --corpus")[0].split(" --bytes")[0].strip() for line in lines]

    example = (ROOT / "examples" / "my_part" / "README.md").read_text(encoding="utf-8")
    found = commands(example)
    assert found
    assert set(found) <= set(commands(README))


def test_the_papers_table_names_roots_that_are_there() -> None:
    rows = re.findall(r"`rnnlab train (\S+) (\S+) --seed \d+`", README)
    assert len(rows) == 3
    assert {name for row in rows for name in row} <= set(fragments())


def test_the_file_tree_names_folders_that_are_there() -> None:
    (tree,) = (text for _, text in BLOCKS if text.startswith("rnnlab/"))
    names = [line.split()[0] for line in tree.splitlines()]
    assert all((ROOT / name).exists() for name in names)
