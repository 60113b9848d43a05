"""What the processor does by itself now and then, once over all nodes; see landingzone.job."""

from datetime import time, timedelta

from landingzone.job import Daily, Every, Job, Work
from landingzone.notices import notice
from landingzone.notices.sender import Post, send_waiting
from processor import receipt, retention
from processor.arrival_watch import ArrivalWatch
from processor.context import Context


def jobs_of(here: Context) -> tuple[Job, ...]:
    """Every job of the processor."""
    arrivals, notify = here.settings.arrivals, here.settings.notify
    watch, post = ArrivalWatch(here), Post(notify)

    def old_receipts(work: Work) -> dict[str, int]:
        return {"removed": receipt.remove_old(here.zone, days=here.settings.processor.receipt_days, work=work)}

    def send(work: Work) -> dict[str, int] | None:
        return send_waiting(here.db, post, work.commit, work.go_on) or None

    def old_notices(work: Work) -> dict[str, int]:
        with work.commit() as tx:
            return {"removed": notice.remove_old(tx)}

    def retained(work: Work) -> dict[str, int]:
        return {
            f"{part}_{what}": count
            for part, remove in retention.PARTS.items()
            for what, count in remove(here, work).items()
        }

    return (
        Job("receipts", Every(timedelta(hours=1)), old_receipts),
        Job("arrivals", Every(timedelta(seconds=arrivals.watch_seconds)), watch.look),
        Job("notices", Every(timedelta(seconds=notify.send_seconds)), send),
        Job("old_notices", Every(timedelta(days=1)), old_notices),
        Job("retention", Daily(time.fromisoformat(here.settings.retention.at)), retained),
    )
