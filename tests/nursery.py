"""A process that has imported a framework and forks a worker of it for whoever asks: the import takes seconds, a fork
none.

In the framework's environment ``python nursery.py serve SOCKET MODULE...`` imports the modules. Elsewhere
``python nursery.py SOCKET -m vgg.worker MODULE FILE`` stands for ``python -m vgg.worker MODULE FILE``: its standard
streams are the worker's, and it ends as the worker does, which does not outlive it.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import sys


def serve(path: str, modules: list[str]) -> None:
    """Fork a keeper for each client, until standard input ends."""
    for module in modules:
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a keeper
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        while server.fileno() in select.select([server.fileno(), 0], [], [])[0]:
            client, _ = server.accept()
            if not os.fork():
                server.close()
                keep(client)
                os._exit(0)
            client.close()


def keep(client: socket.socket) -> None:
    """Fork the worker and tell its client how it ends; kill it where the client ends first."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, streams, *_ = socket.recv_fds(client, 1 << 20, 3)
    worker = os.fork()
    if not worker:
        work(json.loads(message), streams)
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(worker)
    if ended not in select.select([client.fileno(), ended], [], [])[0]:
        os.kill(worker, signal.SIGKILL)
    client.sendall(str(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])).encode())


def work(asked: dict[str, list[str]], streams: list[int]) -> None:
    """Be the worker."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.argv, sys.path[:0] = asked["argv"], asked["path"]
    try:
        importlib.import_module("vgg.worker").main()
    finally:
        os._exit(1)


def ask(path: str, argv: list[str]) -> None:
    """Be the client."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        message = json.dumps({"argv": argv, "path": os.environ["PYTHONPATH"].split(os.pathsep)})
        socket.send_fds(server, [message.encode()], [0, 1, 2])
        code = int(server.recv(16) or b"1")
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], sys.argv[3:])
    else:
        ask(sys.argv[1], sys.argv[3:])
