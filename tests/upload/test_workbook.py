"""A workbook as a source: the sheet that is named, its cells as a person sees them."""

import os
import time
import zipfile
from pathlib import Path

import pytest

from upload.command import Setup
from upload.errors import NotExtracted
from upload.folder import Folder
from upload.preparation import prepare

SPREADSHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
TYPES = (
    f'<Types xmlns="{PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/></Types>'
)
STYLES = f'<styleSheet xmlns="{SPREADSHEET}"><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>'


def text(value: str) -> str:
    """A cell of text."""
    return f'<c t="inlineStr"><is><t>{value}</t></is></c>'


def sheet(*rows: list[str]) -> str:
    """A sheet of rows of cells."""
    body = "".join(f"<row>{''.join(row)}</row>" for row in rows)
    return f'<worksheet xmlns="{SPREADSHEET}"><sheetData>{body}</sheetData></worksheet>'


def write_workbook(path: Path, sheets: dict[str, str]) -> None:
    """An .xlsx with these sheets, which looks as if it had been written long ago."""

    def relations(*targets: tuple[str, str, str]) -> str:
        made = "".join(f'<Relationship Id="{id_}" Type="{OFFICE}/{kind}" Target="{to}"/>' for id_, kind, to in targets)
        return f'<Relationships xmlns="{PACKAGE}/relationships">{made}</Relationships>'

    names = "".join(f'<sheet name="{name}" sheetId="{at}" r:id="r{at}"/>' for at, name in enumerate(sheets, 1))
    links = [(f"r{at}", "worksheet", f"worksheets/sheet{at}.xml") for at in range(1, len(sheets) + 1)]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", TYPES)
        archive.writestr("_rels/.rels", relations(("b", "officeDocument", "xl/workbook.xml")))
        archive.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{SPREADSHEET}" xmlns:r="{OFFICE}"><sheets>{names}</sheets></workbook>'
        )
        archive.writestr("xl/_rels/workbook.xml.rels", relations(*links, ("s", "styles", "styles.xml")))
        archive.writestr("xl/styles.xml", STYLES)
        for at, content in enumerate(sheets.values(), 1):
            archive.writestr(f"xl/worksheets/sheet{at}.xml", content)
    os.utime(path, (time.time() - 3600,) * 2)


def test_the_named_sheet_is_taken_with_its_cells_as_a_person_sees_them(tmp_path: Path) -> None:
    names = [text(name) for name in ("Staff ID", "First Name", "Last Name", "Phone", "School ID", "Hired")]
    write_workbook(
        tmp_path / "staff.xlsx",
        {
            "Old": sheet(names, [text("1"), text("Old"), text("One"), "<c><v>2175550100</v></c>", text("014")]),
            "Active": sheet(
                [text("Staff of 2026")],
                names,
                [
                    *(text("0017"), text("Zoë"), text('O"Hara, Jr'), "<c><v>2175550101</v></c>", "<c><v>14.0</v></c>"),
                    '<c s="1"><v>46053</v></c>',
                ],
            ),
        },
    )
    settings = tmp_path / "landingzone-upload.toml"
    settings.write_text(
        f'[server]\nhost = "h"\naccount = "a"\nhost_keys = ["SHA256:{"x" * 43}"]\n'
        '[[source]]\nfeed = "staff"\nspreadsheet = "staff.xlsx"\nsheet = "Active"\n'
    )
    setup = Setup(Folder(tmp_path))
    (one,) = prepare(setup, setup.settings.source[0])
    assert one.outgoing.path.read_bytes().decode() == (
        '"staff_id","last_name","first_name","phone","school_id","Hired"\r\n'
        '"0017","O""Hara, Jr","Zoë","2175550101","14","01/31/2026"\r\n'
    )
    assert (one.refusal, one.outgoing.name) == ("", "staff.csv")
    one.discard()
    settings.write_text(settings.read_text().replace("Active", "Now"))
    setup = Setup(Folder(tmp_path))
    with pytest.raises(NotExtracted, match="There are: Old, Active"):
        list(prepare(setup, setup.settings.source[0]))
