"""Secrets of a config: known by the name of their key or variable, kept out of what is logged or streamed. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from nautilus_ext.config.env import SECRET_NAME, references, substitute, walk
from nautilus_ext.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLIENT_SECTIONS = ("data_clients.", "exec_clients.")
_OWN_SECTIONS = ("database.", "redis.", "alerts.")  # of the suite: Nautilus is given nothing of them
_PASSWORD_IN_DSN = re.compile(r"(?:[?&]|\b)password=([^&\s]+)")


@dataclass
class Secrets:
    """What must never be shown, and what stands in its place until a client is built."""

    by_placeholder: dict[str, str] = field(default_factory=dict)
    masked: set[str] = field(default_factory=set)
    in_tree: list[str] = field(default_factory=list)  # paths of secrets that Nautilus must be given in clear

    def __repr__(self) -> str:
        return f"Secrets({len(self.masked)} hidden)"

    def reveal(self, text: str) -> str:
        """The value behind a placeholder; any other text is returned as it is."""
        return self.by_placeholder.get(text, text)

    def take(self, text: str, at: str, environ: Mapping[str, str], problems: list[Problem]) -> str:
        """Fill in one string of the config; a client's secret stays a placeholder in the tree."""
        filled = substitute(text, at, environ, problems)
        names = [name for name, _ in references(text)]
        secret = is_secret_key(at) or any(SECRET_NAME.search(name) for name in names)
        password = dsn_password(filled)
        if password:
            self.masked |= {password, unquote(password)}
        if not secret or not filled:
            return filled
        if names:
            self.masked |= {str(filled)} | {value for name in names if (value := environ.get(name))}
        if not names and at.startswith((*_CLIENT_SECTIONS, "alerts.")):
            cure = f"a secret stands in the file: move it to an environment variable and write ${{{_variable(at)}}}"
            problems.append(Problem(at, cure))
        if not at.startswith(_CLIENT_SECTIONS):
            self.masked.add(str(filled))
            if not at.startswith(_OWN_SECTIONS):
                self.in_tree.append(at)
            return filled
        self.masked |= {str(filled), _shortened(str(filled))}
        self.by_placeholder[text] = str(filled)
        return text


def is_secret_key(at: str) -> bool:
    return SECRET_NAME.search(at.rpartition(".")[2]) is not None


def dsn_password(text: str) -> str | None:
    """The password inside an address, as it is written there."""
    if "://" not in text:
        return None
    try:
        found = urlsplit(text).password
    except ValueError:
        found = None
    in_query = _PASSWORD_IN_DSN.search(text)
    return found or (in_query[1] if in_query else None)


def reveal_all(value: Any, secrets: Secrets) -> Any:
    """A copy of a plain value in which every placeholder is replaced by its secret."""
    return walk(value, "", lambda _at, text: secrets.reveal(text))


def _shortened(secret: str) -> str:
    """How Nautilus's clients print a key: its first and last four characters."""
    return f"{secret[:4]}...{secret[-4:]}"


def _variable(at: str) -> str:
    _, client, *_rest = at.split(".")
    return re.sub(r"\W", "_", f"{client}_{at.rpartition('.')[2]}").upper()
