"""Fashion-MNIST: reads and checks its four files, from a folder, the cache or a mirror."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from ..core.errors import VGGError, mismatch
from ..core.files import opened, write_atomically
from .idx import Images, Labels, labelled

Say = Callable[[str], None]

MIRRORS: tuple[str, ...] = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
"""The dataset's public mirrors, tried in this order. HTTP is enough, since the MD5 of every file is checked."""
MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
"""The MD5 of the four files, as published in the README of github.com/zalandoresearch/fashion-mnist."""
_WAYS_OUT = "name a folder that holds it with --data DIR or VGG_DATA, or take --dataset digits"


def read(folder: str | Path | None, say: Say) -> list[tuple[Images, Labels]]:
    """Return (images, labels) for training and for the test; see ``data.load``. Raises ``VGGError`` when that fails."""
    source = folder or os.environ.get("VGG_DATA")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "vgg", "fashion-mnist")
    home = _holding(Path(source).expanduser()) if source else cache.expanduser()

    def read_one(path: Path) -> bytes:
        return _read_checked(path) if source or _exists(path) else _download(path, say)

    return [labelled(home, prefix, read_one) for prefix in ("train-", "t10k-")]


def _holding(folder: Path) -> Path:
    """Return ``folder``, or its subfolder ``fashion-mnist`` if only the latter holds any of the four files."""
    places = (folder, folder / "fashion-mnist")
    return next((p for p in places if any(_exists(p / name) for name in MD5)), folder)


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110  # Path.exists raises when a folder may not be read


def _read_checked(path: Path) -> bytes:
    try:
        with opened(path) as file:
            data = file.read()
    except OSError as error:
        raise mismatch(str(path), error.strerror or error, "a file of Fashion-MNIST", _WAYS_OUT) from error
    return _checked(data, path.name, str(path))


def _checked(data: bytes, name: str, where: str) -> bytes:
    got, wanted = hashlib.md5(data, usedforsecurity=False).hexdigest(), MD5[name]
    if got != wanted:
        raise mismatch(where, f"MD5 {got}", f"MD5 {wanted}", "delete it and fetch it again")
    return data


def _download(path: Path, say: Say) -> bytes:
    """Download the file ``path.name`` from the first mirror that has it complete, store it as ``path``, return it."""
    failures = []
    for url in (mirror + path.name for mirror in MIRRORS):
        try:
            data = _get(url, path.name)
        except VGGError as error:
            failures.append(str(error))
            continue
        _keep(path, data)
        say(f"downloaded {path.name} from {url}")
        return data
    raise mismatch(
        path.name, f"no download ({', '.join(failures)})", "Fashion-MNIST from one of its mirrors", _WAYS_OUT
    )


def _get(url: str, name: str) -> bytes:
    from http.client import HTTPException  # slow to import, and most loads need no network
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=30) as response:  # noqa: S310  # a mirror from the list above, not a URL from a user
            return _checked(response.read(), name, url)
    except (OSError, HTTPException) as error:
        raise VGGError(f"{url}: {error}") from error


def _keep(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise mismatch(str(path.parent), error.strerror, "a folder for the cache", "set XDG_CACHE_HOME") from error
    write_atomically(path, data)
