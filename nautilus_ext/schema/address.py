"""What may be shown of a database address. Pure: a password goes in, and never comes out."""

from __future__ import annotations

import getpass
import os
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

ENCODE = "percent-encode special characters of the password: @ is %40, / is %2F, ? is %3F, # is %23, : is %3A"
EXAMPLE = "expected postgresql://user:password@host:5432/database"

_PARTS = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?P<fragment>#.*)?",
    re.IGNORECASE | re.DOTALL,
)
_HOSTS = re.compile(r"(\[[0-9a-f:.%]*\]|[^:\[\],]+)?(:\d*)?(,(\[[0-9a-f:.%]*\]|[^:\[\],]+)(:\d*)?)*", re.IGNORECASE)
_SHOWN_OPTIONS = frozenset({"host", "port", "dbname", "database", "user", "sslmode", "application_name"})


@dataclass(frozen=True)
class Address:
    """Where a database is and who asks: all of an address that is no secret."""

    host: str
    port: str
    database: str
    user: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}, database {self.database!r}, user {self.user!r}"


def problem(url: str) -> str | None:
    """Say what is wrong with an address, with the cure and without any piece of it; None when nothing is."""
    found = _PARTS.fullmatch(url)
    if found is None or found["scheme"].lower() not in {"postgresql", "postgres"}:
        if found is not None and found["scheme"].lower().startswith(("postgresql+", "postgres+")):
            return "it names a driver: write postgresql:// without the part from + on"
        return f"it does not start with postgresql://: {EXAMPLE}"
    if url.count("@") > 1 or _at_is_misplaced(found):
        return f"it has an '@' that does not separate the user from the host: {ENCODE}"
    if found["fragment"] is not None:
        return f"it has a '#': {ENCODE}"
    if not _HOSTS.fullmatch(_hosts(found)):
        return f"its host or port is not valid: {EXAMPLE}; {ENCODE}"
    return None


def redact(url: str) -> str:
    """Return the address as it may be shown; of an address that is ambiguous as little as is safe."""
    found = _PARTS.fullmatch(url)
    if found is None:
        return "***"
    if _at_is_misplaced(found) or not _HOSTS.fullmatch(_hosts(found)):
        return f"{found['scheme']}://***"
    shown_user, at, _ = found["authority"].rpartition("@")
    user, colon, _ = shown_user.partition(":")
    user_part = f"{user}{':***' if colon else ''}{at}"
    return f"{found['scheme']}://{user_part}{_hosts(found)}{found['path']}{_redact_query(found['query'] or '')}"


def describe(url: str) -> Address:
    """Read host, port, database and user, with the defaults that the driver takes from the environment."""
    found = _PARTS.fullmatch(url)
    if found is None or problem(url) is not None:
        return Address(host="?", port="?", database="?", user="?")
    options = {key: values[-1] for key, values in parse_qs((found["query"] or "")[1:]).items()}
    hosts, ports = _split_hosts(_hosts(found))
    user = unquote(found["authority"].rpartition("@")[0].partition(":")[0])
    user = user or options.get("user") or os.environ.get("PGUSER") or getpass.getuser()
    database = unquote(found["path"].removeprefix("/")) or options.get("dbname") or options.get("database")
    return Address(
        host=hosts or options.get("host") or os.environ.get("PGHOST") or "localhost",
        port=ports or options.get("port") or os.environ.get("PGPORT") or "5432",
        database=database or os.environ.get("PGDATABASE") or user,
        user=user,
    )


def _hosts(found: re.Match[str]) -> str:
    return found["authority"].rpartition("@")[2]


def _at_is_misplaced(found: re.Match[str]) -> bool:
    """An unencoded '/', '?' or '#' in a password moves the rest of it, and the '@', behind the authority."""
    return any("@" in (found[part] or "") for part in ("path", "query", "fragment"))


def _split_hosts(hosts: str) -> tuple[str, str]:
    """`a:1,b:2` becomes `a,b` and `1,2`; an IPv6 address keeps its colons."""
    pairs = [re.fullmatch(r"(\[[^\]]*\]|[^:]*):?(\d*)", host) for host in hosts.split(",")]
    names = [pair[1] for pair in pairs if pair is not None]
    ports = [pair[2] for pair in pairs if pair is not None and pair[2]]
    return ",".join(names), ",".join(ports)


def _redact_query(query: str) -> str:
    """Show the options that are known to be harmless: a secret can hide under many names, and hold an '&'."""
    options = [option for option in query[1:].split("&") if option]
    shown = [option for option in options if option.partition("=")[0] in _SHOWN_OPTIONS]
    hidden = ["***"] if len(shown) < len(options) else []
    return f"?{'&'.join(shown + hidden)}" if options else ""
