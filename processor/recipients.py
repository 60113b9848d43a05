"""Recipients: an account's contacts as the messaging service would choose them, from the merged records.

Conditions of one kind unite, of different kinds intersect. Whom a student's message goes to is decided for each
student: the guardians where the student has active ones, the student's own contact otherwise.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import NamedTuple

import sqlalchemy as sa

from landingzone.errors import LandingZoneError
from landingzone.feed import Catalogue
from processor.merged import lacking, merged, values

_FETCHED_AT_ONCE = 5_000
_Query = sa.CompoundSelect[*tuple[str, ...]] | sa.Select[*tuple[str, ...]]


class UnknownUser(LandingZoneError):
    """The account has no such teacher."""


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is meant; an empty condition asks for nothing.

    Attributes:
        schools: where the student goes to school; and where a section of `sections` is, as its id is unique there only.
        grades: the student's grade.
        sections: sections in which the student is enrolled.
        courses: course names of a class in which the student is enrolled.
        periods: periods of such a class; with `absent_on` periods that the student misses.
        languages: of the contact; case is set aside.
        absent_on: a day on which the student is absent, with `periods` in one of these or the whole day.
        as_user: user name of a teacher: only students, and classes, of that teacher's sections.

    What is asked of a class (section, course, period, teacher) is asked of one and the same class.
    """

    schools: tuple[str, ...] = ()
    grades: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    courses: tuple[str, ...] = ()
    periods: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    absent_on: date | None = None
    as_user: str | None = None

    @property
    def class_periods(self) -> tuple[str, ...]:
        """The periods that are asked of a class: none where only an absence is asked for."""
        by_class = self.sections or self.courses or self.as_user is not None
        return self.periods if by_class or self.absent_on is None else ()


@dataclass(frozen=True, slots=True)
class StaffAudience:
    """Which members of staff are meant; an empty condition asks for nothing.

    Attributes:
        schools: where they work.
        positions: their position or title.
        languages: theirs; case is set aside.
    """

    schools: tuple[str, ...] = ()
    positions: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()


class Recipient(NamedTuple):
    """One contact of one student. `contact` is `guardian` or `student`; a student's own has no category.

    Or a member of staff: `contact` is `staff`, `category` the position, and there is no student.
    """

    student_id: str
    student_name: str
    school_id: str
    grade: str
    contact: str
    contact_id: str
    category: str
    first_name: str
    last_name: str
    phone: str
    alt_phone: str
    email: str
    alt_email: str
    language: str


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """One phone number, and everybody it serves: each recipient once for each contact and student.

    A contact without a phone number stands alone.
    """

    phone: str
    recipients: tuple[Recipient, ...]


def recipients(
    tx: sa.Connection, catalogue: Catalogue, account_id: int, audience: Audience | StaffAudience
) -> Iterator[Recipient]:
    """The contacts of an audience, by student, streamed. Raises UnknownUser."""
    return _stream(tx, _query(tx, catalogue, account_id, audience).order_by("student_id", "contact_id"))


def some(
    tx: sa.Connection,
    catalogue: Catalogue,
    account_id: int,
    audience: Audience | StaffAudience,
    *,
    behind: tuple[str, str] | None,
    limit: int,
) -> list[Recipient]:
    """At most so many contacts of an audience, by student: those behind a student's id and a contact's id.

    Raises UnknownUser.
    """
    found = _query(tx, catalogue, account_id, audience).subquery()
    place = (found.c.student_id, found.c.contact_id)
    query = sa.select(found).order_by(*place).limit(limit)
    if behind is not None:
        query = query.where(sa.tuple_(*place) > sa.tuple_(*map(sa.literal, behind)))
    return [Recipient(*row) for row in tx.execute(query)]


def phone_numbers(
    tx: sa.Connection, catalogue: Catalogue, account_id: int, audience: Audience | StaffAudience
) -> Iterator[PhoneNumber]:
    """The contacts of an audience, one entry for each phone number, streamed. Raises UnknownUser."""
    query = _query(tx, catalogue, account_id, audience)
    rows = _stream(tx, query.order_by("phone", "contact_id", "student_id"))
    for (phone, _), served in groupby(rows, key=lambda row: (row.phone, "" if row.phone else row.contact_id)):
        yield PhoneNumber(phone, tuple(served))


def counts(
    tx: sa.Connection, catalogue: Catalogue, account_id: int, audience: Audience | StaffAudience
) -> dict[str, int]:
    """How many students, contacts (guardians; students' own), phone numbers, rows without one; of staff how many, phone
    numbers, rows without one. Raises UnknownUser.
    """
    found = _query(tx, catalogue, account_id, audience).subquery()
    phones = (
        sa.func.count(sa.func.nullif(found.c.phone, "").distinct()).label("phones"),
        sa.func.count(sa.case((found.c.phone == "", 1))).label("without_phone"),
    )
    if isinstance(audience, StaffAudience):
        people = sa.func.count(found.c.contact_id).label("staff")
        return dict(tx.execute(sa.select(people, *phones)).one()._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    of_guardian = found.c.contact == "guardian"
    query = sa.select(
        sa.func.count(found.c.student_id.distinct()).label("students"),
        sa.func.count(sa.case((of_guardian, found.c.contact_id)).distinct()).label("guardians"),
        sa.func.count(sa.case((~of_guardian, found.c.contact_id))).label("own_contacts"),
        *phones,
    )
    return dict(tx.execute(query).one()._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


def _stream(tx: sa.Connection, query: _Query) -> Iterator[Recipient]:
    for rows in tx.execution_options(yield_per=_FETCHED_AT_ONCE).execute(query).partitions():
        yield from map(Recipient._make, rows)


def _query(tx: sa.Connection, catalogue: Catalogue, account_id: int, audience: Audience | StaffAudience) -> _Query:
    if isinstance(audience, StaffAudience):
        return _of_staff(tx, catalogue, account_id, audience)
    return _of_students(tx, catalogue, account_id, audience)


def _of_staff(tx: sa.Connection, catalogue: Catalogue, account_id: int, audience: StaffAudience) -> _Query:
    staff = merged(tx, catalogue["staff"], account_id)
    nothing: sa.ColumnElement[str] = sa.literal_column("''")
    own = {"contact": sa.literal_column("'staff'"), "contact_id": staff.c.staff_id, "category": staff.c.position}
    columns = ((own.get(name, staff.c.get(name, nothing))).label(name) for name in Recipient._fields)
    query = sa.select(*columns).where(*_speaks(audience, staff))
    if audience.schools:
        query = query.where(staff.c.school_id.in_(audience.schools))
    if audience.positions:
        query = query.where(staff.c.position.in_(audience.positions))
    return query


def _of_students(
    tx: sa.Connection, catalogue: Catalogue, account_id: int, audience: Audience
) -> sa.CompoundSelect[*tuple[str, ...]]:
    """The guardians of those who have some, and the own contacts of the others.

    Two parts, as an outer join to a join makes SQLite compare each student with each guardian.
    """
    students = merged(tx, catalogue["students"], account_id)
    guardians = merged(tx, catalogue["guardians"], account_id)
    associations = merged(tx, catalogue["associations"], account_id)
    same_guardian = guardians.c.guardian_id == associations.c.guardian_id
    meant = list(_of_student(tx, catalogue, account_id, audience, students))
    of_guardian = (
        _columns(students, guardians, sa.literal_column("'guardian'"), guardians.c.guardian_id, associations.c.category)
        .join_from(students, associations, associations.c.student_id == students.c.student_id)
        .join(guardians, same_guardian)
        .where(*meant, *_speaks(audience, guardians))
    )
    cared_for = sa.select(associations.c.student_id).join_from(associations, guardians, same_guardian)
    empty: sa.ColumnElement[str] = sa.literal_column("''")
    own = _columns(students, students, sa.literal_column("'student'"), students.c.student_id, empty).where(
        *meant, *_speaks(audience, students), lacking(tx, [students.c.student_id], cared_for)
    )
    return of_guardian.union_all(own)


def _columns(
    student: sa.FromClause,
    contact: sa.FromClause,
    kind: sa.ColumnElement[str],
    contact_id: sa.ColumnElement[str],
    category: sa.ColumnElement[str],
) -> sa.Select[*tuple[str, ...]]:
    return sa.select(
        student.c.student_id,
        (student.c.first_name + " " + student.c.last_name).label("student_name"),
        student.c.school_id,
        student.c.grade,
        kind.label("contact"),
        contact_id.label("contact_id"),
        category.label("category"),
        *(contact.c[name] for name in Recipient._fields[Recipient._fields.index("first_name") :]),
    )


def _speaks(audience: Audience | StaffAudience, contact: sa.FromClause) -> Iterator[sa.ColumnElement[bool]]:
    if audience.languages:
        yield sa.func.lower(contact.c.language).in_([language.lower() for language in audience.languages])


def _of_student(
    tx: sa.Connection, catalogue: Catalogue, account_id: int, audience: Audience, students: sa.FromClause
) -> Iterator[sa.ColumnElement[bool]]:
    # As an expression, or SQLite takes each student's associations for those of every student in the list.
    student_id = students.c.student_id.concat("")
    if audience.schools:
        yield students.c.school_id.in_(audience.schools)
    if audience.grades:
        yield students.c.grade.in_(audience.grades)
    if audience.absent_on is not None:
        absent = _absent(tx, catalogue, account_id, audience).cte()
        yield student_id.in_(sa.select(absent.c.student_id))
    if audience.sections or audience.courses or audience.class_periods or audience.as_user is not None:
        enrolled = _enrolled(tx, catalogue, account_id, audience).cte()
        yield student_id.in_(sa.select(enrolled.c.student_id))


def _absent(
    tx: sa.Connection, catalogue: Catalogue, account_id: int, audience: Audience
) -> sa.Select[*tuple[str, ...]]:
    assert audience.absent_on is not None
    absences = values(tx, catalogue["attendance"], account_id, ["student_id", "absence_date", "period"]).subquery()
    query = sa.select(absences.c.student_id).where(absences.c.absence_date == audience.absent_on.isoformat())
    return query.where(absences.c.period.in_([*audience.periods, ""])) if audience.periods else query


def _enrolled(
    tx: sa.Connection, catalogue: Catalogue, account_id: int, audience: Audience
) -> sa.Select[*tuple[str, ...]]:
    """The ids of the students who are in a class of the audience."""
    by_class = bool(audience.courses or audience.class_periods)
    fields = ["student_id", "school_id", "section_id", *(["course_name", "period"] if by_class else [])]
    enrollments = values(tx, catalogue["enrollments"], account_id, fields).subquery()
    place = sa.tuple_(enrollments.c.school_id, enrollments.c.section_id)
    query = sa.select(enrollments.c.student_id)
    if audience.sections:
        query = query.where(enrollments.c.section_id.in_(audience.sections))
        if audience.schools:
            query = query.where(enrollments.c.school_id.in_(audience.schools))
    if audience.as_user is not None:
        query = query.where(place.in_(_taught_by(tx, catalogue, account_id, audience.as_user)))
    if by_class:
        sections = merged(tx, catalogue["sections"], account_id, ["school_id", "section_id", "course_name", "period"])
        same = sa.and_(
            sections.c.school_id == enrollments.c.school_id, sections.c.section_id == enrollments.c.section_id
        )
        query = query.outerjoin(sections, same)
        for name, asked in (("course_name", audience.courses), ("period", audience.class_periods)):
            if asked:  # what the sections file says of a class counts; an enrollment's own word where that is silent
                query = query.where(sa.func.coalesce(sections.c[name], enrollments.c[name]).in_(asked))
    return query


def _taught_by(tx: sa.Connection, catalogue: Catalogue, account_id: int, user: str) -> sa.Select[*tuple[str, ...]]:
    teachers = merged(tx, catalogue["teachers"], account_id, ["user_name", "teacher_id"])
    teacher = tx.execute(sa.select(teachers.c.teacher_id).where(teachers.c.user_name == user)).scalar()
    if teacher is None:
        raise UnknownUser(f"The account has no active teacher with the user name {user!r}.")
    sections = values(tx, catalogue["sections"], account_id, ["school_id", "section_id", "staff_id"]).subquery()
    return sa.select(sections.c.school_id, sections.c.section_id).where(sections.c.staff_id == teacher)
