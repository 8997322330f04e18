"""MLflow's pages on this machine, for this project."""

import errno
import os
import socket
import sys
from pathlib import Path

from absld.errors import InputError
from absld.watch.store import database, open_store, tracking_uri
from pipeline import processes

HOST = "127.0.0.1"


def serve(root: Path, port: int) -> int:
    """Serve MLflow on the loopback address until told to stop. Returns the exit code.

    Raises:
        InputError: the port is taken or cannot be used, or the records lie on a server that has its own pages.

    """
    uri = tracking_uri(root)
    if uri.startswith(("http://", "https://")):
        raise InputError(f"MLFLOW_TRACKING_URI is {uri}: open it in a browser")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
            raise InputError(f"port {port} {why}: try another one, `absld ui --port NUMBER`") from None
    if (file := database(root)) is not None and not file.is_file():
        open_store(root)
    print(f"MLflow: http://{HOST}:{port} (Ctrl-C ends it)", flush=True)
    address = ["--host", HOST, "--port", str(port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, *address]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    ended = processes.run(command, cwd=root, env=environment)
    return 0 if ended.told else int(ended.code != 0)
