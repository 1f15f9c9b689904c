"""One alert to one address: signed, within its time, and whether it is worth another attempt."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from nautilus_ext.config.alerts import Webhook

STATUS_LINE_BYTES_MAX = 1_000
SIGNATURE, TIMESTAMP = "X-Suite-Signature", "X-Suite-Timestamp"
_TRY_AGAIN = (408, 425, 429)


class NotTaken(Exception):
    """Why the other side has not got it; `is_final`: it would say the same again."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What the receiver computes as well: HMAC-SHA256 of the timestamp, a dot and the body, in hexadecimal."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


async def post(webhook: Webhook, message: dict[str, Any]) -> None:
    """Deliver it, or raise NotTaken. Redirects are not followed: they would take the alert somewhere else."""
    try:
        async with asyncio.timeout(webhook.timeout_s):
            status = await _status_of(webhook, msgspec.json.encode(message))
    except TimeoutError:
        raise NotTaken(f"no answer within {webhook.timeout_s:g} s") from None
    except ssl.SSLError as error:
        raise NotTaken(f"no TLS connection ({error.reason or type(error).__name__})") from None
    except (OSError, EOFError, ValueError) as error:
        raise NotTaken(f"{type(error).__name__}: is it up, and does it speak HTTP?") from None
    if not 200 <= status < 300:  # noqa: PLR2004 - as HTTP counts
        raise NotTaken(f"it answered {status}", is_final=status < 500 and status not in _TRY_AGAIN)  # noqa: PLR2004 - as above


async def _status_of(webhook: Webhook, body: bytes) -> int:
    parts = urlsplit(webhook.url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    context = ssl.create_default_context() if is_tls else None
    reader, writer = await asyncio.open_connection(host, parts.port or (443 if is_tls else 80), ssl=context)
    try:
        writer.write(_request(webhook, body))
        await writer.drain()
        line = await reader.readuntil(b"\r\n")
    except asyncio.LimitOverrunError:
        raise ValueError("a status line without end") from None
    finally:
        writer.transport.abort()  # the rest of the answer says nothing
    protocol, _, rest = line[:STATUS_LINE_BYTES_MAX].partition(b" ")
    if not protocol.startswith(b"HTTP/1."):
        raise ValueError("no HTTP")
    return int(rest[:3])


def _request(webhook: Webhook, body: bytes) -> bytes:
    parts = urlsplit(webhook.url)
    timestamp = str(int(time.time()))
    lines = (
        f"POST {parts.path or '/'}{'?' + parts.query if parts.query else ''} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"{TIMESTAMP}: {timestamp}",
        f"{SIGNATURE}: {signature(webhook.secret, timestamp, body)}",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + body
