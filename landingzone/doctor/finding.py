"""Findings: what a check saw, and what to do about it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import structlog

log = structlog.get_logger()


class Severity(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and will not for ever; or somebody should look."""
    PROBLEM = "problem"
    """Files do not land or are not imported, or they are not safe."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: the check's stable name.
        severity: how bad it is.
        found: what was seen, one sentence.
        advice: what to do, a sentence or two; empty where all is well.
    """

    check: str
    severity: Severity
    found: str
    advice: str = ""


Check = Callable[[], Iterable[Finding]]


def examine(checks: Mapping[str, Check]) -> list[Finding]:
    """Run every check; one that cannot look is a problem of its own, and the others go on."""
    findings: list[Finding] = []
    for name, check in checks.items():
        try:
            findings += check()
        except Exception as error:
            log.error("doctor.check_failed", check=name, exc_info=error)
            found = f"This could not be looked at ({type(error).__name__})."
            findings.append(Finding(name, Severity.PROBLEM, found, "Run the doctor as the service's user."))
    return findings


def worst(findings: Iterable[Finding]) -> Severity:
    """The worst of all."""
    order = list(Severity)
    return max((finding.severity for finding in findings), key=order.index, default=Severity.OK)
