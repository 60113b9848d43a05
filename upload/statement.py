"""What may be asked of a district's database: one SELECT, and nothing that writes. Pure.

The database itself is told to refuse writes, too (`upload.query`); this says so before anything is asked, and in words.
"""

import re
from typing import Final

from upload.errors import SettingsError

_TOKENS: Final = re.compile(
    r"""
    (?P<apart>   --[^\n]* | /\*.*?\*/ | \s+ )
  | (?P<text>    '(?:[^']|'')*' )
  | (?P<quoted>  "(?:[^"]|"")*" | `[^`]*` | \[[^\[\]\n]*\] )
  | (?P<word>    [^\W\d]\w* )
  | (?P<other>   . )
    """,
    re.VERBOSE | re.DOTALL,
)
_WRITES: Final = frozenset(
    {
        *("INSERT", "UPDATE", "DELETE", "MERGE", "INTO", "CREATE", "DROP", "ALTER", "TRUNCATE", "GRANT", "REVOKE"),
        *("EXEC", "EXECUTE", "CALL", "COPY", "VACUUM", "ATTACH", "PRAGMA", "LOCK", "COMMIT", "SET"),
    }
)
_VIEW: Final = re.compile(r"[^\W\d][\w$]*(?:\.[^\W\d][\w$]*){0,3}")


def of_view(view: str) -> str:
    """The statement that asks for a whole view; raises SettingsError if its name is not a plain one.

    >>> of_view("sis.students")
    'SELECT * FROM sis.students'
    """
    if not _VIEW.fullmatch(view):
        raise SettingsError(f"view = {view!r} is no plain name such as exports.students; write a query for it.")
    return f"SELECT * FROM {view}"  # noqa: S608 - a plain name, of the district's own settings


def checked(query: str) -> str:
    """The query without a last `;`, if it is one SELECT; raises SettingsError, saying what is not allowed.

    >>> checked("SELECT 'a;b' AS x; ")
    "SELECT 'a;b' AS x"
    """
    statement = query.strip().removesuffix(";").rstrip()
    words: list[str] = []
    for token in _TOKENS.finditer(statement):
        if token["other"] == ";":
            raise SettingsError("query: one statement only, so no `;` within it.")
        if token["other"] in {"'", '"', "`"}:
            raise SettingsError("query: a quote is not closed.")
        if token["word"]:
            words.append(token["word"].upper())
    if not words or words[0] not in {"SELECT", "WITH"}:
        raise SettingsError("query: only a SELECT (or a WITH that ends in one) may stand here.")
    if writes := _WRITES & set(words):
        raise SettingsError(
            f"query: {min(writes)} may write, so it is not allowed; put the name into quotes if it is a column's."
        )
    return statement
