"""One-time codes (TOTP, RFC 6238), the second factor: six digits, a new one every 30 seconds, none taken twice."""

import base64
import hmac
from datetime import datetime

import pyotp
import segno

ISSUER = "Landing zone"
_STEP_SECONDS = 30
_AROUND = (0, -1, 1)
"""Clocks differ: the code before and the one after are taken, too."""


def secret_from(derived: bytes) -> str:
    """A secret as authenticators take it: base32 of 20 bytes."""
    return base64.b32encode(derived[:20]).decode("ascii")


def matching_step(secret: str, code: str, at: datetime, *, after: int | None) -> int | None:
    """The step whose code this is, if it is later than `after`; None: wrong, too old, or taken before.

    >>> from datetime import UTC
    >>> moment, secret = datetime(2026, 1, 31, tzinfo=UTC), "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    >>> step = matching_step(secret, pyotp.TOTP(secret).at(moment), moment, after=None)
    >>> step == int(moment.timestamp()) // 30, matching_step(secret, pyotp.TOTP(secret).at(moment), moment, after=step)
    (True, None)
    """
    digits = "".join(code.split())
    if not (digits.isascii() and digits.isdigit()):
        return None
    present, made = int(at.timestamp()) // _STEP_SECONDS, pyotp.TOTP(secret)
    for step in (present + offset for offset in _AROUND):
        same = hmac.compare_digest(made.at(step * _STEP_SECONDS), digits)
        if same and (after is None or step > after):
            return step
    return None


def link(secret: str, name: str) -> str:
    """What a QR code tells an authenticator."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER)


def qr_code(secret: str, name: str) -> str:
    """The same as SVG, dark on light, without style or script."""
    made = segno.make(link(secret, name), error="m")
    return str(made.svg_inline(scale=5, border=4, dark="#000", light="#fff", svgclass="qr", lineclass=None))
