"""What may be shown of a database address."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from asyncpg import connect_utils
from hypothesis import given
from hypothesis import strategies as st

from nautilus_ext.schema.address import describe, problem, redact

HEAD, TAIL = "S3cret", "T0ken"
PASSWORDS = st.text(max_size=8).map(lambda middle: f"{HEAD}{middle}{TAIL}")


def _shown(url: str) -> str:
    return f"{redact(url)} {problem(url)} {describe(url)}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://desk:S3cret@db.example:5432/suite", "postgresql://desk:***@db.example:5432/suite"),
        ("postgresql://desk@db/suite", "postgresql://desk@db/suite"),
        ("postgresql://desk:p%40ss%2Fword@db/suite", "postgresql://desk:***@db/suite"),
        ("postgresql://desk:S3cret@a:1,b:2/suite", "postgresql://desk:***@a:1,b:2/suite"),
        ("postgresql://desk:S3cret@[::1]:5432/suite", "postgresql://desk:***@[::1]:5432/suite"),
        ("postgresql://db/suite?user=desk&password=S3cret", "postgresql://db/suite?user=desk&***"),
        ("postgresql:///suite?host=/run/pg&sslpassword=S", "postgresql:///suite?host=/run/pg&***"),
        ("postgresql+asyncpg://desk:S3cret@db/suite", "postgresql+asyncpg://desk:***@db/suite"),
        ("postgresql://desk:S3/cret@db/suite", "postgresql://***"),
        ("postgresql://desk:S3cret", "postgresql://***"),
        ("host=db password=S3cret", "***"),
        ("", "***"),
    ],
)
def test_the_address_is_shown_without_its_secrets(url, shown):
    """All that helps is shown; what is ambiguous is not."""
    assert redact(url) == shown


@given(PASSWORDS)
def test_no_piece_of_a_password_is_shown_wherever_it_stands(password):
    """Neither encoded nor as it is, neither before the host nor among the options."""
    encoded = quote(password, safe="")
    for url in (
        f"postgresql://desk:{password}@db:5432/suite",
        f"postgresql://desk:{encoded}@a:1,b:2/suite?sslmode=require",
        f"postgresql://db/suite?password={encoded}",
        f"postgresql://db/suite?user=desk&sslpassword={password}",
        f"host=db user=desk password={password}",
    ):
        assert HEAD not in _shown(url)
        assert TAIL not in _shown(url)


@given(st.text(max_size=40) | st.text(alphabet="postgresql:/@?#&=[],%0", max_size=40))
def test_junk_is_answered_and_never_raises(text):
    """An address is shown in error messages, where a second error would hide the first."""
    assert isinstance(_shown(text), str)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("embeded", "does not start with postgresql://"),
        ("mysql://desk@db/suite", "does not start with postgresql://"),
        ("postgresql+asyncpg://desk@db/suite", "without the part from + on"),
        ("postgresql://desk:a@b@db/suite", "@ is %40"),
        ("postgresql://desk:a/b@db/suite", "/ is %2F"),
        ("postgresql://desk:a#b@db/suite", "# is %23"),
        ("postgresql://desk:a@db/suite#x", "it has a '#'"),
        ("postgresql://desk:a@db:54x2/suite", "host or port is not valid"),
        ("postgresql://desk:a@db,,other/suite", "host or port is not valid"),
    ],
)
def test_what_is_wrong_with_an_address_is_named_with_its_cure(url, part):
    """The driver's own messages would quote it."""
    assert part in problem(url)


OPTIONS = (
    *("host", "port", "user", "password", "passfile", "database", "command_timeout", "ssl", "direct_tls"),
    *("target_session_attrs", "krbsrvname", "gsslib", "service", "servicefile", "server_settings"),
)
NUMBERS = ("statement_cache_size", "max_cached_statement_lifetime", "max_cacheable_statement_size")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://desk:x@db.example:6543/suite",
        "postgres://desk:x@db.example/suite",
        "postgresql://Desk%20App:x@db/my%20suite",
        "postgresql://desk@a:1,b:2/suite",
        "postgresql://desk@[::1]:5433/suite",
        "postgresql://db:5432/suite?user=desk",
        "postgresql://desk@/suite?host=/run/pg&port=5444",
        "postgresql://desk@db?dbname=suite",
        "postgresql://desk@db",
    ],
)
def test_an_address_is_read_as_the_driver_reads_it(url, monkeypatch):
    """The role that gets the grants is the role that will connect."""
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE"):
        monkeypatch.delenv(name, raising=False)
    addresses, parameters, _ = connect_utils._parse_connect_arguments(
        dsn=url, **dict.fromkeys(OPTIONS), **dict.fromkeys(NUMBERS, 1)
    )
    found = describe(url)
    assert problem(url) is None
    assert (found.user, found.database) == (parameters.user, parameters.database)
    ports = [port for address in addresses if isinstance(address, tuple) for port in [str(address[1])]]
    assert found.port.split(",") == ports or "/run/pg" in url
