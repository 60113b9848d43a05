"""What the processor does by itself now and then, once over all nodes; see landingzone.job."""

from datetime import timedelta

from landingzone.job import Every, Job, Work
from processor import receipt
from processor.context import Context


def jobs_of(here: Context) -> tuple[Job, ...]:
    """Every job of the processor."""

    def old_receipts(work: Work) -> dict[str, int]:
        return {"removed": receipt.remove_old(here.zone, days=here.settings.processor.receipt_days, work=work)}

    return (Job("receipts", Every(timedelta(hours=1)), old_receipts),)
