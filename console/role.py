"""Who somebody is to the console, and what that lets them do."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a user may do."""

    OPERATOR = "operator"
    """Sees and changes everything."""
    VIEWER = "viewer"
    """Sees how every account stands; no personal data, and changes nothing."""
    DISTRICT = "district"
    """A district's own staff: sees and sends the files of its account, and nothing of any other."""


STAFF = (Role.OPERATOR, Role.VIEWER)
"""Those who are there for all accounts."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who has made a request.

    Attributes:
        user_id: the user's number; name and full_name what the user is called.
        role: what the user may do.
        account: whose staff a district's user is; None for the others.
        session: the digest of the session; empty where a token speaks for the user.
        csrf: what a form of this session has to bring along; empty for a token.
        token: the number of the token that speaks for the user; None for a session.
    """

    user_id: int
    name: str
    full_name: str
    role: Role
    account: str | None
    session: str = ""
    csrf: str = ""
    token: int | None = None

    @property
    def actor(self) -> str:
        """What the audit trail calls this person."""
        return f"{self.name} (console)" if self.token is None else f"{self.name} (token {self.token})"

    @property
    def shown(self) -> str:
        """What a page calls this person."""
        return self.full_name or self.name

    @property
    def may_act(self) -> bool:
        """Whether this person may change what belongs to all accounts."""
        return self.role is Role.OPERATOR

    @property
    def may_see_rows(self) -> bool:
        """Whether this person may see what stands in the files: names, numbers, addresses of people."""
        return self.role is not Role.VIEWER

    def may_see(self, account: str) -> bool:
        """Whether an account is any of this person's business."""
        return self.role in STAFF or self.account == account
