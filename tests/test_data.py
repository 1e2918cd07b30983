"""Datasets, IDX files, downloads, and the neutral batch order."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import numpy as np
import pytest

from vgg import VGGError
from vgg.training import batches, data, download, fashion_mnist
from vgg.training.idx import read_idx

if TYPE_CHECKING:
    from numpy.typing import NDArray

COUNTS = {"train": 11, "t10k": 5}
HEIGHT, WIDTH = 3, 2


def idx(array: NDArray[np.generic]) -> bytes:
    """An IDX file of uint8, before gzip."""
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def sha256(*arrays: NDArray[np.generic]) -> str:
    """Of the bytes of all arrays, one after the other."""
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def refuse(*_args: object, **_options: object) -> None:
    """Stands in for what must not be called."""
    raise AssertionError("called")


@pytest.fixture(autouse=True)
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, no cache of the user's, no setting of the user's."""
    monkeypatch.delenv("VGG_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fashion_mnist, "MIRRORS", ())


Write = Callable[[str, bytes], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes one file of the tiny Fashion-MNIST in ``files``, and enters its size and its hashes in the tables."""

    def write(name: str, content: bytes) -> None:
        (tmp_path / "files").mkdir(exist_ok=True)
        (tmp_path / "files" / name).write_bytes(content)
        monkeypatch.setitem(fashion_mnist.MD5, name, hashlib.md5(content).hexdigest())
        monkeypatch.setitem(fashion_mnist.SHA256, name, hashlib.sha256(content).hexdigest())
        monkeypatch.setitem(fashion_mnist.SIZES, name, len(content))

    return write


@pytest.fixture
def files(tmp_path: Path, write: Write) -> Path:
    """A folder with a tiny, valid Fashion-MNIST."""
    for part, count in COUNTS.items():
        pixels = np.arange(count * HEIGHT * WIDTH).reshape(count, HEIGHT, WIDTH)
        write(f"{part}-images-idx3-ubyte.gz", gzip.compress(idx(pixels)))
        write(f"{part}-labels-idx1-ubyte.gz", gzip.compress(idx(np.arange(count) % 10)))
    return tmp_path / "files"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where downloads are kept."""
    return tmp_path / "cache" / "vgg" / "fashion-mnist"


@pytest.fixture
def mirror(files: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A mirror that works, the only one."""
    url = files.as_uri() + "/"
    monkeypatch.setattr(fashion_mnist, "MIRRORS", (url,))
    return url


# names


def test_dataset_names() -> None:
    assert data.dataset_names() == ("digits", "fashion-mnist", "synthetic")


def test_unknown_dataset_suggests_the_nearest() -> None:
    with pytest.raises(VGGError, match=r"^unknown dataset 'fashion_mnist': did you mean fashion-mnist\?$"):
        data.load("fashion_mnist")


# what is in the package


@pytest.mark.parametrize(
    ("name", "train", "test", "shape", "classes"),
    [("digits", 1440, 357, (1, 8, 8), 10), ("synthetic", 512, 128, (3, 24, 20), 7)],
)
def test_shapes(name: str, train: int, test: int, shape: tuple[int, ...], classes: int) -> None:
    dataset = data.load(name)
    assert dataset.name == name
    assert dataset.train_images.shape == (train, *shape)
    assert dataset.test_images.shape == (test, *shape)
    assert dataset.train_labels.shape == (train,)
    assert dataset.test_labels.shape == (test,)
    assert (dataset.channels, dataset.classes) == (shape[0], classes)


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_dtypes(name: str) -> None:
    dataset = data.load(name)
    assert {dataset.train_images.dtype, dataset.test_images.dtype} == {np.dtype(np.uint8)}
    assert {dataset.train_labels.dtype, dataset.test_labels.dtype} == {np.dtype(np.int64)}


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("digits", [150, 143, 148, 144, 136, 136, 149, 152, 144, 138], [28, 39, 29, 39, 45, 46, 32, 27, 30, 42]),
        ("synthetic", [74, 63, 63, 82, 84, 74, 72], [15, 14, 16, 22, 23, 21, 17]),
    ],
)
def test_label_histograms(name: str, train: list[int], test: list[int]) -> None:
    dataset = data.load(name)
    assert np.bincount(dataset.train_labels).tolist() == train
    assert np.bincount(dataset.test_labels).tolist() == test


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("digits", "54ba9f177ed7b3ae94a3391835e890fc4635cd2ab1c354c3e6f7b8a4124650d6"),
        ("synthetic", "bdb34dcecc060634b8d36ad06ff95d5ef732ccfedab319e2b7600d989670b9b4"),
    ],
)
def test_golden_arrays(name: str, wanted: str) -> None:
    d = data.load(name)
    assert sha256(d.train_images, d.train_labels, d.test_images, d.test_labels) == wanted


def test_digits_are_scaled_to_the_nearest_of_0_to_255() -> None:
    digits = data.load("digits")
    steps = [0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255]
    assert np.unique(digits.train_images).tolist() == steps


def test_digits_are_split_by_the_neutral_order() -> None:
    folder = Path(data.__file__).with_name("digits")
    labels = read_idx((folder / "labels-idx1-ubyte.gz").read_bytes(), "labels")
    digits = data.load("digits")
    split = np.concatenate([digits.train_labels, digits.test_labels])
    assert (split == labels[batches.order(1797, 0, 0)]).all()


def test_embedded_files_keep_the_original_values() -> None:
    path = Path(data.__file__).with_name("digits") / "images-idx3-ubyte.gz"
    images = read_idx(path.read_bytes(), "images")
    # Row 0 of example 0, as UCI's optdigits.tes begins.
    assert images[0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert images.max() == 16


@pytest.mark.parametrize("name", ["images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"])
def test_embedded_files_carry_no_time(name: str) -> None:
    assert (Path(data.__file__).with_name("digits") / name).read_bytes()[4:8] == b"\0\0\0\0"


def test_synthetic_is_learnable() -> None:
    d = data.load("synthetic")
    means = np.stack([d.train_images[d.train_labels == k].mean(0).ravel() for k in range(d.classes)])
    distances = ((d.test_images.reshape(len(d.test_images), 1, -1) - means) ** 2).sum(-1)
    assert (distances.argmin(1) == d.test_labels).all()


def test_synthetic_images_of_a_class_differ() -> None:
    images = data.load("synthetic").train_images
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_import_is_light() -> None:
    heavy = "{'urllib.request', 'http.client', 'safetensors'}"
    code = (
        "import sys, numpy; before = set(sys.modules); import vgg.training.data;"
        f"print({heavy} & (set(sys.modules) - before))"
    )
    root = Path(data.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout == "set()\n"


# order and batches


@pytest.mark.parametrize("count", [0, 1, 2, 1797])
def test_order_is_a_permutation(count: int) -> None:
    order = batches.order(count, 3, 5)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(count))


@pytest.mark.parametrize(("seed", "epoch"), [(1, 3), (1, 1), (2, 2), (2, 1), (12, 0)])
def test_order_differs_by_seed_and_epoch(seed: int, epoch: int) -> None:
    assert batches.order(97, seed, epoch).tolist() != batches.order(97, 1, 2).tolist()


@pytest.mark.parametrize(
    ("count", "seed", "epoch", "first"),
    [
        (60000, 0, 0, [18512, 8115, 45298, 1899, 30705, 42157]),
        (60000, 0, 1, [42086, 34280, 52661, 53941, 55666, 7765]),
        (1440, 7, 0, [119, 162, 1101, 655, 477, 1201]),
    ],
)
def test_golden_order(count: int, seed: int, epoch: int, first: list[int]) -> None:
    assert batches.order(count, seed, epoch)[:6].tolist() == first


@pytest.mark.parametrize(("count", "size"), [(97, 10), (96, 32), (5, 8), (1, 1)])
def test_batches_are_the_order_cut_in_slices(count: int, size: int) -> None:
    assert np.concatenate(list(batches.batches(count, size, 1, 2))).tolist() == batches.order(count, 1, 2).tolist()


@pytest.mark.parametrize(("count", "lengths"), [(97, [40, 40, 17]), (80, [40, 40]), (3, [3]), (0, [])])
def test_only_the_last_batch_is_shorter(count: int, lengths: list[int]) -> None:
    assert [len(batch) for batch in batches.batches(count, 40, 0, 0)] == lengths


@pytest.mark.parametrize("start", [0, 1, 9, 10, 11])
def test_start_resumes(start: int) -> None:
    whole = [batch.tolist() for batch in batches.batches(97, 10, 4, 6)]
    assert [batch.tolist() for batch in batches.batches(97, 10, 4, 6, start)] == whole[start:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": -1}, "count: got -1, wanted an integer >= 0"),
        ({"batch_size": 0}, "batch_size: got 0, wanted an integer >= 1"),
        ({"seed": -1}, "seed: got -1, wanted an integer >= 0"),
        ({"seed": 0.5}, "seed: got 0.5, wanted an integer >= 0"),
        ({"epoch": -1}, "epoch: got -1, wanted an integer >= 0"),
        ({"start": -1}, "start: got -1, wanted an integer >= 0"),
    ],
)
def test_wrong_numbers_for_batches(change: dict[str, int], message: str) -> None:
    with pytest.raises(VGGError, match=f"^{message}$"):
        batches.batches(**{"count": 9, "batch_size": 2, "seed": 0, "epoch": 0, **change})


# IDX


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 5)])
def test_read_idx(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    assert read_idx(gzip.compress(idx(array)), "here").tolist() == array.tolist()


def test_read_idx_gives_a_writable_array() -> None:
    assert read_idx(gzip.compress(idx(np.ones(3))), "here").flags.writeable


WHOLE = idx(np.arange(15).reshape(3, 5))
NOISE = gzip.compress(np.random.default_rng(0).bytes(500))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(WHOLE, r"got 'Not a gzipped file .*', wanted a whole gzip file; fetch it again", id="not gzip"),
        pytest.param(gzip.compress(WHOLE)[:-9], "got 'Compressed file ended .*', wanted a whole gzip file", id="cut"),
        pytest.param(gzip.compress(WHOLE)[:5], "got 'Compressed file ended .*', wanted a whole", id="cut in header"),
        pytest.param(
            gzip.compress(WHOLE) + b"more", r"got 'Not a gzipped file .*', wanted a whole", id="gzip and more"
        ),
        pytest.param(NOISE[:60] + b"\xff" * 40 + NOISE[100:], r"got '.*', wanted a whole gzip file", id="other bytes"),
        pytest.param(b"\x1f\x8b\x08" + bytes(7) + b"\xff" * 9, "got 'Error -3 .*', wanted a whole", id="no deflate"),
        pytest.param(b"", "got magic number of no bytes, wanted IDX of uint8", id="no bytes"),
        pytest.param(gzip.compress(b""), "got magic number of no bytes, wanted IDX of uint8", id="gzip of nothing"),
        pytest.param(
            gzip.compress(WHOLE[:3]), "got magic number 000008, wanted IDX of uint8", id="half a magic number"
        ),
        pytest.param(gzip.compress(b"PK" + WHOLE[2:]), "got magic number 504b0802, wanted IDX", id="bad magic number"),
        pytest.param(
            gzip.compress(b"\0\0\x0d" + WHOLE[3:]), "got magic number 00000d02, wanted IDX of uint8", id="float"
        ),
        pytest.param(gzip.compress(b"\0\0\x08\0\1"), "got magic number 00000800, wanted IDX of uint8", id="no axis"),
        pytest.param(gzip.compress(b"\0\0\x08\4" + WHOLE[4:]), "got magic number 00000804, wanted IDX", id="four axes"),
        pytest.param(gzip.compress(WHOLE[:9]), "got 9 bytes, wanted 12 of header and ", id="half a header"),
        pytest.param(gzip.compress(WHOLE[:12]), r"got 12 bytes, wanted 12 of header and 15 > 0", id="header only"),
        pytest.param(
            gzip.compress(WHOLE[:-1]), r"got 26 bytes, wanted 12 of header and 15 > 0 for shape \(3, 5\)", id="short"
        ),
        pytest.param(gzip.compress(WHOLE + b"\0"), r"got 28 bytes, wanted 12 of header and 15 > 0", id="trailing byte"),
        pytest.param(gzip.compress(idx(np.ones((0, 5)))), r"got 12 bytes, wanted 12 of header and 0 > 0", id="empty"),
    ],
)
def test_read_idx_names_what_is_wrong(content: bytes, message: str) -> None:
    with pytest.raises(VGGError, match=f"^here: {message}"):
        read_idx(content, "here")


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-labels-idx1", np.arange(10), "got 10 labels, wanted 11, one for each image"),
        ("t10k-labels-idx1", np.arange(6), "got 6 labels, wanted 5, one for each image"),
        ("train-labels-idx1", np.arange(11), "got label 10, wanted 0 to 9"),
        ("train-labels-idx1", np.ones((11, 1)), r"got shape \(11, 1\), wanted 1 axes"),
        ("train-images-idx3", np.ones((11, 6)), r"got shape \(11, 6\), wanted 3 axes"),
    ],
)
def test_images_and_labels_that_do_not_fit(
    files: Path, write: Write, name: str, array: NDArray[np.generic], message: str
) -> None:
    write(f"{name}-ubyte.gz", gzip.compress(idx(array)))
    with pytest.raises(VGGError, match=f"^{files}/{name}-ubyte.gz: {message}$"):
        data.load("fashion-mnist", files)


# Fashion-MNIST from a folder


def test_fashion_mnist_arrays(files: Path) -> None:
    fashion = data.load("fashion-mnist", files)
    assert fashion.train_images.shape == (11, 1, HEIGHT, WIDTH)
    assert fashion.train_images.ravel().tolist() == list(range(66))
    assert fashion.test_images.ravel().tolist() == list(range(30))
    assert fashion.train_labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert fashion.test_labels.tolist() == [0, 1, 2, 3, 4]


def test_fashion_mnist_facts(files: Path) -> None:
    fashion = data.load("fashion-mnist", files)
    assert (fashion.name, fashion.channels, fashion.classes) == ("fashion-mnist", 1, 10)
    assert (fashion.class_names[0], fashion.class_names[9]) == ("T-shirt/top", "Ankle boot")


@pytest.mark.parametrize("sub", ["", "fashion-mnist"])
def test_folder_or_its_subfolder(files: Path, tmp_path: Path, sub: str) -> None:
    shutil.copytree(files, tmp_path / "root" / sub)
    assert len(data.load("fashion-mnist", str(tmp_path / "root")).train_labels) == 11


def test_folder_comes_before_its_subfolder(files: Path) -> None:
    (files / "fashion-mnist").mkdir()
    (files / "fashion-mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"other")
    assert len(data.load("fashion-mnist", files).train_labels) == 11


@pytest.mark.parametrize("sub", ["", "fashion-mnist"])
def test_vgg_data_or_its_subfolder(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sub: str) -> None:
    shutil.copytree(files, tmp_path / "root" / sub)
    monkeypatch.setenv("VGG_DATA", str(tmp_path / "root"))
    assert len(data.load("fashion-mnist").train_labels) == 11


def test_folder_comes_before_vgg_data(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGG_DATA", str(tmp_path / "nowhere"))
    assert len(data.load("fashion-mnist", files).train_labels) == 11


def test_home_is_expanded(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VGG_DATA", f"~/{files.name}")
    assert len(data.load("fashion-mnist").train_labels) == 11


@pytest.mark.parametrize("name", list(fashion_mnist.MD5))
def test_missing_file_of_a_folder_is_named(files: Path, name: str) -> None:
    (files / name).unlink()
    with pytest.raises(
        VGGError, match=f"^{files / name}: got No such file or directory, .*; name a folder that holds it"
    ):
        data.load("fashion-mnist", files)


@pytest.mark.usefixtures("mirror")
@pytest.mark.parametrize("by", ["folder", "VGG_DATA"])
def test_given_folder_is_never_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setenv("VGG_DATA", str(tmp_path) if by == "VGG_DATA" else "")
    with pytest.raises(VGGError, match="got No such file or directory"):
        data.load("fashion-mnist", tmp_path if by == "folder" else None)


def test_folder_that_cannot_be_looked_into() -> None:
    with pytest.raises(VGGError, match="got File name too long, wanted a file of Fashion-MNIST"):
        data.load("fashion-mnist", "x" * 300)


@pytest.mark.parametrize("name", list(fashion_mnist.MD5))
def test_every_file_of_a_folder_is_checked(files: Path, name: str) -> None:
    wanted = fashion_mnist.MD5[name]
    (files / name).write_bytes(b"other")
    got = hashlib.md5(b"other").hexdigest()
    with pytest.raises(VGGError, match=f"^{files / name}: got MD5 {got}, wanted MD5 {wanted}; .*fetch it again$"):
        data.load("fashion-mnist", files)


# Fashion-MNIST from the cache and the mirrors


@pytest.mark.usefixtures("mirror")
def test_download_fills_the_cache(files: Path, cache: Path) -> None:
    data.load("fashion-mnist")
    wanted = {name: (files / name).read_bytes() for name in fashion_mnist.MD5}
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == wanted


@pytest.mark.usefixtures("mirror")
def test_download_gives_the_same_arrays(files: Path) -> None:
    here, there = data.load("fashion-mnist", files), data.load("fashion-mnist")
    assert sha256(here.train_images, here.test_labels) == sha256(there.train_images, there.test_labels)


def test_every_download_is_told(mirror: str) -> None:
    said: list[str] = []
    data.load("fashion-mnist", say=said.append)
    assert said == [f"downloaded {name} from {mirror}{name}" for name in fashion_mnist.MD5]


@pytest.mark.usefixtures("mirror")
def test_downloads_are_told_on_stderr_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    data.load("fashion-mnist")
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 4)


@pytest.mark.usefixtures("mirror")
def test_cache_is_not_downloaded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    data.load("fashion-mnist")
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    assert len(data.load("fashion-mnist", say=refuse).train_labels) == 11


def test_only_what_the_cache_lacks_is_downloaded(mirror: str, cache: Path) -> None:
    data.load("fashion-mnist")
    name = "t10k-images-idx3-ubyte.gz"
    (cache / name).unlink()
    said: list[str] = []
    data.load("fashion-mnist", say=said.append)
    assert said == [f"downloaded {name} from {mirror}{name}"]


@pytest.mark.usefixtures("mirror")
def test_cache_is_checked_on_each_load(cache: Path) -> None:
    data.load("fashion-mnist")
    name = "t10k-labels-idx1-ubyte.gz"
    (cache / name).write_bytes(b"other")
    with pytest.raises(VGGError, match=f"^{cache / name}: got MD5 .*; delete it and fetch it again$"):
        data.load("fashion-mnist")


@pytest.mark.usefixtures("mirror")
def test_cache_is_in_the_home_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    data.load("fashion-mnist")
    assert len(list((tmp_path / ".cache" / "vgg" / "fashion-mnist").iterdir())) == 4


@pytest.mark.parametrize("content", [None, b"", b"<html>moved</html>"], ids=["none", "empty", "other"])
def test_next_mirror_serves_where_one_is_broken(
    tmp_path: Path, mirror: str, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    if content is not None:
        for name in fashion_mnist.MD5:
            (broken / name).write_bytes(content)
    monkeypatch.setattr(fashion_mnist, "MIRRORS", (broken.as_uri() + "/", mirror))
    said: list[str] = []
    data.load("fashion-mnist", say=said.append)
    assert [line.split(" from ")[1].startswith(mirror) for line in said] == [True] * 4


FAULTS = {
    "no network": urllib.error.URLError("Name or service not known"),
    "timeout": TimeoutError("timed out"),
    "cut off": http.client.IncompleteRead(b"half"),
    "other protocol": http.client.BadStatusLine("SSH-2.0"),
}


@pytest.mark.parametrize("fault", list(FAULTS.values()), ids=list(FAULTS))
def test_failed_download_leaves_nothing(
    mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise fault

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    with pytest.raises(VGGError, match=f"{mirror}train-images-idx3-ubyte.gz: "):
        data.load("fashion-mnist")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("digest", ["MD5", "SHA-256"])
def test_download_with_a_wrong_hash_leaves_nothing(
    files: Path, mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digest: str
) -> None:
    path = files / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[::-1])
    if digest == "SHA-256":
        monkeypatch.setitem(fashion_mnist.MD5, path.name, hashlib.md5(path.read_bytes()).hexdigest())
    with pytest.raises(VGGError, match=f"{mirror}train-images-idx3-ubyte.gz: got {digest} "):
        data.load("fashion-mnist")
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("mirror")
def test_broken_write_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(VGGError, match="No space left on device"):
        data.load("fashion-mnist")
    assert list(cache.iterdir()) == []


@pytest.mark.usefixtures("mirror")
def test_cache_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file, not a folder")
    with pytest.raises(VGGError, match="got Not a directory, wanted a folder for the cache; set XDG_CACHE_HOME"):
        data.load("fashion-mnist")


def test_without_network_the_message_names_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirrors = tuple((tmp_path / name).as_uri() + "/" for name in ("first", "second"))
    monkeypatch.setattr(fashion_mnist, "MIRRORS", mirrors)
    with pytest.raises(VGGError) as caught:
        data.load("fashion-mnist")
    assert [f"{mirror}train-images-idx3-ubyte.gz" in str(caught.value) for mirror in mirrors] == [True, True]


def test_without_network_the_message_names_the_ways_out() -> None:
    with pytest.raises(VGGError, match=r"with --data DIR or VGG_DATA, or take --dataset digits$"):
        data.load("fashion-mnist")


def test_without_network_the_message_is_one_line() -> None:
    with pytest.raises(VGGError, match=r"\A[^\n]*\Z"):
        data.load("fashion-mnist")


# Mirrors that misbehave

WHOLE = bytes(range(256)) * 40
OK = b"HTTP/1.0 200 OK\r\n\r\n"
Answer = Callable[[BaseHTTPRequestHandler], object]


def plain(handler: BaseHTTPRequestHandler, body: bytes = WHOLE, length: int | None = None) -> None:
    """Send the whole file, whatever part is asked for."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


def ranged(handler: BaseHTTPRequestHandler) -> None:
    """Send the part that is asked for."""
    start = int((handler.headers["Range"] or "bytes=0-")[6:-1])
    handler.send_response(206 if start else 200)
    handler.send_header("Content-Length", str(len(WHOLE) - start))
    handler.end_headers()
    handler.wfile.write(WHOLE[start:])


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(WHOLE)


def drip(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(WHOLE)))
    handler.end_headers()
    for byte in WHOLE:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.01)


def slow_head(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X: y\r\n")
        time.sleep(0.05)


def redirected(handler: BaseHTTPRequestHandler, to: str) -> None:
    handler.send_response(302)
    handler.send_header("Location", to)
    handler.end_headers()


MISBEHAVIOURS: dict[str, tuple[Answer, str]] = {
    "half": (lambda handler: plain(handler, WHOLE[:5000], len(WHOLE)), "broke off after 5,000 bytes"),
    "half, no length": (
        lambda handler: handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + WHOLE[:5000]),
        "got 5,000 bytes",
    ),
    "a page": (lambda handler: plain(handler, b"<html>moved</html>"), "got 18 bytes, wanted 10,240"),
    "nothing": (lambda handler: plain(handler, b""), "got 0 bytes"),
    "other bytes": (lambda handler: plain(handler, WHOLE[::-1]), "got other bytes"),
    "more bytes": (lambda handler: plain(handler, WHOLE + b"x"), "more than 10,240 bytes"),
    "more and more": (endless, "more than 10,240 bytes"),
    "endless drip": (drip, "got no end, wanted 10,240 bytes within"),
    "endless head": (slow_head, "within"),
    "not there": (lambda handler: handler.send_error(404), "404"),
    "broken": (lambda handler: handler.send_error(503), "503"),
    "redirect loop": (lambda handler: redirected(handler, handler.path), "redirect"),
    "redirect to a file": (lambda handler: redirected(handler, "file:///etc/passwd"), "not allowed"),
    "silence": (lambda handler: handler.connection.close(), ""),
    "another protocol": (lambda handler: handler.wfile.write(b"SSH-2.0-x\r\n\r\n"), "SSH"),
}
SERVICES: dict[str, Answer] = {
    "whole": plain,
    "ranges": ranged,
    "redirect": lambda handler: redirected(handler, "/ranges"),
}


class Handler(BaseHTTPRequestHandler):
    """Answers as the path's last part says."""

    def do_GET(self) -> None:
        name = unquote(self.path.strip("/"))
        with contextlib.suppress(OSError, ValueError):
            (SERVICES.get(name) or MISBEHAVIOURS[name][0])(self)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()


def checked(content: bytes, url: str) -> None:
    if content != WHOLE:
        raise VGGError(f"{url}: got other bytes")


def fetched(server: str, *names: str) -> tuple[bytes, list[str]]:
    """(the bytes, the messages) of a download from mirrors with these names."""
    said: list[str] = []
    return download.fetch([server + quote(name) for name in names], len(WHOLE), checked, said.append), said


@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_a_mirror_that_misbehaves_is_named_with_what_it_did(
    server: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(download, "LIMIT", 0.4 if name.startswith("endless") else 100)
    with pytest.raises(VGGError, match=f"^{server}{quote(name)}: .*{MISBEHAVIOURS[name][1]}"):
        fetched(server, name)


@pytest.mark.parametrize("name", MISBEHAVIOURS)
@pytest.mark.parametrize("next_one", SERVICES)
def test_after_a_mirror_that_misbehaves_the_next_one_serves(
    server: str, monkeypatch: pytest.MonkeyPatch, name: str, next_one: str
) -> None:
    monkeypatch.setattr(download, "LIMIT", 4 if name.startswith("endless") else 100)
    assert fetched(server, name, next_one)[0] == WHOLE


def test_what_a_mirror_broke_off_is_not_fetched_again(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def noted(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.headers["Range"])
        ranged(handler)

    monkeypatch.setitem(SERVICES, "ranges", noted)
    assert fetched(server, "half", "ranges")[0] == WHOLE
    assert asked == ["bytes=5000-"]


def test_a_wrong_half_is_thrown_away_once_the_whole_is_wrong(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: Answer = lambda handler: plain(handler, WHOLE[5000:0:-1], len(WHOLE))  # noqa: E731
    monkeypatch.setitem(SERVICES, "wrong half", wrong)
    assert fetched(server, "wrong half", "ranges")[0] == WHOLE


def test_a_download_that_takes_long_says_how_far_it_is(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "REPORT", 0.0)
    assert fetched(server, "whole")[1][-1] == f"{server}whole: 10,240 of 10,240 bytes"


def test_the_time_of_a_download_is_limited_on_all_mirrors_together(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "LIMIT", 0.2)
    with pytest.raises(VGGError, match=r"got no end, wanted 10,240 bytes within 0\.2 s on all mirrors"):
        fetched(server, "endless drip", "endless head")
