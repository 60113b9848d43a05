"""Notices by e-mail: one plain mail for each address, whatever happened within a minute together."""

import ipaddress
import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import format_datetime

from landingzone.clock import now
from landingzone.notices.notice import Notice
from landingzone.notices.target import Target
from landingzone.notices.webhook import NotTaken
from landingzone.notices.words import sentence, subject
from landingzone.settings import NotifySettings

SECONDS = 20.0
"""How long the mail server may take for each answer."""
MOST_SENTENCES = 100
"""In one mail; what is beyond is counted."""


def mail_of(notices: Sequence[Notice], target: Target, *, sender: str) -> EmailMessage:
    """The mail that tells an address these notices."""
    for_district = bool(target.of_account)
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = target.address
    mail["Subject"] = " ".join(subject(notices).split())
    mail["Date"] = format_datetime(now())
    mail["Message-ID"] = f"<{notices[0].message_id}.{len(notices)}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    told = [sentence(one, for_district=for_district) for one in notices[:MOST_SENTENCES]]
    if len(notices) > MOST_SENTENCES:
        told.append(f"And {len(notices) - MOST_SENTENCES} more: `landingzone due` and `landingzone runs list`.")
    mail.set_content("\n\n".join(" ".join(one.split()) for one in told) + "\n")
    return mail


def send(mail: EmailMessage, settings: NotifySettings, *, password: str) -> None:
    """Hand a mail to the mail server; raises NotTaken with a stable word, and the server's code where it gave one."""
    secured = ssl.create_default_context() if settings.smtp_security != "none" else None
    try:
        with _connected(settings, secured) as server:
            if settings.smtp_security == "starttls":
                server.starttls(context=secured)
            if settings.smtp_user:
                server.login(settings.smtp_user, password)
            server.send_message(mail)
    except smtplib.SMTPRecipientsRefused as refused:
        raise NotTaken("recipient " + ",".join(str(code) for code, _ in refused.recipients.values())) from refused
    except smtplib.SMTPResponseException as refused:
        raise NotTaken(f"smtp {refused.smtp_code}") from refused
    except ssl.SSLCertVerificationError as error:
        raise NotTaken("certificate") from error
    except TimeoutError as error:
        raise NotTaken("timeout") from error
    except (OSError, smtplib.SMTPException, UnicodeError) as error:
        raise NotTaken("connection") from error


def _connected(settings: NotifySettings, secured: ssl.SSLContext | None) -> smtplib.SMTP:
    if settings.smtp_security == "tls":
        return smtplib.SMTP_SSL(settings.smtp_host, settings.smtp_port, timeout=SECONDS, context=secured)
    return smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=SECONDS)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
