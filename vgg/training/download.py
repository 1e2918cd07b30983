"""Downloads: no larger and no longer than they may be, and resumed where one mirror breaks off."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from ..core.errors import VGGError, mismatch

Say = Callable[[str], None]
Reply = tuple[bytes, int] | Exception | None
CHUNK = 1 << 16
"""The largest number of bytes that are read at once."""
STALL = 30.0
"""Seconds without a byte after which a mirror is given up."""
LIMIT = 900.0
"""Seconds that the download of one file may take on all mirrors together."""
REPORT = 5.0
"""Seconds between two messages about progress."""


def fetch(urls: Sequence[str], size: int, check: Callable[[bytes, str], object], say: Say) -> bytes:
    """Return the file of ``size`` bytes that one of ``urls`` has; each is asked twice at most.

    What came before a mirror broke off is kept, and the next one is asked for the rest. Once ``check``, which is called
    with the bytes and the URL, has refused a whole, nothing is kept any more. ``say`` is called with messages about
    progress. Raises ``VGGError``, which names every failure, when no URL serves or the time is over.
    """
    failures, data, end, whole = [], bytearray(), time.monotonic() + LIMIT, False
    attempts = [*urls, *urls]
    for number, url in enumerate(attempts):
        if whole:
            data.clear()
        share = (end - time.monotonic()) / (len(attempts) - number)
        try:
            _extend(data, url, size, time.monotonic() + share, say)
            check(bytes(data), url)
        except VGGError as error:
            failures.append(str(error))
            whole = whole or len(data) >= size
        else:
            return bytes(data)
    raise VGGError(", ".join(dict.fromkeys(failures)))


def _extend(data: bytearray, url: str, size: int, end: float, say: Say) -> None:
    """Append to ``data`` what it lacks of the ``size`` bytes at ``url``, until the time ``end``."""
    said = time.monotonic()
    for chunk, start in _chunks(url, len(data), size, end):
        del data[start:]
        data += chunk
        if len(data) > size:
            raise mismatch(url, f"more than {size:,} bytes", f"{size:,}")
        if time.monotonic() > said + REPORT:
            said = time.monotonic()
            say(f"{url}: {len(data):,} of {size:,} bytes")
    if len(data) < size:
        got = len(data)
        data.clear()  # it did not break off: this is another file, such as a page that says sorry
        raise mismatch(url, f"{got:,} bytes", f"{size:,}")


def _chunks(url: str, start: int, size: int, end: float) -> Iterator[tuple[bytes, int]]:
    """Yield (bytes, the place where they begin) of the file at ``url`` from its byte ``start`` on, or from 0.

    A thread of its own reads, since nothing else ends a name server or a head that takes for ever.
    """
    replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()
    stop = threading.Event()
    threading.Thread(target=_read, args=(url, start, size, replies, stop), daemon=True).start()
    try:
        while True:
            reply = replies.get(timeout=max(end - time.monotonic(), 0))
            if isinstance(reply, Exception):
                raise VGGError(f"{url}: {reply}") from reply
            if reply is None:
                return
            yield reply
    except queue.Empty:
        raise mismatch(url, "no end", f"{size:,} bytes within {LIMIT:g} s on all mirrors") from None
    finally:
        stop.set()


def _read(url: str, start: int, size: int, replies: queue.SimpleQueue[Reply], stop: threading.Event) -> None:
    """Put (bytes, place) into ``replies`` until the file ends; then None, or the error that ended it."""
    from urllib.request import Request, urlopen  # slow to import, and most loads need no network

    try:
        request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310
        with urlopen(request, timeout=STALL) as response:  # noqa: S310  # a mirror of ours, not a URL from a user
            place = start if response.status == 206 else 0
            while not stop.is_set() and place <= size and (chunk := response.read1(CHUNK)):
                replies.put((chunk, place))
                place += len(chunk)
            if place <= size and getattr(response, "length", None):
                raise ConnectionError(f"broke off after {place:,} bytes")  # noqa: TRY301
        replies.put(None)
    except Exception as error:  # noqa: BLE001  # the caller's thread raises it
        replies.put(error)
