"""The process of a command, from its first signal to its last output. ``python -m vgg`` is the same as ``vgg``."""

import os
import signal
import sys

INTERRUPTED = 130
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGXCPU")
NOTICES = [signal.Signals[name] for name in NAMES if name in signal.Signals.__members__]
"""What ends a command: Ctrl-C and Ctrl-\\, a closed terminal, a cluster's notices, and limits of time."""


def run() -> int:
    """Run the command of this process and return its exit status.

    Before and after the command, when there is nothing to clean up, a notice ends the process at once. During the
    command it raises ``KeyboardInterrupt``. A notice that the caller wants to be ignored, as nohup does, is ignored.
    """
    notices = [notice for notice in NOTICES if signal.getsignal(notice) is not signal.SIG_IGN]
    _heed(notices, _quit)
    from .cli import main, streams

    output = streams.install()
    sys.unraisablehook = _again
    _heed(notices, signal.default_int_handler)
    try:
        status = main()
    except SystemExit as end:  # argparse's
        status = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:  # while the command's own notice of another was printed
        _quit()
    _heed(notices, _quit)
    return streams.finish(output, status)


def _heed(notices: list[signal.Signals], handler: "signal._HANDLER") -> None:
    for notice in notices:
        signal.signal(notice, handler)


def _quit(*_: object) -> None:
    os.write(2, b"vgg: interrupted\n")
    os._exit(INTERRUPTED)


def _again(lost: "sys.UnraisableHookArgs") -> None:
    """Repeat a notice that came where Python can only print it, in a destructor for example, a moment later."""
    if isinstance(lost.exc_value, KeyboardInterrupt):
        import threading

        threading.Timer(0.01, signal.pthread_kill, [threading.get_ident(), signal.SIGINT]).start()
    else:
        sys.__unraisablehook__(lost)


if __name__ == "__main__":
    sys.exit(run())
