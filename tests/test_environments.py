"""Environments of backends: their lock files, what reaches uv, how they are built, damaged, rebuilt and removed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

import vgg
from vgg import BackendError, VGGError
from vgg.cli import main
from vgg.process import building, environments, registry, sources
from vgg.process.client import Worker
from vgg.process.registry import Entry

ROOT = Path(__file__).parent.parent
LOCKS = sorted([*(ROOT / "vgg" / "process" / "envs").glob("*.txt"), *(ROOT / "plugins").glob("*/*.txt")])

# Lock files


def requirements(lock: Path) -> list[str]:
    """The entries of a lock file without line breaks, those of an included one first."""
    text = lock.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line]
    included = [line.removeprefix("-r ") for line in lines if line.startswith("-r ")]
    return [entry for name in included for entry in requirements(lock.parent / name)] + [
        line for line in lines if not line.startswith("-r ")
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"-r lock.txt\n", "lock.txt: got a lock file that includes itself"),
        (b"-r other.txt\n", "lock.txt: got a lock file that includes itself"),
        (b"-r nowhere.txt\n", "nowhere.txt: cannot be read as a lock file"),
        (b"mine==1\xff", "lock.txt: cannot be read as a lock file (it is not UTF-8"),
        (b"#" * 2_000_000, "lock.txt: cannot be read as a lock file (it has more than"),
    ],
    ids=["itself", "in turn", "missing", "bytes", "long"],
)
def test_a_lock_file_that_is_none_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "lock.txt").write_bytes(content)
    (tmp_path / "other.txt").write_bytes(b"-r lock.txt\n")
    with pytest.raises(VGGError) as error:
        environments.home(Entry("mine", "mine", imports=("vgg_nowhere",), lock=tmp_path / "lock.txt"))
    assert message in str(error.value)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_file_pins_every_package_with_its_hashes_and_names_no_host(lock: Path) -> None:
    pattern = re.compile(r"[a-z0-9._-]+==[0-9][^*\s]*( ;.*?)?( +--hash=sha256:[0-9a-f]{64})+")
    assert [line for line in requirements(lock) if not pattern.fullmatch(line)] == []
    assert "://" not in lock.read_text()


@pytest.mark.parametrize("name", registry.own_names())
def test_every_own_backend_has_its_framework_and_numpy_in_its_lock(name: str) -> None:
    entry = registry.find(name)
    assert entry.lock
    packages = {line.partition("==")[0] for line in requirements(entry.lock)}
    assert {*entry.imports, "numpy", "safetensors"} <= packages


def test_torchs_gpu_build_serves_users_whose_sources_lack_the_cpu_build() -> None:
    names = {name: [lock.name for lock in registry.find(name).locks()] for name in registry.own_names()}
    assert names == {
        "torch": ["torch.txt", "torch-gpu.txt"],
        "tensorflow": ["tensorflow.txt"],
        "jax": ["jax.txt"],
        "mxnet": ["mxnet.txt"],
    }


# What reaches uv

HEARD = {
    "UV_DEFAULT_INDEX": "https://a.example",
    "UV_INDEX": "https://a.example https://b.example",
    "UV_INDEX_URL": "https://a.example",
    "UV_EXTRA_INDEX_URL": "https://a.example",
    "UV_FIND_LINKS": "https://a.example,https://b.example",
    "UV_NO_INDEX": "1",
    "UV_INDEX_HOME_USERNAME": "me",
    "UV_INDEX_HOME_PASSWORD": "secret",
    "UV_KEYRING_PROVIDER": "subprocess",
    "UV_INSECURE_HOST": "a.example",
    "UV_NATIVE_TLS": "1",
    "UV_SYSTEM_CERTS": "1",
    "UV_HTTP_TIMEOUT": "5",
    "UV_HTTP_CONNECT_TIMEOUT": "5",
    "UV_REQUEST_TIMEOUT": "5",
    "UV_HTTP_RETRIES": "1",
    "UV_CONCURRENT_DOWNLOADS": "1",
    "UV_PYTHON_INSTALL_DIR": "/pythons",
    "UV_PYTHON_INSTALL_MIRROR": "https://a.example",
    "HTTPS_PROXY": "http://a.example",
    "SSL_CERT_FILE": "/cert.pem",
    "NETRC": "/netrc",
}
UNHEARD = [
    "UV_NO_CACHE",
    "UV_OFFLINE",
    "UV_CACHE_DIR",
    "UV_EXCLUDE_NEWER",
    "UV_PYTHON",
    "UV_PYTHON_PREFERENCE",
    "UV_PYTHON_DOWNLOADS",
    "UV_SYSTEM_PYTHON",
    "UV_MANAGED_PYTHON",
    "UV_PROJECT",
    "UV_PROJECT_ENVIRONMENT",
    "UV_WORKING_DIR",
    "UV_CONFIG_FILE",
    "UV_NO_CONFIG",
    "UV_CONSTRAINT",
    "UV_OVERRIDE",
    "UV_EXCLUDE",
    "UV_BUILD_CONSTRAINT",
    "UV_REQUIRE_HASHES",
    "UV_NO_VERIFY_HASHES",
    "UV_LINK_MODE",
    "UV_COMPILE_BYTECODE",
    "UV_NO_BINARY",
    "UV_NO_BUILD",
    "UV_INDEX_STRATEGY",
    "UV_RESOLUTION",
    "UV_PRERELEASE",
    "UV_FORK_STRATEGY",
    "UV_TORCH_BACKEND",
    "UV_PREVIEW",
    "UV_FROZEN",
    "UV_LOCKED",
    "UV_ISOLATED",
    "UV_ENV_FILE",
    "UV_VENV_SEED",
    "UV_VENV_CLEAR",
    "UV_NO_SYNC",
    "UV_NO_PROGRESS",
    "UV_BREAK_SYSTEM_PACKAGES",
    "UV_PYTHON_SEARCH_PATH",
    "UV_SKIP_WHEEL_FILENAME_CHECK",
    "UV_INSECURE_NO_ZIP_VALIDATION",
    "UV_SOMETHING_NEW",
]


PYTHONS = ["VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"]


@pytest.fixture
def pipless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither pip nor uv has a setting."""
    monkeypatch.setattr(sources, "_listing", lambda: "")
    for name in os.environ:
        if name.startswith(("UV_", "PIP_")):
            monkeypatch.delenv(name)


@pytest.mark.usefixtures("pipless")
def test_uv_hears_where_packages_come_from_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in HEARD.items():
        monkeypatch.setenv(name, value)
    for name in UNHEARD:
        monkeypatch.setenv(name, "1")
    for name in PYTHONS:
        monkeypatch.setenv(name, "/elsewhere")
    environ = sources.environ()
    assert {name: environ.get(name) for name in HEARD} == HEARD
    assert not environ.keys() & {*UNHEARD, *PYTHONS}


PIPS = {
    "index-url": ("https://a.example", "UV_DEFAULT_INDEX", "https://a.example"),
    "extra-index-url": ("https://b.example https://c.example", "UV_INDEX", "https://b.example https://c.example"),
    "find-links": ("/wheels https://d.example", "UV_FIND_LINKS", "/wheels,https://d.example"),
    "no-index": ("true", "UV_NO_INDEX", "true"),
    "trusted-host": ("a.example b.example", "UV_INSECURE_HOST", "a.example b.example"),
    "cert": ("/etc/cert.pem", "SSL_CERT_FILE", "/etc/cert.pem"),
    "proxy": ("http://a.example", "ALL_PROXY", "http://a.example"),
}


@pytest.fixture
def unset(pipless: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for _, name, _ in PIPS.values():
        monkeypatch.delenv(name, raising=False)


def told() -> dict[str, str]:
    """Of uv's variables, those that one of pip's settings can set."""
    environ = sources.environ()
    return {theirs: environ[theirs] for _, theirs, _ in PIPS.values() if theirs in environ}


@pytest.mark.usefixtures("unset")
@pytest.mark.parametrize("setting", PIPS)
def test_pips_variables_serve_uv_where_it_has_none(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value, name, wanted = PIPS[setting]
    monkeypatch.setenv(f"PIP_{setting.upper().replace('-', '_')}", value)
    assert told() == {name: wanted}
    monkeypatch.setenv(name, "own")
    assert told() == {name: "own"}


def test_pips_files_serve_uv_too_and_pips_variables_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for theirs, (_, name, _) in PIPS.items():
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"PIP_{theirs.upper().replace('-', '_')}", raising=False)
    file = tmp_path / "pip.conf"
    lines = [f"{name} = {value}" for name, (value, _, _) in PIPS.items()]
    file.write_text("\n".join(["[global]", "timeout = 5", *lines, "[install]", "index-url = https://i.example"]))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    wanted = {name: value for _, name, value in PIPS.values()} | {"UV_DEFAULT_INDEX": "https://i.example"}
    assert told() == wanted
    monkeypatch.setenv("PIP_INDEX_URL", "https://e.example")
    assert told() == wanted | {"UV_DEFAULT_INDEX": "https://e.example"}


@pytest.mark.usefixtures("unset")
@pytest.mark.parametrize("name", ["UV_FIND_LINKS", "PIP_FIND_LINKS", "UV_INDEX", "PIP_EXTRA_INDEX_URL"])
def test_a_relative_folder_is_meant_from_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "wheels").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, "wheels https://a.example".replace(" ", "," if name == "UV_FIND_LINKS" else " "))
    assert str(tmp_path / "wheels") in re.split("[ ,]", "".join(told().values()))


SYSTEM = 'index-url = "https://s.example"\nno-index = true\n'
USER = """
index-url = "https://u.example"
required-version = "==0"
exclude-newer = "2001-01-01"
no-cache = true
[pip]
find-links = ["wheels"]
require-hashes = false
[[index]]
name = "mine"
url = "https://m.example"
"""


def test_of_the_users_uv_toml_only_sources_are_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, text in {"system": SYSTEM, "user": USER}.items():
        (tmp_path / folder / "uv" / "wheels").mkdir(parents=True)
        (tmp_path / folder / "uv" / "uv.toml").write_text(text)
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "system"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.delenv("UV_CONFIG_FILE", raising=False)
    assert tomllib.loads(sources.configuration()) == {
        "index-url": "https://u.example",
        "no-index": True,
        "find-links": [str(tmp_path / "user" / "uv" / "wheels")],
        "index": [{"name": "mine", "url": "https://m.example"}],
    }
    (tmp_path / "user" / "uv" / "uv.toml").write_text("index-url")
    with pytest.raises(VGGError, match=r"uv\.toml: got .*, wanted settings of uv in TOML"):
        sources.configuration()


def test_a_process_ends_without_a_word_about_the_environments_it_held(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    code = "import sys, pathlib; from vgg.process.building import Environment as E"
    code += "; E('mine', None, pathlib.Path(sys.argv[1])).hold() or sys.exit('not built')"
    command = [sys.executable, "-W", "always", "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr == ""


# How they are built

SAFE = "def load(data): ...\n"


@pytest.fixture
def wheels(tmp_path: Path, unset: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, the only source of packages; environments go to a cache of their own."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for package, files in {
        "numpy": {"numpy/__init__.py": "pass\n"},
        "safetensors": {"safetensors/__init__.py": "pass\n", "safetensors/numpy.py": SAFE},
        "tiny": {"tiny/__init__.py": "VALUE = 7\n", "tiny/lib.so": "x" * 99},
    }.items():
        wheel(folder, package, files)
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def wheel(folder: Path, package: str, files: dict[str, str], version: str = "1.0") -> Path:
    path, info = folder / f"{package}-{version}-py3-none-any.whl", f"{package}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    kind = "Wheel-Version: 1.0\nGenerator: vgg\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {**files, f"{info}/METADATA": metadata, f"{info}/WHEEL": kind}
    record = "".join(f"{name},,{len(text)}\n" for name, text in files.items()) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), text)
    return path


@pytest.fixture
def tiny(wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A backend of another package with a lock file: vgg's oracle, as if it needed the package ``tiny``."""
    lock = tmp_path / "vgg_tiny.txt"
    lock.write_text("".join(pinned(path) for path in sorted(wheels.iterdir())))
    (tmp_path / "vgg_tiny.py").write_text("import tiny\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_announced", lambda: EntryPoints([EntryPoint("tiny", "vgg_tiny", registry.GROUP)]))
    return registry.find("tiny")


def pinned(path: Path) -> str:
    name, version, *_ = path.name.split("-")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def value(entry: Entry) -> str:
    """What a program prints in the environment of ``entry``."""
    command, environ = environments.launch(entry, "uv", "")
    done = subprocess.run(
        [*command, "-c", "import tiny; print(tiny.VALUE)"], env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_an_environment_is_built_once_from_its_lock_file(tiny: Entry, capsys: pytest.CaptureFixture[str]) -> None:
    assert value(tiny) == value(tiny) == "7"
    assert capsys.readouterr().err == f"tiny: building its environment from {tiny.lock}\n"
    (environment,) = environments.own(tiny)
    assert environments.home(tiny)["where"] == "own environment, built"
    assert not [path for path in building.root().iterdir() if path.name.startswith(".")]
    assert environment.size() < 1 << 20


def test_the_size_of_an_environment_is_its_own_while_others_change_it(
    tiny: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (environment,) = environments.own(tiny)
    environment.folder.mkdir(parents=True)
    (environment.folder / "large").symlink_to(sys.prefix)
    before = environment.size()
    walk = os.walk
    gone: list[tuple[str, list[str], list[str]]] = [(str(environment.folder), [], ["vanished"])]
    monkeypatch.setattr(os, "walk", lambda *a, **k: [*walk(*a, **k), *gone])
    assert environment.size() == before < 1 << 20


def test_no_setting_of_the_folder_or_its_parents_or_of_uv_is_heard(
    tiny: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = 'required-version = "==0.0.1"\nexclude-newer = "2001-01-01T00:00:00Z"\npython-preference = "only-managed"\n'
    evil += 'python-downloads = "never"\nfind-links = ["/nowhere"]\noffline = true\n'
    folder = tmp_path / "cache" / "project"  # the cache lies below settings too
    folder.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "evil"\nrequires-python = ">=3.13"\n[tool.uv]\n{evil}')
    for place in (tmp_path / "cache", folder):
        (place / "uv.toml").write_text(evil)
        (place / ".python-version").write_text("3.13\n")
        (place / ".env").write_text("UV_OFFLINE=1\n")
    for name in UNHEARD:
        monkeypatch.setenv(name, "1")
    monkeypatch.delenv("UV_CONFIG_FILE")
    monkeypatch.chdir(folder)
    assert value(tiny) == "7"


def test_nothing_of_this_pythons_leaks_into_an_environment(tiny: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    building.build(environments.own(tiny)[0])
    for name in PYTHONS:
        monkeypatch.setenv(name, "/elsewhere")
    _, environ = environments.launch(tiny, "uv", "/home")
    assert {name: environ[name] for name in PYTHONS if name in environ} == {"PYTHONPATH": "/home"}


def test_an_environment_has_the_variables_that_make_it_faster_and_the_users_win(
    tiny: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = replace(tiny, variables={"VGG_FAST": "ours"})
    assert environments.launch(fast, "uv", "/home")[1]["VGG_FAST"] == "ours"
    monkeypatch.setenv("VGG_FAST", "theirs")
    assert environments.launch(fast, "uv", "/home")[1]["VGG_FAST"] == "theirs"


def other_bytes(wheels: Path, lock: Path) -> None:
    wheel(wheels, "tiny", {"tiny/__init__.py": "VALUE = 8\n"})


def no_hash(wheels: Path, lock: Path) -> None:
    lock.write_text(re.sub(r"(tiny==1.0) .*", r"\1", lock.read_text()))


def another_build(wheels: Path, lock: Path) -> None:
    (wheels / "tiny-1.0-py3-none-any.whl").unlink()
    wheel(wheels, "tiny", {"tiny/__init__.py": "VALUE = 8\n"}, "1.0+cpu")


def not_there(wheels: Path, lock: Path) -> None:
    (wheels / "tiny-1.0-py3-none-any.whl").unlink()


def torn(wheels: Path, lock: Path) -> None:
    path = wheels / "tiny-1.0-py3-none-any.whl"
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("fault", [other_bytes, no_hash, another_build, not_there, torn])
def test_what_the_lock_file_does_not_vouch_for_is_not_installed(
    tiny: Entry, wheels: Path, fault: Callable[[Path, Path], None]
) -> None:
    assert tiny.lock
    fault(wheels, tiny.lock)
    reason = r"^tiny: its environment could not be built; to see why: vgg env --rebuild tiny\n  \| "
    with pytest.raises(BackendError, match=reason):
        Worker(tiny, env="uv")
    assert [path.name for path in building.root().iterdir() if path.suffix != ".lock"] == []


def test_a_folder_of_lock_files_of_ones_own_takes_the_place_of_vggs(
    tiny: Entry, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    another_build(wheels, tmp_path)
    folder = tmp_path / "locks"
    folder.mkdir()
    (folder / "vgg_tiny.txt").write_text("".join(pinned(path) for path in sorted(wheels.iterdir())))
    monkeypatch.setenv("VGG_LOCKS", str(folder))
    assert value(tiny) == "8"
    monkeypatch.setenv("VGG_LOCKS", str(folder / "none"))
    with pytest.raises(VGGError, match=r"VGG_LOCKS: got .*none', wanted a folder with lock files"):
        environments.own(tiny)


def test_the_gpu_build_is_taken_if_the_sources_have_no_other(tiny: Entry, wheels: Path) -> None:
    assert tiny.lock
    other = wheel(wheels, "tiny", {"tiny/__init__.py": "VALUE = 9\n"}, "1.0+gpu")
    not_there(wheels, tiny.lock)
    tiny.lock.with_stem("vgg_tiny-gpu").write_text(pinned(other))
    with pytest.raises(BackendError, match="could not be built"):
        environments.launch(tiny, "uv", "")
    entry = replace(tiny, elsewhere=True)
    assert value(entry) == "9"
    assert environments.home(entry)["where"] == "own environment, built"


def test_two_processes_that_build_at_once_do_not_collide(tiny: Entry, capfd: pytest.CaptureFixture[str]) -> None:
    assert tiny.lock
    script = (
        "import sys; from pathlib import Path; from vgg.process import environments, registry;"
        "entry = registry.Entry('tiny', 'vgg_tiny', (), Path(sys.argv[1]));"
        "print(environments.launch(entry, 'uv', '')[0][0])"
    )
    command = [sys.executable, "-c", script, str(tiny.lock)]
    environ = {**os.environ, "PYTHONPATH": str(Path(vgg.__file__).parents[1])}
    both = [subprocess.Popen(command, env=environ, stdout=-1, stderr=-1, text=True) for _ in range(2)]
    outputs = [process.communicate()[0].strip() for process in both]
    assert outputs == [str(environments.own(tiny)[0].python)] * 2


def test_the_rest_of_a_build_that_was_killed_goes_with_the_next(tiny: Entry) -> None:
    (environment,) = environments.own(tiny)
    rest = environment.folder.with_name(f".{environment.folder.name}.killed")
    (rest / "cache").mkdir(parents=True)
    assert value(tiny) == "7"
    assert not rest.exists()


# Damaged, rebuilt, removed


@pytest.fixture
def built(tiny: Entry) -> tuple[Entry, Path]:
    """The backend ``tiny`` with its environment, and the folder of its packages."""
    building.build(environments.own(tiny)[0])
    return tiny, next(environments.own(tiny)[0].folder.glob("lib/python*/site-packages"))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "tiny/lib.so: got 10 bytes, wanted 99": lambda site: os.truncate(site / "tiny" / "lib.so", 10),
    "tiny/__init__.py is missing": lambda site: (site / "tiny" / "__init__.py").unlink(),
    "numpy/__init__.py is missing": lambda site: shutil.rmtree(site / "numpy"),
    "No module named 'numpy'": shutil.rmtree,
    "safetensors/numpy.py: got 0 bytes": lambda site: os.truncate(site / "safetensors" / "numpy.py", 0),
    "SyntaxError": lambda site: (site / "numpy" / "__init__.py").write_text("pass("),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_environment_is_named_with_the_command_that_mends_it_which_does(
    built: tuple[Entry, Path], capsys: pytest.CaptureFixture[str], what: str
) -> None:
    entry, site = built
    DAMAGES[what](site)
    with pytest.raises(BackendError) as caught, Worker(entry, env="uv", timeout=60) as worker:
        worker.facts()
    start, _, end = str(caught.value).partition(what)
    assert start.startswith("tiny: its environment is damaged (")
    assert end.endswith("; build it again: vgg env --rebuild tiny")
    assert main(["env", "--rebuild", "tiny"]) == 0
    assert re.fullmatch(r"tiny: rebuilt, [\d.]+ MB on the disk\n", capsys.readouterr().out)
    assert value(entry) == "7"


def test_nothing_is_said_of_an_environment_that_is_whole(built: tuple[Entry, Path]) -> None:
    entry, _ = built
    (environment,) = environments.own(entry)
    assert building.damage(environment, ("tiny",)) == ""
    assert environments.damage(entry, sys.executable) is None


def test_an_environment_whose_interpreter_is_gone_is_built_again(built: tuple[Entry, Path]) -> None:
    entry, _ = built
    (environment,) = environments.own(entry)
    environment.python.unlink()
    environment.python.symlink_to("/nowhere/python")
    assert environments.home(entry)["where"] == "own environment, not built yet"
    assert value(entry) == "7"


def test_an_environment_that_cannot_be_rebuilt_stays(built: tuple[Entry, Path], wheels: Path) -> None:
    entry, _ = built
    not_there(wheels, Path())
    with pytest.raises(BackendError, match="could not be built; uv says why, above"):
        environments.rebuild("tiny")
    assert value(entry) == "7"


def test_the_list_says_what_is_where_since_when_and_how_large(
    built: tuple[Entry, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (environment,) = environments.own(built[0])
    earlier = environment.folder.with_name("tiny-0123456789ab")
    shutil.copytree(environment.folder, earlier, symlinks=True)
    capsys.readouterr()
    assert main(["env", "--json"]) == 0
    rows = {row["where"]: row for row in json.loads(capsys.readouterr().out)["environments"]}
    assert {row["name"] for row in rows.values()} >= {*registry.own_names(), "torch-gpu", "torch-zoo", "tiny"}
    assert rows[str(environment.folder)] | {"built": "", "size": 0} == {
        "name": "tiny",
        "where": str(environment.folder),
        "version": "1.0",
        "built": "",
        "size": 0,
    }
    assert rows[str(environment.folder)]["size"] == environment.size() > 0
    assert rows[str(earlier)]["version"] == "no longer used"
    assert [row["size"] for row in rows.values() if row["built"] is None] == [0] * (len(rows) - 2)
    assert main(["env"]) == 0
    assert "no longer used" in capsys.readouterr().out


def test_removing_an_environment_frees_the_space_and_says_how_much(
    built: tuple[Entry, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (environment,) = environments.own(built[0])
    shutil.copytree(environment.folder, environment.folder.with_name("tiny-0123456789ab"), symlinks=True)
    large = environment.folder / "large"
    large.write_bytes(bytes(3_000_000))
    os.link(large, environment.folder / "the same")
    capsys.readouterr()
    assert main(["env", "--remove", "tiny", "--json"]) == 0
    assert 3_000_000 < json.loads(capsys.readouterr().out)["bytes"] < 4_000_000
    assert [path for path in building.root().iterdir() if path.is_dir()] == []
    assert main(["env", "--remove", "tiny"]) == 2
    assert capsys.readouterr().err.startswith("vgg: unknown environment 'tiny': ")


@pytest.mark.parametrize("action", ["--remove", "--rebuild"])
def test_an_environment_that_another_process_uses_stays(
    built: tuple[Entry, Path], capsys: pytest.CaptureFixture[str], action: str
) -> None:
    (environment,) = environments.own(built[0])
    script = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_SH); print(flush=True); input()"
    command = [sys.executable, "-c", script, f"{environment.folder}.lock"]
    with subprocess.Popen(command, stdin=-1, stdout=-1) as user:
        assert user.stdout
        user.stdout.readline()
        capsys.readouterr()
        assert main(["env", action, "tiny"]) == 2
        user.communicate(b"\n")
    wanted = "vgg: tiny: got an environment in use, wanted one that no other process uses; end that process first\n"
    assert capsys.readouterr().err == wanted
    assert environment.exists()


@pytest.mark.parametrize("name", ["tine", "", "../..", "torch "])
def test_an_environment_without_a_backend_is_not_built(
    tiny: Entry, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for action in ("--rebuild", "--remove"):
        assert main(["env", action, name]) == 2
        assert capsys.readouterr().err.startswith(f"vgg: unknown environment {name!r}: ")
