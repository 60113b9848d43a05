"""What a scan of the inboxes costs, and what it finds."""

from typing import Any

import sqlalchemy as sa

from landingzone.tables import runs
from processor.intake import Intake


class Asked:
    """Stands where turns are asked for; nobody gives any here."""

    def __init__(self) -> None:
        self.accounts: set[int] = set()

    def ask(self, account_id: int) -> None:
        self.accounts.add(account_id)


def test_a_scan_asks_the_database_nothing_of_accounts_in_whose_inbox_nothing_is(desk: Any) -> None:
    here = desk.night.here
    for number in range(30):
        here.accounts.add(f"silent-{number}", actor="test")
        here.zone.prepare_account(f"silent-{number}")
    turns = Asked()
    intake = Intake(desk.context, turns)
    statements: list[str] = []
    sa.event.listen(
        desk.context.db.engine, "before_cursor_execute", lambda *told: statements.append(told[2]), named=False
    )
    intake.scan()
    assert len(statements) < 5
    landing = desk.night.land("students.csv", b"Student ID\r\n")
    statements.clear()
    intake.scan()
    assert 0 < len(statements) < 30
    with here.db.read() as tx:
        assert tx.execute(sa.select(runs.c.landing_id)).scalars().all() == [landing.id]
    assert len(turns.accounts) == 1
