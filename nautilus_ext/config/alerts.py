"""The section `alerts`: who is told when something is wrong. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET_LENGTH_MIN = 16
URL_LENGTH_MAX = 2_000


class Webhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`alerts.webhook`: each alert is posted there as JSON, signed."""

    url: Annotated[str, Meta(description="Where alerts are posted: any http or https address.")]
    secret: Annotated[
        str, Meta(description='What signs them (HMAC-SHA256), from the environment: "${ALERT_WEBHOOK_SECRET}".')
    ]
    timeout_s: Annotated[float, Meta(gt=0, le=30, description="Longest that one attempt may take, in seconds.")] = 2.0
    attempts: Annotated[
        int, Meta(ge=1, le=20, description="How often one alert is tried; the pauses between double from 0.2 s to 5 s.")
    ] = 5

    def __repr__(self) -> str:
        return "Webhook(…)"  # its address may be a secret as well


class Alerting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`alerts`: told in the log, on the bus, in the table `alerts`, and to a webhook."""

    quiet_s: Annotated[
        float,
        Meta(
            ge=1,
            le=86_400,
            description="The same alert is told again after this time, in seconds, and says how often it came.",
        ),
    ] = 300.0
    webhook: Annotated[
        Webhook | None, Meta(description="Where alerts are posted; default: nowhere. Never in a backtest.")
    ] = None


def webhook_problems(webhook: Webhook) -> Iterator[tuple[str, str]]:
    """What the fields by themselves cannot tell: the key, and what to write instead."""
    fault = _url_fault(webhook.url)
    if fault:
        yield "url", fault
    if len(webhook.secret) < SECRET_LENGTH_MIN:
        told = f"has {len(webhook.secret)} characters: a signature needs {SECRET_LENGTH_MIN} at least"
        yield "secret", f"{told}, for example of `openssl rand -hex 32`"


def _url_fault(url: str) -> str | None:
    """Without the address itself: part of it may be a key."""
    if len(url) > URL_LENGTH_MAX or not url.isascii() or not url.isprintable() or " " in url:
        return f"is no address: plain ASCII without spaces, {URL_LENGTH_MAX} characters at most"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is no address: its host or port cannot be read"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return 'is no address: write "https://host/path", or "http://host:port/path"'
    if parts.username is not None or parts.password is not None:
        return "holds a user or a password: leave them out, the signature says who sends it"
    return "holds a #fragment, which no server is told: leave it out" if parts.fragment else None
