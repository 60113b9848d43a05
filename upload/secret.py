"""Secrets, from where the settings say they lie: a variable, or the system's keyring. None stands in the settings."""

import os

from upload.errors import SettingsError


def secret_of(variable: str, entry: str, *, what: str) -> str | None:
    """The secret in a variable, or in the keyring's entry `service/user`; None if neither is named.

    Raises SettingsError, which calls it `what`.
    """
    if variable:
        found = os.environ.get(variable)
        if not found:
            raise SettingsError(f"The variable {variable}, which holds the {what}, is not set.")
        return found
    if not entry:
        return None
    service, _, user = entry.partition("/")
    try:
        import keyring  # noqa: PLC0415 - of the extra `odbc`
        import keyring.errors  # noqa: PLC0415 - likewise
    except ImportError:
        raise SettingsError("The keyring is not installed here: run pip install 'landingzone[odbc]'.") from None
    try:
        found = keyring.get_password(service, user)
    except keyring.errors.KeyringError as wrong:
        raise SettingsError(f"The keyring cannot be read ({type(wrong).__name__}); use a variable.") from None
    if not found:
        raise SettingsError(f"The keyring has no {entry}: run keyring set {service} {user}.")
    return found
