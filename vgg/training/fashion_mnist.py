"""Fashion-MNIST: reads and checks its four files, from a folder, the cache or a mirror."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ..core.errors import VGGError, mismatch
from ..core.files import cache, opened, write_atomically
from . import download
from .download import Say
from .idx import Images, Labels, labelled

MIRRORS: tuple[str, ...] = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
"""The dataset's public mirrors, tried in this order. HTTP is enough, since the SHA-256 of every file is checked."""
MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
"""The MD5 of the four files, as published in the README of github.com/zalandoresearch/fashion-mnist."""
SHA256 = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
"""The SHA-256 of the files with that MD5: MD5 alone does not tell a file from one that was made to look like it."""
SIZES = {
    "train-images-idx3-ubyte.gz": 26421880,
    "train-labels-idx1-ubyte.gz": 29515,
    "t10k-images-idx3-ubyte.gz": 4422102,
    "t10k-labels-idx1-ubyte.gz": 5148,
}
"""Their sizes in bytes."""
_WAYS_OUT = "name a folder that holds it with --data DIR or VGG_DATA, or take --dataset digits"


def read(folder: str | Path | None, say: Say) -> list[tuple[Images, Labels]]:
    """Return (images, labels) for training and for the test; see ``data.load``. Raises ``VGGError`` when that fails."""
    source = folder or os.environ.get("VGG_DATA")
    home = _holding(Path(source).expanduser()) if source else cache() / "fashion-mnist"

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
            data = file.read(SIZES[path.name] + 1)
    except OSError as error:
        raise mismatch(str(path), error.strerror or error, "a file of Fashion-MNIST", _WAYS_OUT) from error
    return _checked(data, path.name, str(path))


def _checked(data: bytes, name: str, where: str) -> bytes:
    for digest, wanted in (("MD5", MD5[name]), ("SHA-256", SHA256[name])):
        got = hashlib.new(digest.replace("-", ""), data, usedforsecurity=False).hexdigest()
        if got != wanted:
            raise mismatch(where, f"{digest} {got}", f"{digest} {wanted}", "delete it and fetch it again")
    return data


def _download(path: Path, say: Say) -> bytes:
    """Download the file ``path.name`` from a mirror that has it complete, store it as ``path``, return it."""
    name, sources = path.name, []

    def check(data: bytes, url: str) -> None:
        _checked(data, name, url)
        sources.append(url)

    try:
        data = download.fetch([mirror + name for mirror in MIRRORS], SIZES[name], check, say)
    except VGGError as error:
        raise mismatch(name, f"no download ({error})", "Fashion-MNIST from one of its mirrors", _WAYS_OUT) from error
    _keep(path, data)
    say(f"downloaded {name} from {sources[-1]}")
    return data


def _keep(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise mismatch(str(path.parent), error.strerror, "a folder for the cache", "set XDG_CACHE_HOME") from error
    write_atomically(path, data)
