"""Notes on landings: an account's ids rise over all doors, whatever their clocks say."""

import threading

from landingzone import landing_record
from landingzone.account import Accounts
from landingzone.db import Database
from landingzone.landing import IdMaker, Landing


def test_the_ids_of_an_account_rise_also_when_a_clock_is_behind(any_db: Database) -> None:
    for name in ("ahead", "other"):
        Accounts(any_db).add(name, title="", time_zone="UTC", actor="test")
    make = IdMaker()
    future = "f1f1f1f1-0000-7000-8000-000000000000"
    with any_db.write() as tx:
        assert landing_record.note_newest(tx, Landing(future, "ahead", "a.csv"), size=1, mtime=0) == ""
        assert landing_record.note_newest(tx, Landing(make(), "ahead", "a.csv"), size=1, mtime=0) == future
        above = make.above(future)
        assert above > future
        assert landing_record.note_newest(tx, Landing(above, "ahead", "a.csv"), size=1, mtime=0) == ""
        mine = make()
        assert mine < future  # the others' ids keep to the clock
        assert landing_record.note_newest(tx, Landing(mine, "other", "a.csv"), size=1, mtime=0) == ""


def test_of_doors_that_note_at_once_none_notes_below_another(any_db: Database) -> None:
    Accounts(any_db).add("district", title="", time_zone="UTC", actor="test")
    noted: list[str] = []

    def door() -> None:
        make = IdMaker()
        for _ in range(20):
            with any_db.write() as tx:
                landing = Landing(make(), "district", "a.csv")
                while newest := landing_record.note_newest(tx, landing, size=1, mtime=0):
                    landing = Landing(make.above(newest), "district", "a.csv")
                noted.append(landing.id)  # while no other one can note

    doors = [threading.Thread(target=door) for _ in range(4)]
    for one in doors:
        one.start()
    for one in doors:
        one.join(60)
    assert len(noted) == 80
    assert noted == sorted(noted)
