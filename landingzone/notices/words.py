"""Notices in plain words: which district, which file, since when, what to do. Pure."""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from landingzone.notices.notice import Kind, Notice

_SUBJECTS = {
    Kind.LATE: "late",
    Kind.CAME: "came after all",
    Kind.HELD: "held",
    Kind.FAILED: "failed",
    Kind.REJECTED: "rejected",
    Kind.UNRECOGNISED: "under unknown names",
    Kind.BROADCAST: "missing for a broadcast",
    Kind.MANY: "too many to list",
    Kind.TEST: "test",
}


def subject(notices: Sequence[Notice]) -> str:
    """A mail's subject: what happened how often, and the district if it is one."""
    counts = {kind: sum(1 for one in notices if one.kind is kind) for kind in Kind}
    told = ", ".join(f"{count} {_SUBJECTS[kind]}" for kind, count in counts.items() if count)
    names = {one.account for one in notices}
    return f"Landing zone: {told}" + (f" ({names.pop()})" if len(names) == 1 else f" ({len(names)} districts)")


def sentence(notice: Notice, *, for_district: bool = False) -> str:
    """What happened, and what to do: for the operator, or for the district's own people."""
    said = notice.said
    who = f"{notice.title} ({notice.account})" if notice.title else notice.account
    file = f"{said.get('source', '')} ({said.get('file', '')})"
    landed = f"landed {_clock(notice, 'landed_at')}"
    run = said.get("run", "")
    landing = str(run).partition(":")[0]
    show = f"`landingzone runs show {run}`"
    match notice.kind:
        case Kind.LATE:
            what = f"{file} was due {_clock(notice, 'due_at')} and is not in."
            came = f" It {landed} and ended {said['outcome']}." if said.get("outcome") else " Nothing has come."
            ask = f"`landingzone doctor {notice.account}` says what is known of it; then ask the district."
            district = "Please look whether your export ran, and send the file. Its receipt says what became of it."
            do = district if for_district else (f"{show} says why." if run and said.get("outcome") else ask)
            return f"{who}: {what}{came} {do}"
        case Kind.CAME:
            return f"{who}: {file}, which was due {_clock(notice, 'due_at')}, is in since {_clock(notice, 'in_at')}."
        case Kind.HELD:
            what = f"{file}, {landed}, is held and not imported: {said.get('why', '')}"
            district = f"We look at it. Your receipt says more (landing {landing})."
            do = district if for_district else f"{show}, then approve or reject it."
            return f"{who}: {what} {do}"
        case Kind.FAILED:
            return f"{who}: {file}, {landed}, could not be imported, for a reason of ours. {show}; repair, then retry."
        case Kind.REJECTED:
            district = f"Your receipt says why (landing {landing}); please correct it and send it again."
            return f"{who}: {file}, {landed}, cannot be used. {district if for_district else f'{show} says why.'}"
        case Kind.UNRECOGNISED:
            district = (
                f"Your receipt says which names are expected (landing {landing}); please rename it and send again."
            )
            do = district if for_district else f"{show}; then the district renames it, or `landingzone feeds expect`."
            return f"{who}: a file, {landed}, has a name that nobody expects. {do}"
        case Kind.BROADCAST:
            what = f"{', '.join(said.get('sources', []))} not in for the broadcast {said.get('broadcast')}"
            return f"{who}: {what}, which goes out {_clock(notice, 'goes_out_at')}. `landingzone due {notice.account}`."
        case Kind.MANY:
            what = (
                f"more than {said.get('more_than')} notices of {said.get('of')} within an hour; no more are sent of it."
            )
            return f"{who}: {what} `landingzone runs list --account {notice.account}`."
        case Kind.TEST:
            return f"{who}: this is a test. Nothing has happened, and nothing is to be done."


def _clock(notice: Notice, name: str) -> str:
    """A time of the facts in the account's time zone."""
    text = notice.said.get(name)
    if not text:
        return ""
    moment = datetime.fromisoformat(text).astimezone(ZoneInfo(notice.time_zone))
    return f"{moment:%a %d %b %H:%M %Z}"
