"""Who may sign in, and the tokens of programs."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field

from console.api.access import Absent, Anybody, Operator, TheDesk
from console.api.accounts import found_account
from console.api.keys import Revoke, end_of
from console.api.model import (
    AccountText,
    AfterNumber,
    Asked,
    Day,
    Limit,
    Line,
    Model,
    Moment,
    Name,
    NumberPath,
    OfAccount,
    Page,
    UserPath,
    UserText,
    page,
)
from console.api.routes import add, group
from console.browser import base_url
from console.desk import Desk
from console.role import Role
from console.tokens import Kind, Token, TokenError
from console.users import User, UserError
from landingzone.clock import now


class WhoAnswer(Model):
    """For whom this token speaks."""

    user: str
    full_name: str
    role: Role
    account: str | None
    token: int


class UserAnswer(Model):
    """Somebody who may sign in."""

    name: str
    full_name: str
    role: Role
    account: str | None
    enabled: bool
    has_password: bool
    has_second_factor: bool
    added_at: Moment
    added_by: str
    disabled_at: Moment | None
    last_seen_at: Moment | None


class Invitation(Model):
    """A link that works once: who has it sets a password and a second factor."""

    user: UserAnswer
    link: str
    hours: float


class NewUser(Asked):
    """Somebody who is to sign in. `account` belongs to the role district, and to no other."""

    name: Annotated[UserText, Field(description="Best the e-mail address.")]
    role: Annotated[Role, Field(strict=False)]
    account: AccountText | None = None
    full_name: Annotated[Name | Literal[""], Field(description="For people.")] = ""


class TokenAnswer(Model):
    """A token, without its secret."""

    id: int
    kind: Kind
    account: str | None
    user: str | None
    state: str
    label: str
    added_at: Moment
    added_by: str
    expires_at: Moment | None
    revoked_at: Moment | None
    revoked_by: str | None
    revoked_reason: str
    last_used_at: Moment | None
    last_used_from: str | None
    last_used_client: str | None


class MadeToken(Model):
    """A new token, and its secret, which is shown this once."""

    token: TokenAnswer
    secret: str


class _NewToken(Asked):
    label: Line = ""
    expires: Annotated[Day, Field(description="The last day on which it opens (UTC).")] | None = None


class NewAccountToken(_NewToken):
    """A token that is to send an account's files (lzu_)."""

    account: AccountText


class NewUserToken(_NewToken):
    """A token that is to use this API as a user (lza_)."""

    user: UserText


def calls() -> APIRouter:
    """The calls."""
    router = group("users and tokens")
    add(router, "GET", "/me", me)
    add(router, "GET", "/users", users)
    add(router, "POST", "/users", add_user, status=201)
    add(router, "POST", "/users/{name}/invite", invite)
    add(router, "POST", "/users/{name}/disable", disable)
    add(router, "POST", "/users/{name}/enable", enable)
    add(router, "GET", "/tokens", tokens)
    add(router, "POST", "/tokens", add_token, status=201)
    add(router, "POST", "/tokens/{token}/revoke", revoke_token)
    return router


def me(who: Anybody) -> WhoAnswer:
    """Say for whom this token speaks."""
    assert who.token is not None
    return WhoAnswer(user=who.name, full_name=who.full_name, role=who.role, account=who.account, token=who.token)


def users(
    desk: TheDesk,
    who: Operator,
    account: OfAccount = None,
    after: Annotated[UserText | None, Query(description="What `next` of the page before says.")] = None,
    limit: Limit = 50,
) -> Page[UserAnswer]:
    """List the users, by name."""
    found = [one for one in desk.users.all(account=account) if after is None or one.name > after]
    return page(found[: limit + 1], limit, UserAnswer.model_validate, lambda one: one.name)


def add_user(request: Request, desk: TheDesk, who: Operator, asked: NewUser) -> Invitation:
    """Add a user, and make the one-time link that lets them in."""
    made = desk.users.add(asked.name, asked.role, account=asked.account, full_name=asked.full_name, actor=who.actor)
    return _invited(request, desk, who.actor, made)


def invite(request: Request, desk: TheDesk, who: Operator, name: UserPath) -> Invitation:
    """Make a new link for a user, as for a lost phone or a forgotten password; those before it end."""
    return _invited(request, desk, who.actor, _user(desk, name))


def disable(desk: TheDesk, who: Operator, name: UserPath) -> UserAnswer:
    """Shut a user out, at once: sessions, tokens and links with it."""
    _user(desk, name)
    return UserAnswer.model_validate(desk.users.set_enabled(name, enabled=False, actor=who.actor))


def enable(desk: TheDesk, who: Operator, name: UserPath) -> UserAnswer:
    """Let a user in again."""
    _user(desk, name)
    return UserAnswer.model_validate(desk.users.set_enabled(name, enabled=True, actor=who.actor))


def tokens(
    desk: TheDesk, who: Operator, account: OfAccount = None, after: AfterNumber = None, limit: Limit = 50
) -> Page[TokenAnswer]:
    """List tokens, revoked and expired ones too, by their numbers."""
    if account is not None:
        found_account(desk, who, account)
    found = [one for one in desk.tokens.of(account) if one.id > (after or 0)]
    return page(found[: limit + 1], limit, _token, lambda one: one.id)


def add_token(desk: TheDesk, who: Operator, asked: NewAccountToken | NewUserToken) -> MadeToken:
    """Make a token; its secret is shown this once, and kept nowhere.

    With `account` it sends that account's files (lzu_), with `user` it uses this API as that user (lza_).
    """
    ends = end_of(asked.expires)
    if isinstance(asked, NewUserToken):
        user = _user(desk, asked.user).name
        made = desk.tokens.add_for_user(user, label=asked.label, expires_at=ends, actor=who.actor)
    else:
        account = found_account(desk, who, asked.account).name
        made = desk.tokens.add_for_account(account, label=asked.label, expires_at=ends, actor=who.actor)
    return MadeToken(token=_token(made.token), secret=made.secret)


def revoke_token(desk: TheDesk, who: Operator, token: NumberPath, asked: Revoke) -> TokenAnswer:
    """Let a token open nothing any more, at once and for good; an upload that is under way with it ends, too."""
    try:
        desk.tokens.get(token)
    except TokenError:
        raise Absent from None
    return _token(desk.tokens.revoke(token, reason=asked.reason, actor=who.actor))


def _user(desk: Desk, name: str) -> User:
    try:
        return desk.users.get(name)
    except UserError:
        raise Absent from None


def _invited(request: Request, desk: Desk, actor: str, user: User) -> Invitation:
    hours = desk.settings.invitation_hours
    secret = desk.users.invite(user.name, hours=hours, actor=actor)
    link = f"{base_url(request, desk.settings)}/invitation/{secret}"
    return Invitation(user=UserAnswer.model_validate(user), link=link, hours=hours)


def _token(one: Token) -> TokenAnswer:
    shown = {name: getattr(one, name) for name in TokenAnswer.model_fields if name != "state"}
    return TokenAnswer(**shown, state=one.state(now()))
