"""Sessions of browsers: a signed cookie that holds the hash of a key, never the key."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

COOKIE = "tradehouse_session"
SESSION_SECONDS = 30 * 24 * 3600


class Sessions:
    """Makes and reads the cookie.

    It is `<hash of the key>.<end in Unix seconds>.<HMAC-SHA256 of both>`. Whether the key still holds is asked of the
    warehouse at each request, as for a key in a header.

    Args:
        secret: signs; a random one where it is None, which ends all sessions with the process.
        clock: Unix seconds.
    """

    def __init__(self, secret: str | None, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret.encode() if secret else secrets.token_bytes(32)
        self._clock = clock

    def issue(self, digest: bytes) -> str:
        """The cookie of a key whose SHA-256 is `digest`."""
        content = f"{digest.hex()}.{int(self._clock()) + SESSION_SECONDS}"
        return f"{content}.{self._signature(content)}"

    def read(self, cookie: str | None) -> bytes | None:
        """The SHA-256 of the key; None where the cookie is missing, over, or not signed by us."""
        content, _, signature = (cookie or "").rpartition(".")
        if not content or not hmac.compare_digest(self._signature(content).encode(), signature.encode()):
            return None
        digest, _, ends = content.partition(".")
        return bytes.fromhex(digest) if self._clock() < int(ends) else None

    def _signature(self, content: str) -> str:
        return hmac.new(self._secret, content.encode(), hashlib.sha256).hexdigest()
