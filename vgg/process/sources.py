"""Where packages come from: the user's settings of mirrors and of the network, and nothing else, for uv."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from ..core.errors import mismatch

_UV = re.compile(
    r"UV_(?:"
    r"(?:DEFAULT_|EXTRA_)?INDEX(?:_URL)?|INDEX_.+_(?:USERNAME|PASSWORD)|FIND_LINKS|NO_INDEX"  # where packages are
    r"|KEYRING_PROVIDER|CREDENTIALS_DIR|INSECURE_HOST|NATIVE_TLS|SYSTEM_CERTS"  # who is trusted
    r"|HTTP_(?:CONNECT_)?TIMEOUT|REQUEST_TIMEOUT|HTTP_RETRIES|CONCURRENT_(?:DOWNLOADS|INSTALLS)"  # how they travel
    r"|PYTHON_(?:INSTALL_DIR|INSTALL_MIRROR|DOWNLOADS_JSON_URL)|ASTRAL_MIRROR_URL|.+_ENDPOINT_URL"  # where Pythons are
    r")"
)
"""The variables of uv that reach it. Every other one could change what an environment holds, or that it is built."""
_FILE = {
    *("index", "index-url", "extra-index-url", "find-links", "no-index", "keyring-provider", "allow-insecure-host"),
    *("native-tls", "system-certs", "concurrent-downloads", "concurrent-installs"),
    *("http-proxy", "https-proxy", "no-proxy", "python-install-mirror", "python-downloads-json-url"),
}
"""The settings of the same kind in the user's and the system's ``uv.toml``."""
_PIP = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}
"""pip's settings of the same kind, which uv does not read by itself, and its own names for them."""
_PLACES = {"index", "index-url", "extra-index-url", "find-links", "url"}
_PYTHONS = {"VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}


def without_python(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables without those that belong to the current Python.

    Workers write bytecode: without it every start of TensorFlow takes ten seconds longer.
    """
    return {name: value for name, value in environ.items() if name not in _PYTHONS}


def environ() -> dict[str, str]:
    """Return the environment variables for uv: of its own, only those that say where packages come from.

    Settings of pip serve where uv has none. Relative paths become absolute, since uv runs in another folder.
    """
    kept = without_python(os.environ)
    kept = {name: value for name, value in kept.items() if not name.startswith("UV_") or _UV.fullmatch(name)}
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"):
        if name in kept:
            separator = "," if name == "UV_FIND_LINKS" else " "
            kept[name] = separator.join(_absolute(place) for place in re.split(r"[\s,]+", kept[name].strip()))
    return {**_from_pip(), **kept}


def _from_pip() -> dict[str, str]:
    values = {_PIP[name]: value.split() for name, value in _pips() if name in _PIP and value}
    return {
        name: ("," if name == "UV_FIND_LINKS" else " ").join(map(_absolute, words) if "CERT" not in name else words)
        for name, words in values.items()
    }


def _pips() -> Iterator[tuple[str, str]]:
    """Yield (name, value) of pip's settings from its files and from its variables, those that win last."""
    settings = re.findall(r"^(global|install)\.([a-z-]+)=(['\"].*['\"])$", _listing(), re.MULTILINE)
    for _, name, value in sorted(settings):  # install after global
        yield name, str(ast.literal_eval(value))
    for name in _PIP:
        yield name, os.environ.get(f"PIP_{name.upper().replace('-', '_')}", "")


def _listing() -> str:
    """Return what pip says about its settings, or an empty text if this Python has no pip."""
    command = [sys.executable, "-I", "-m", "pip", "config", "list"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def configuration() -> str:
    """Return the text of the ``uv.toml`` for uv: the settings of sources from the user's and the system's own.

    Raises ``VGGError`` when one of these files is not TOML.
    """
    settings: dict[str, Any] = {}
    for path in _files():
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise mismatch(str(path), str(error), "settings of uv in TOML") from error
        for table in (content, content.get("pip", {})):
            settings |= {name: _placed(name, value, path.parent) for name, value in table.items() if name in _FILE}
    return tomli_w.dumps(settings)


def _files() -> list[Path]:
    """Return the user's and the system's ``uv.toml``, those that win last."""
    if named := os.environ.get("UV_CONFIG_FILE"):
        return [Path(named)]
    systems = [*reversed(os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep)), "/etc"]
    users = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return [path for folder in (*systems, users) if (path := Path(folder, "uv", "uv.toml").expanduser()).is_file()]


def _placed(name: str, value: Any, folder: Path) -> Any:
    """Return the setting with its relative paths, which are relative to ``folder``, made absolute."""
    if isinstance(value, dict):
        return {key: _placed(key, part, folder) for key, part in value.items()}
    if isinstance(value, list):
        return [_placed(name, part, folder) for part in value]
    return _absolute(value, folder) if name in _PLACES and isinstance(value, str) else value


def _absolute(place: str, folder: Path | None = None) -> str:
    """Return the URL or path as it is, except a relative path that exists: it becomes absolute."""
    path = (folder or Path()) / place
    return str(path.resolve()) if place and "://" not in place and path.exists() else place
