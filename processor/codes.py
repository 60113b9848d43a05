"""Every stable code that a receipt can hold, declared once: what it means, and the sentence that the customer reads.

Pure data. The receipt, the reject file, the documentation and the tests all come from here. A sentence says what to
do; it never holds the value itself and never a path.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a code does to the row or the file it is about."""

    REJECT = "reject"
    """The row is not imported."""
    WARNING = "warning"
    """The row is imported, perhaps without one value."""
    TOLERATED = "tolerated"
    """The file departs from the ideal, and was read all the same."""
    UNREADABLE = "unreadable"
    """The whole file could not be read."""


@dataclass(frozen=True, slots=True)
class Code:
    """One stable code.

    Attributes:
        code: as it stands in receipts; never changes its meaning.
        kind: what it does to the row or file.
        message: sentence for the customer; may hold {field}, {limit}, {line}, {count}, {names}.
        doc: one sentence for the documentation.
    """

    code: str
    kind: Severity
    message: str
    doc: str


_REJECT, _WARNING, _TOLERATED, _UNREADABLE = Severity.REJECT, Severity.WARNING, Severity.TOLERATED, Severity.UNREADABLE

ALL: tuple[Code, ...] = (
    # --- the columns
    Code(
        "columns_changed",
        _TOLERATED,
        "The columns are not those of the last file: {field}. Tell us if that was not meant.",
        "The header has other columns, or the same in another order, than the last file that was applied.",
    ),
    Code(
        "columns_twice",
        _TOLERATED,
        "These columns stand more than once, so that none of them could be used: {field}. Name each column once.",
        "Several columns have one name, and the field that it means cannot be told; a required field then is missing.",
    ),
    Code(
        "columns_unused",
        _TOLERATED,
        "These columns were not used: {field}.",
        "Columns whose header names no field.",
    ),
    # --- a value of the row
    Code(
        "required_empty",
        _REJECT,
        "{field} is empty: fill it in, every row needs one.",
        "A required field has no value.",
    ),
    Code(
        "too_long",
        _REJECT,
        "{field} is longer than {limit} characters: shorten it.",
        "A required field has more characters than its limit.",
    ),
    Code(
        "phone_digits",
        _REJECT,
        "{field} does not come to exactly 10 digits: give area code and number, for example 919-555-0123.",
        "A required phone number is not 10 digits once formatting, a leading 1 and an extension are taken off.",
    ),
    Code(
        "email_invalid",
        _REJECT,
        "{field} is not an e-mail address: write it as name@example.org.",
        "A required e-mail address is not of the form name@domain.",
    ),
    Code(
        "date_invalid",
        _REJECT,
        "{field} is no date that can be told for certain: write it as mm/dd/yyyy.",
        "A date that is required, or part of the key, is impossible or may mean several days.",
    ),
    Code(
        "periods_unclear",
        _REJECT,
        "The columns of periods do not say which ones were missed: write the period's number in each, or X.",
        "Numbered columns of periods hold marks whose meaning is not certain (the same value twice, 0, letters).",
    ),
    Code(
        "date_day_first",
        _REJECT,
        "{field} seems to have the day first, and may mean two days: write it as mm/dd/yyyy, or as yyyy-mm-dd.",
        "Other dates of the file, or the day on which it came, say that its dates may have the day first.",
    ),
    Code(
        "id_rewritten",
        _REJECT,
        "{field} was rewritten by a spreadsheet: export this column as text, as your system has it.",
        "An identifier such as 1.2E+08, 1,001 or ='12', which no longer says what it was.",
    ),
    Code(
        "id_no_value",
        _REJECT,
        "{field} holds no identifier, but a word for nothing, a total or a line: fill it in, or leave the line out.",
        "NULL, N/A, Total, ----- and the like where an identifier belongs.",
    ),
    Code(
        "id_unseen",
        _REJECT,
        "{field} holds a character that nobody sees (a blank of a special kind, one of no width): type it anew.",
        "An identifier with an invisible character within it, which would be another one than it seems.",
    ),
    Code(
        "cell_error",
        _REJECT,
        "{field} holds what a spreadsheet shows instead of a value (#N/A, #REF!): repair the cell.",
        "A spreadsheet's error in a required field.",
    ),
    Code(
        "duplicate_key",
        _REJECT,
        "Line {line} already has this {field} with other details: keep one row and remove the other.",
        "Two different rows have one key; the first stays, the later ones are rejected.",
    ),
    # --- the line itself
    Code(
        "damaged_fields",
        _REJECT,
        "The line does not have as many fields as the others: put values that contain the separator in double quotes.",
        "The number of fields differs from that of the header (or of the other lines).",
    ),
    Code(
        "damaged_quote",
        _REJECT,
        "A double quote stands where none belongs: put the value in double quotes and each quote inside it twice.",
        "A quote stands inside a value that is not quoted, or follows neither the start nor the end of one.",
    ),
    Code(
        "damaged_unclosed",
        _REJECT,
        "A value opens with a double quote and never closes: add the closing quote.",
        "A quoted value has no end; the line is given up and reading goes on with the next one.",
    ),
    Code(
        "damaged_nul",
        _REJECT,
        "The line holds NUL bytes: export the file again as plain text.",
        "The line holds a NUL byte, which no text has.",
    ),
    Code(
        "damaged_encoding",
        _REJECT,
        "The line holds bytes that are no characters in the file's encoding: export the file as UTF-8.",
        "Bytes of the line mean nothing in the encoding that the whole file is in.",
    ),
    Code(
        "damaged_header",
        _REJECT,
        "The line seems to be a second line of column names: leave it out, one header line is enough.",
        "The line below the header holds names of columns (known ones, or STUDENTS.DCID) or dashes, and no digit.",
    ),
    Code(
        "damaged_line_end",
        _REJECT,
        "A carriage return stands in the middle of the line: end every line with CR LF and put line breaks in quotes.",
        "A bare CR stands outside quotes in a file whose lines end with LF, and the parts are not whole lines.",
    ),
    # --- warnings: the row is imported
    Code(
        "phone_blanked",
        _WARNING,
        "{field} does not come to exactly 10 digits and was left out (rows: {count}): give area code and number.",
        "An optional phone number is not 10 digits; the value is left out, the row imported.",
    ),
    Code(
        "email_blanked",
        _WARNING,
        "{field} is not an e-mail address and was left out (rows: {count}): write it as name@example.org.",
        "An optional e-mail address is not of the form name@domain; the value is left out, the row imported.",
    ),
    Code(
        "too_long_blanked",
        _WARNING,
        "{field} is longer than {limit} characters and was left out (rows: {count}): shorten it.",
        "An optional value has more characters than its limit; the value is left out, the row imported.",
    ),
    Code(
        "null_left_out",
        _WARNING,
        "{field} holds NULL, as databases write that there is nothing, and was taken as empty (rows: {count}).",
        "NULL, (null) or \\N in an optional value.",
    ),
    Code(
        "placeholder_blanked",
        _WARNING,
        "{field} holds a word for nothing, or a spreadsheet's error, and was left out (rows: {count}): leave it empty.",
        "N/A, none, - or #REF! in an optional value; the value is left out, the row imported.",
    ),
    Code(
        "id_blanked",
        _WARNING,
        "{field} holds no usable identifier and was left out (rows: {count}): export this column as text.",
        "An optional identifier that is a word for nothing or was rewritten by a spreadsheet.",
    ),
    Code(
        "name_doubtful",
        _WARNING,
        "{field} holds no name, as far as can be told (NULL, N/A, no letter), and was taken (rows: {count}): check it.",
        "A name that may be a word for nothing; it is imported, as it may be somebody's name.",
    ),
    Code(
        "phone_undialable",
        _WARNING,
        "{field} is ten digits that no telephone has (it begins with 0 or 1, or all are alike) (rows: {count}): check.",
        "A number that cannot be dialled; it is imported, as it has the ten digits that are asked for.",
    ),
    Code(
        "date_blanked",
        _WARNING,
        "{field} is no date that can be told for certain and was left out (rows: {count}): write it as mm/dd/yyyy.",
        "An optional date is impossible or may mean several days; the value is left out, the row imported.",
    ),
    Code(
        "period_range",
        _WARNING,
        "{field} holds a range such as 1-3, which was kept as one period (rows: {count}): list each one: 1,2,3.",
        "A range of periods could be the name of one; it is kept as it stands.",
    ),
    Code(
        "group_left_out",
        _WARNING,
        "{field} is empty or faulty, so its group of columns was left out; what was known stays (rows: {count}).",
        "A further guardian of a families file is incomplete; that guardian stays as last known.",
    ),
    Code(
        "details_differ",
        _WARNING,
        "{field} came before with other details, and those of its first line were taken (rows: {count}).",
        "Rows give one record several times, with details that differ (a guardian of several children).",
    ),
    Code(
        "id_shared",
        _WARNING,
        "{field} is also the id of a person of another kind in this file (rows: {count}): ids must differ.",
        "A guardian has the id of a student of the same file.",
    ),
    Code(
        "extension_cut",
        _WARNING,
        "{field} has an extension, which cannot be dialled and was cut (rows: {count}).",
        "A phone number had an extension (x12, ext. 12), which was cut.",
    ),
    Code(
        "expected_empty",
        _WARNING,
        "{field} is empty (rows: {count}): fill it in where there is one.",
        "A field that is expected, though not required, has no value (the alternative phone of students and staff).",
    ),
    Code(
        "expected_missing",
        _WARNING,
        "There is no column {field}: add it, even where it is often empty.",
        "The file lacks the column of a field that is expected, though not required.",
    ),
    Code(
        "identical_rows",
        _WARNING,
        "Rows that repeat an earlier one in every field were taken once (rows: {count}).",
        "Rows that are identical collapse to one record.",
    ),
    Code(
        "shared_value",
        _WARNING,
        "{field} is the same as in an earlier row (rows: {count}): check that they belong together.",
        "A value that usually belongs to one row stands in several (the teacher id of teacher accounts).",
    ),
    Code(
        "number_like",
        _WARNING,
        "{field} ends in .0, as a spreadsheet writes numbers, and was read without (rows: {count}): export it as text.",
        "A whole number as a spreadsheet has rewritten it (1001.0) is read as the number that it was (1001).",
    ),
    Code(
        "zeros_lost",
        _WARNING,
        "{field} comes with and without leading zeros for one number (rows: {count}): export this column as text.",
        "Identifiers that differ only in leading zeros stand in one file, as when a spreadsheet has cut them.",
    ),
    Code(
        "case_differs",
        _WARNING,
        "{field} differs from another one only in upper and lower case (rows: {count}): check that two are meant.",
        "Identifiers that differ only in case are two; often one of them was mistyped.",
    ),
    # --- tolerated: the file departs from the ideal (ASCII, CR LF, quoted, with a header)
    Code(
        "encoding_utf8",
        _TOLERATED,
        "The file is UTF-8 rather than plain ASCII.",
        "Characters beyond ASCII, in UTF-8.",
    ),
    Code("encoding_utf8_bom", _TOLERATED, "The file is UTF-8 with a byte order mark.", "UTF-8 with a byte order mark."),
    Code("encoding_utf16", _TOLERATED, "The file is UTF-16 rather than plain ASCII.", "UTF-16, with or without mark."),
    Code(
        "encoding_cp1252",
        _TOLERATED,
        "The file is Windows-1252 rather than plain ASCII: check accented names; UTF-8 is safer.",
        "Characters beyond ASCII that are not UTF-8, read as Windows-1252.",
    ),
    Code("line_end_lf", _TOLERATED, "Lines end with LF rather than CR LF.", "Lines end with LF."),
    Code("line_end_cr", _TOLERATED, "Lines end with CR rather than CR LF.", "Lines end with a bare CR."),
    Code("line_end_mixed", _TOLERATED, "Lines end in different ways.", "Lines end with CR here and LF there."),
    Code("delimiter_semicolon", _TOLERATED, "Fields are separated by semicolons, not commas.", "Semicolons."),
    Code("delimiter_tab", _TOLERATED, "Fields are separated by tabs, not commas.", "Tabs."),
    Code("delimiter_pipe", _TOLERATED, "Fields are separated by |, not commas.", "Vertical bars."),
    Code(
        "delimiter_named",
        _TOLERATED,
        "The first line names the separator (sep=), as a spreadsheet writes it; it was skipped.",
        "A first line `sep=;`.",
    ),
    Code(
        "unquoted",
        _TOLERATED,
        "Not every value stands in double quotes: a stray separator in a value would damage its line.",
        "Values stand without double quotes.",
    ),
    Code(
        "space_around_quotes",
        _TOLERATED,
        "Blanks stand between a separator and a double quote; they were set aside.",
        "Blanks before an opening or after a closing quote.",
    ),
    Code(
        "no_header",
        _TOLERATED,
        "There is no header line: columns were taken by their position.",
        "The first line is data, not names.",
    ),
    Code(
        "header_repeated",
        _TOLERATED,
        "The header line stands again further down and was skipped.",
        "A line equal to the header, as when files were joined.",
    ),
    Code(
        "lines_before_header",
        _TOLERATED,
        "Lines above the header line (a title, a date) were skipped: the header should be the first line.",
        "Up to ten lines that fill no more than half of the columns stand above the header.",
    ),
    Code(
        "formula_text",
        _TOLERATED,
        'Values are written as a spreadsheet\'s formulas (="014") and were read as the text in the quotes.',
        'Values of the form `="014"`.',
    ),
    Code(
        "trailing_delimiter",
        _TOLERATED,
        "Every line ends with a separator, as if one more, empty field followed.",
        "A separator at the end of each line.",
    ),
    Code(
        "last_line_without_end",
        _TOLERATED,
        "The last line has no line end: check that the file is whole.",
        "The file does not end with a line end; together with another sign it counts as cut off.",
    ),
    Code(
        "blank_lines",
        _TOLERATED,
        "Lines without any value were skipped.",
        "Lines that are empty, or hold only blanks or separators; they are not counted as rows.",
    ),
    Code("compressed_gzip", _TOLERATED, "The file came compressed with gzip.", "gzip."),
    Code("compressed_zip", _TOLERATED, "The file came in a zip archive.", "zip with one member."),
    Code("compressed_zstd", _TOLERATED, "The file came compressed with zstd.", "Zstandard."),
    Code("spreadsheet", _TOLERATED, "The file is a spreadsheet rather than CSV.", "A workbook (.xlsx, .xlsm, .xls)."),
    Code(
        "spreadsheet_numbers",
        _TOLERATED,
        "Cells are stored as numbers: leading zeros, if there were any, are lost. Format the columns as text.",
        "Numbers and dates of a workbook were turned into text (1.0 to 1, dates to mm/dd/yyyy).",
    ),
    Code(
        "spreadsheet_sheets",
        _TOLERATED,
        "The workbook has several sheets with content; only one was read.",
        "The first sheet whose first row is a header of the feed is read, else the first with content.",
    ),
    Code("fixed_width", _TOLERATED, "The file has columns of fixed width.", "Fixed width, with declared widths."),
    # --- the whole file
    Code(
        "empty_file",
        _UNREADABLE,
        "The file is empty: check the export, and send it again.",
        "No byte, or nothing but blank lines.",
    ),
    Code(
        "not_text",
        _UNREADABLE,
        "The file is no table of text: send CSV, or a workbook (.xlsx), plain or as gzip, zip or zstd.",
        "Binary content of an unknown kind.",
    ),
    Code(
        "archive_kind",
        _UNREADABLE,
        "The file is packed in a way that is not read here: use zip, gzip or zstd, or send it plain.",
        "7z, rar, bzip2, xz, tar and other archives.",
    ),
    Code(
        "archive_encrypted",
        _UNREADABLE,
        "The archive or workbook is protected by a password: send it without one; the transfer itself is encrypted.",
        "An encrypted zip or workbook.",
    ),
    Code(
        "archive_members",
        _UNREADABLE,
        "The archive must hold exactly one file: send each file in an archive of its own.",
        "A zip with no member or with several.",
    ),
    Code(
        "archive_nested",
        _UNREADABLE,
        "The archive holds another archive or a workbook: send that by itself.",
        "Packed twice.",
    ),
    Code(
        "archive_damaged",
        _UNREADABLE,
        "The file cannot be unpacked to its end: it is damaged or was cut off. Send it again.",
        "A checksum fails or the end is missing.",
    ),
    Code(
        "too_large",
        _UNREADABLE,
        "The file unpacks to more than is accepted here: ask us if your data is really that large.",
        "The unpacked size, or its ratio to the packed size, is beyond the limit.",
    ),
    Code(
        "line_too_long",
        _UNREADABLE,
        "The file has a line of many megabytes: it is no table, or its line ends are lost. Export it again.",
        "A single line longer than the limit.",
    ),
    Code(
        "header_damaged",
        _UNREADABLE,
        "The header line is damaged, so the columns cannot be told apart: repair it and send the file again.",
        "The first line holds known column names, but a stray quote or a NUL byte among them.",
    ),
    Code(
        "header_misplaced",
        _UNREADABLE,
        "The header line stands below lines that seem to be rows: put it first, and send the file again.",
        "A header is found further down, and what is above it is more than titles.",
    ),
    Code(
        "headers_differ",
        _UNREADABLE,
        "A second header line with other columns stands further down, as when files were joined: send them one by one.",
        "Below another header the columns may mean something else.",
    ),
    Code(
        "spreadsheet_unreadable",
        _UNREADABLE,
        "The workbook cannot be opened: save it again as .xlsx or as CSV.",
        "A workbook that is damaged, or of a kind that is not read (.xlsb, .ods).",
    ),
)


def by_code() -> dict[str, Code]:
    """All codes by their name."""
    return {each.code: each for each in ALL}


_BY_CODE = by_code()

#: The codes of each kind, by name, in the order of the documentation.
REJECTS = {each.code: each for each in ALL if each.kind is Severity.REJECT}
WARNINGS = {each.code: each for each in ALL if each.kind is Severity.WARNING}
TOLERATED = {each.code: each for each in ALL if each.kind is Severity.TOLERATED}
UNREADABLE = {each.code: each for each in ALL if each.kind is Severity.UNREADABLE}


def message(code: str, *, field: str = "", limit: int = 0, line: int = 0, count: int = 0) -> str:
    """The sentence of a code, with its blanks filled in.

    Raises KeyError for a code that is not declared.

    >>> message("required_empty", field="Student ID Number")
    'Student ID Number is empty: fill it in, every row needs one.'
    """
    return _BY_CODE[code].message.format(field=field, limit=limit, line=line, count=count)
