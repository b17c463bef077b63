"""`rnnlab board`: TensorBoard on runs and studies, under readable names, kept up to date while they train."""

import io
import re
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import closing, redirect_stderr
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from tensorboard import program

from rnnlab.errors import ConfigError
from rnnlab.interrupts import Interrupts
from rnnlab.views.board_folder import View

RELOAD = 5  # [s] between two looks at the event files
# [s] between two looks at the run folders; longer than TensorBoard's, or it might miss that a folder was gone
REFRESH = 8
THIS_MACHINE = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.IGNORECASE)


def serve(paths: Sequence[Path], port: int | None = None) -> None:
    """Show runs in TensorBoard, on this machine only, until a signal ends it.

    Args:
        paths: runs, or folders with runs below them.
        port: to listen on; 0 for any that is free, None for 6006 or the next that is free.
    Raises: StorageError if a path has no run in or below it; ConfigError if the port is taken; Stopped in the end.
    """
    with (
        tempfile.TemporaryDirectory(prefix="rnnlab-board-") as folder,
        Interrupts() as interrupts,
        closing(View(Path(folder), paths)) as view,
    ):
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
