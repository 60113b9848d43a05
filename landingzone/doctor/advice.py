"""What each refused login means, and what to ask the customer to do. The reasons are those of `login.refused`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Advice:
    """About one reason.

    Attributes:
        meaning: what happened, one sentence.
        ask: what to ask the customer to do; empty where it is not the customer who has to.
        do: what the operator has to do; empty where there is nothing.
    """

    meaning: str
    ask: str = ""
    do: str = ""


_OUR_LINE = "Send the customer the fingerprint of our host key, from `ssh-keygen -lf` of the key in hostkeys/."

ADVICE = {
    "opened": Advice("A key opened the account."),
    "unknown_account": Advice(
        "The user name is no account's.",
        ask="Use exactly the account's name as the user name: lower case, no domain, no e-mail address.",
    ),
    "account_disabled": Advice(
        "The account is disabled.", do="`landingzone accounts enable ACCOUNT`, if it was disabled by mistake."
    ),
    "unknown_key": Advice(
        "The account does not know any key that was offered.",
        ask="Send the public half (the .pub file) of the key that the program uses, or let it use the one we know.",
        do="`landingzone keys add ACCOUNT FILE` with what they send, after a call back to a number that you know.",
    ),
    "key_revoked": Advice(
        "The key was revoked.",
        ask="Make a new key pair and send its public half.",
        do="`landingzone keys show ACCOUNT KEY` says why it was revoked; a revoked key is not taken back lightly.",
    ),
    "key_expired": Advice("The key's last day is over.", ask="Make a new key pair and send its public half."),
    "key_retired": Advice(
        "A new key has taken this one's place.", ask="Let every program use the new key: one still uses the old one."
    ),
    "wrong_network": Advice(
        "The key may not come from this address.",
        ask="Say whether the file now comes from another network or provider, and from which address.",
        do="`landingzone keys add ACCOUNT FILE --from NETWORK`, once they have confirmed the new one.",
    ),
    "old_signature": Advice(
        "The key is right, but the program signs with SHA-1 (ssh-rsa), as programs before 2017 do.",
        ask="Update the program (OpenSSH 7.2, WinSCP 5.10, PuTTY 0.70 or newer will do), or use an ed25519 key.",
        do="Only if they cannot: a second port for old systems, `legacy_port` in [door].",
    ),
    "unknown_authority": Advice(
        "The certificate was signed by an authority that is not trusted for this account.",
        ask="Let the certificate be signed by the authority that we know, or log in with a plain key.",
        do="`landingzone keys ca list` shows which are trusted.",
    ),
    "wrong_principal": Advice(
        "The certificate does not name this account.",
        ask="Have a certificate made that names the account as a principal, or use the account that it names.",
    ),
    "certificate_not_yet_valid": Advice(
        "The certificate's time has not come yet.", ask="Check the clock of the machine that signs certificates."
    ),
    "certificate_expired": Advice(
        "The certificate's time is over.", ask="Have a new certificate made; most programs do that by a schedule."
    ),
    "certificate_revoked": Advice(
        "The certificate was revoked.", ask="Have a new certificate made, of a new key if the old one was lost."
    ),
    "certificate_unusable": Advice(
        "The certificate is damaged, no user certificate, names no account, or demands what we do not do.",
        ask="Have a user certificate made that names the account and holds no option but source-address, "
        "of a key that is strong enough.",
    ),
    "key_not_proven": Advice(
        "The client offered a key that opens, and did not prove that it has the private half.",
        ask="Check that the private key's file is there, readable by the program's user, and its passphrase given.",
    ),
    "no_key_offered": Advice(
        "The client offered no key at all: most likely it tried a password, or it does not trust our host key.",
        ask="Set the program to log in with the key file (in OpenSSH: -i FILE), not with a password; "
        "check that the program's user can read it.",
    ),
    "nothing_said": Advice("Somebody looked whether the port is open, and said nothing: a monitor or a firewall."),
    "login_timeout": Advice(
        "The client did not finish its login in time.",
        ask="Check whether the program waits for somebody to type (a passphrase, a question about the host key).",
    ),
    "no_common_algorithm": Advice(
        "Client and server know no algorithm that both accept: the program is too old.",
        ask="Update the program (OpenSSH 7.2, WinSCP 5.10, PuTTY 0.70 or newer will do), or use another one.",
    ),
    "host_key_not_trusted": Advice(
        "The client does not know our host key, and went away.",
        ask="Enter our host key's fingerprint into the program, after comparing it with the one that we send.",
        do=_OUR_LINE,
    ),
    "protocol_error": Advice(
        "What came is not SSH as we know it: another protocol (FTP, FTPS, HTTP), or a device in between.",
        ask="Set the program to SFTP (SSH), not FTP or FTPS; check that no firewall rewrites the connection.",
    ),
    "too_many_keys": Advice(
        "The client offered many keys, one after the other, and none opens.",
        ask="Let the program offer the right key only (in OpenSSH: -o IdentitiesOnly=yes -i FILE).",
    ),
    "too_many_requests": Advice(
        "The client asked for a login again and again, without a key that opens.",
        ask="Look at the program's log: it repeats itself. Set it to log in with the key file.",
    ),
    "penalty": Advice(
        "The address has failed too often and has to wait.",
        ask="Stop the program that keeps failing, and repair its key or user name first.",
        do="`landingzone door penalties list`; `landingzone door penalties lift ADDRESS`, once the cause is gone.",
    ),
    "crowded_out": Advice(
        "It had not logged in yet, and others needed the place.",
        do="Look for a flood of connections; the limit is `unauthenticated`.",
    ),
    "sessions": Advice("The server has as many sessions as it may.", do="Raise `sessions` if the machine bears it."),
    "sessions_per_account": Advice(
        "The account has as many sessions as it may.",
        ask="Let the program close its connections, or use one for all files.",
    ),
}
"""By the outcome of a login attempt. A test holds that every reason has its advice."""

LEFT_AFTER_GREETING = Advice(
    "An SSH program greeted us, saw what we offer, and left before it showed a key: most often it knows no algorithm "
    "that we accept, or it does not trust our host key.",
    ask="Say what the program itself reports; update it if it names algorithms (OpenSSH 7.2, WinSCP 5.10, PuTTY 0.70 "
    "or newer will do), enter our host key's fingerprint if it names the host key.",
    do=_OUR_LINE,
)
"""In place of `nothing_said`, where there was a greeting."""

UNKNOWN = Advice("The login was refused.", do="Look into the log for `login.refused`.")
