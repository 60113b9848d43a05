"""Signing in by OpenID Connect: authorization code with PKCE; what comes back is proven before it counts.

Nobody is let in for having an account at the provider: a user of that name (the e-mail address, which the provider has
verified) was added before. After the first time the user is known by the provider's own number.
"""

import secrets
from dataclasses import dataclass
from typing import Any

import httpx2
import structlog
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwk, jwt
from joserfc.errors import JoseError

from console.secret import Secret
from console.users import QUERY, User, user_of
from landingzone import audit
from landingzone.db import Database
from landingzone.errors import LandingZoneError
from landingzone.settings import ConsoleSettings
from landingzone.tables import users

WITHIN_SECONDS = 600
"""How long somebody may take at the provider."""
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_LEEWAY_SECONDS = 60
_DISCOVERY = "/.well-known/openid-configuration"

_log = structlog.get_logger("console")


class ProviderRefused(LandingZoneError):
    """Signing in at your organisation's provider did not come to its end. Try again."""


class NotInvited(LandingZoneError):
    """You are known at your organisation, but nobody has let you in here. Ask an operator to add you."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is at the provider.

    Attributes:
        subject: `<issuer> <subject>`, for ever the same.
        email: in lower case; empty if the provider has not verified it.
    """

    subject: str
    email: str


class Provider:
    """The provider that the settings name."""

    def __init__(self, settings: ConsoleSettings, secret: Secret) -> None:
        self._settings = settings
        self._secret = secret
        self._known: dict[str, Any] | None = None

    async def begin(self, *, back: str, then: str) -> tuple[str, str]:
        """Where to send the browser, and what it has to keep meanwhile.

        `back` is our own address that the provider sends it back to, `then` the path to go to in the end.
        """
        known = await self._metadata()
        nonce, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        async with self._client(back) as client:
            url, state = client.create_authorization_url(
                known["authorization_endpoint"], code_verifier=verifier, nonce=nonce
            )
        return url, self._secret.seal({"state": state, "nonce": nonce, "verifier": verifier, "then": then})

    async def finish(self, *, back: str, query: str, kept: str) -> tuple[Identity, str]:
        """Who it is, and where to go then. Raises ProviderRefused."""
        began = self._secret.open(kept, seconds=WITHIN_SECONDS)
        known = await self._metadata()
        try:
            async with self._client(back) as client:
                token = await client.fetch_token(
                    known["token_endpoint"],
                    authorization_response=f"{back}?{query}",
                    state=began["state"],
                    code_verifier=began["verifier"],
                )
            async with httpx2.AsyncClient(timeout=20) as client:
                keys = (await client.get(known["jwks_uri"])).raise_for_status().json()
            claims = self._claims(str(token["id_token"]), keys, known["issuer"], nonce=began["nonce"])
        except (AuthlibBaseError, httpx2.HTTPError, JoseError, KeyError, ValueError) as error:
            _log.warning("console.oidc_refused", kind=type(error).__name__)
            raise ProviderRefused from None
        email = str(claims.get("email", "")).lower() if claims.get("email_verified") is True else ""
        return Identity(f"{claims['iss']} {claims['sub']}"[:255], email), str(began["then"])

    def _claims(self, id_token: str, keys: Any, issuer: str, *, nonce: str) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """What an id token says, once its signature, issuer, audience, time and nonce are proven."""
        decoded = jwt.decode(id_token, jwk.KeySet.import_key_set(keys), algorithms=list(_ALGORITHMS))
        wanted = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_SECONDS,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": self._settings.oidc_client_id},
            nonce={"essential": True, "value": nonce},
            exp={"essential": True},
            sub={"essential": True},
        )
        wanted.validate(decoded.claims)
        return dict(decoded.claims)

    def _client(self, back: str) -> AsyncOAuth2Client:
        return AsyncOAuth2Client(
            self._settings.oidc_client_id,
            self._settings.oidc_client_secret or None,
            scope="openid email profile",
            redirect_uri=back,
            code_challenge_method="S256",
            timeout=20,
        )

    async def _metadata(self) -> dict[str, Any]:
        if self._known is None:
            issuer = self._settings.oidc_issuer.rstrip("/")
            try:
                async with httpx2.AsyncClient(timeout=20) as client:
                    known: dict[str, Any] = (await client.get(issuer + _DISCOVERY)).raise_for_status().json()
            except (httpx2.HTTPError, ValueError) as error:
                _log.error("console.oidc_away", kind=type(error).__name__)
                raise ProviderRefused("Your organisation's provider does not answer. Try again in a minute.") from None
            if str(known.get("issuer", "")).rstrip("/") != issuer:
                _log.error("console.oidc_away", kind="issuer")
                raise ProviderRefused("Your organisation's provider calls itself by another name than the settings do.")
            self._known = known
        return self._known


def user_for(db: Database, who: Identity) -> User:
    """The user that somebody is here; from the first time on known by the provider's number. Raises NotInvited."""
    with audit.changing(db) as tx:
        row = tx.execute(QUERY.where(users.c.oidc_subject == who.subject)).first()
        if row is None and who.email:
            row = tx.execute(QUERY.where(users.c.name == who.email, users.c.oidc_subject.is_(None))).first()
            if row is not None:
                tx.execute(users.update().where(users.c.id == row.id).values(oidc_subject=who.subject))
                actor = f"{row.name} (console)"
                audit.record(tx, actor=actor, action="user.oidc_linked", account=row.account or "", user=row.name)
        found = user_of(row) if row is not None else None
        if found is not None and found.enabled:
            return found
    raise NotInvited
