"""What a source stands at: the newest run that was applied to it, the hash of its file, and how that was read."""

from dataclasses import dataclass

import sqlalchemy as sa

from landingzone.tables import sources


@dataclass(frozen=True, slots=True)
class Standing:
    """What a source stands at; all None before its first file.

    Attributes:
        run: id of the run, `<landing-id>:<attempt>`.
        sha256: of the file as it arrived, hexadecimal.
        form: hash of how it was read (declaration, mode, rules): other rules make the same bytes another file.
    """

    run: str | None
    sha256: str | None
    form: str | None

    @property
    def landing_id(self) -> str | None:
        """The landing of that run."""
        return self.run.partition(":")[0] if self.run else None


def of(tx: sa.Connection, source_id: int) -> Standing:
    """What a source stands at now."""
    query = sa.select(sources.c.standing_run, sources.c.standing_sha256, sources.c.standing_form)
    return Standing(*tx.execute(query.where(sources.c.id == source_id)).one())


def set_to(tx: sa.Connection, source_id: int, standing: Standing) -> None:
    """Note what a source stands at from now on; in the transaction that applies it."""
    values = {"standing_run": standing.run, "standing_sha256": standing.sha256, "standing_form": standing.form}
    tx.execute(sources.update().where(sources.c.id == source_id).values(**values))
