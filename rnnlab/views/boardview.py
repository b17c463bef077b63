"""`rnnlab board`: TensorBoard on runs and studies, under readable names, kept up to date while they train.

TensorBoard gets a folder of links, one a run. It believes the first thing that it reads of a session and of a study's
columns; where they change, a link is taken away for one round and a layout gets another name, and it reads them anew.
"""

import io
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from tensorboard import program

from rnnlab.errors import ConfigError
from rnnlab.interrupts import Interrupts
from rnnlab.storage.runfolder import RunFolder
from rnnlab.views.board import mark_killed, own_files, write_study_root
from rnnlab.views.hparams import hyperparameters
from rnnlab.views.runs import find_runs
from rnnlab.views.variants import name_runs

RELOAD = 5  # [s] between two looks at the event files
# [s] between two looks at the run folders; longer than TensorBoard's, or it might miss that a link was gone
REFRESH = 8
LAYOUT = "~ layout"  # what the page lists it as, after the runs
THIS_MACHINE = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.IGNORECASE)


class View:
    """A folder of links to the event files of runs, and what TensorBoard needs to know of them all."""

    def __init__(self, folder: Path, paths: Sequence[Path]) -> None:
        """Args:
        folder: an empty one, the view's own.
        paths: runs, or folders with runs below them, now or later.
        """
        self._folder, self._paths = folder, paths
        self._linked: dict[str, Path] = {}  # event file that each link showed first
        self._known: dict[Path, str] = {}  # configuration of each run
        self._layouts = 0

    def refresh(self) -> list[str]:
        """Look at the runs again and bring the folder up to date. Returns: their names.

        Raises: StorageError if a path has no run in or below it.
        """
        folders = list(dict.fromkeys(run.resolve() for path in self._paths for run in find_runs(path)))
        runs = [RunFolder.open(folder) for folder in folders]
        names = readable(name_runs(folders))
        for name, run in zip(names, runs, strict=True):
            mark_killed(run)
            self._link(name, run)
        known = {run.path: run.config_text for run in runs}
        if known != self._known:
            self._known = known
            self._lay_out()
        return names

    def _link(self, name: str, run: RunFolder) -> None:
        link, first = self._folder / name, next(iter(own_files(run)), None)
        if first is None:
            return  # it has begun, and written nothing yet
        if name not in self._linked:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(run.tensorboard, target_is_directory=True)
            self._linked[name] = first
        elif self._linked[name] != first:  # the run went on, and its session is another
            link.unlink()
            del self._linked[name]

    def _lay_out(self) -> None:
        stale = list(self._folder.glob(f"{LAYOUT} *"))
        self._layouts += 1
        write_study_root(self._folder / f"{LAYOUT} {self._layouts}", list(map(hyperparameters, self._known.values())))
        for folder in stale:
            shutil.rmtree(folder, ignore_errors=True)


def readable(names: Sequence[str]) -> list[str]:
    """Names of runs without what a study adds to those of its cells, as long as that tells them apart."""
    short = [re.sub(r"(^|/)cells/", r"\1", re.sub(r"(seed-\d+)-[0-9a-f]{8}$", r"\1", name)) for name in names]
    return short if len(set(short)) == len(names) else list(names)


def serve(paths: Sequence[Path], port: int | None = None) -> None:
    """Show runs in TensorBoard, on this machine only, until a signal ends it.

    Args:
        paths: runs, or folders with runs below them.
        port: to listen on; 0 for any that is free, None for 6006 or the next that is free.
    Raises: StorageError if a path has no run in or below it; ConfigError if the port is taken; Stopped in the end.
    """
    with tempfile.TemporaryDirectory(prefix="rnnlab-board-") as folder, Interrupts() as interrupts:
        view = View(Path(folder), paths)
        names = view.refresh()
        url = _launch(folder, port)
        print(f"{url} shows {len(names)} run{'' if len(names) == 1 else 's'}; Ctrl-C ends it", flush=True)
        refreshed = time.monotonic()
        while True:
            time.sleep(0.2)
            interrupts.check()
            if time.monotonic() - refreshed > REFRESH:
                view.refresh()
                refreshed = time.monotonic()


def _launch(folder: str, port: int | None) -> str:
    """Start TensorBoard in threads of this process. Returns: its address. Raises: ConfigError if the port is taken."""
    board = program.TensorBoard(server_class=_server)
    board.configure(argv=["rnnlab board"], logdir=folder, host="127.0.0.1", reload_interval=RELOAD, port=port)
    try:
        with redirect_stderr(io.StringIO()):  # on which it would advise an option that is not ours
            return str(board.launch())
    except program.TensorBoardServerException as error:
        raise ConfigError(f"--port {port or 6006}: {error}; name another, or --port 0 for any that is free") from None


def _server(app: WSGIApplication, flags: Any) -> Any:
    """TensorBoard's own server, for requests to this machine only.

    A page of the web can have its name resolve to 127.0.0.1, and its script then reads what is served there; the Host
    header still has the name. Any port will do: a tunnel has its own.
    """

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "")
        if THIS_MACHINE.fullmatch(host):
            return app(environ, start_response)
        text = f"{host!a} is refused; open localhost, 127.0.0.1 or [::1], from elsewhere through a tunnel\n".encode()
        start_response("403 Forbidden", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
        return [text]

    return program.create_port_scanning_werkzeug_server(guarded, flags)
