"""Pieces of each format that damage inserts, and that are known to be delicate."""

from __future__ import annotations

from tests.any_files import LINES, OTHER_MEMBERS, TEXTS, VALUES

CSV = (
    *(one.encode() for one in TEXTS if len(one) < 50),
    *(b",", b";", b"\t", b"|", b'"', b'""', b'","', b'"\n', b"'", b"\n", b"\r", b"\r\n", b"\r\r\n"),
    *(b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xe9", b"\xc3", b"\xed\xa0\x80", b"\xc2\x85", b"\x1a"),
    *(b"\xe2\x80\xa8", b"\x0b", b"\x0c", b"\x1c", b"f0", b"id", b"user_id", b"f0,f1,f2\n"),
    *(b"sep=;\n", b"_extra", b'a"b', b",,,,", b"=1+1", b"#", b"\\N", b"x" * 70),
)
JSON = (
    *(one.encode() for one in VALUES if len(one) < 500),
    *LINES,
    *OTHER_MEMBERS,
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"',
        b"\\",
        b"\\u",
        b"\\ud83d",
        b"\\u0000",
        b"\n",
        b"\r",
    ),
    *(b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xe9", b"\xed\xa0\x80", b" ", b"\t", b"\x0b", b"//"),
    *(b'"f0"', b'"id"', b'"data"', b"},{", b"}\n{", b"][", b'{"a":', b"-", b"e9", b"1e", b"0" * 40),
)
XML = (
    *(b"\0", b"<c>", b'<c r="XFD9"/>', b'<c r="ZZZ1048577"><v>1</v></c>', b'<c r="A1048576"/>'),
    *(
        b'r="A99999999"',
        b'r="AAAAAAA1"',
        b"<c><v>1</v></c>",
        b'<row r="1048576">',
        b'<c r="CV9999">',
    ),
    *(
        b'<row><c t="str"><v>a</v></c></row>',
        b'<c r="A900000"><v>1</v></c>',
        b"<c><v>1</v></c>" * 9,
    ),
    *(b"<v>1e999</v>", b"<v>NaN</v>", b"<v>-1</v>", b"<v>2958466</v>", b"<v>0.9999999999</v>"),
    *(b't="d"', b't="s"', b't="e"', b't="b"', b't="str"', b't="inlineStr"', b' s="999"', b' r="1"'),
    *(
        b"&#x0;",
        b"&lol;",
        b"&amp;",
        b"&#55296;",
        b"&#1114112;",
        b"]]>",
        b"<![CDATA[",
        b"<!--",
        b"-->",
    ),
    *(b"</row><row>", b"<row r='9'/>", b"</sheetData>", b"<f>1+1</f>", b"<f/>", b"<f t='shared'/>"),
    *(b"<!DOCTYPE a>", b"<?xml", b"<mergeCell ref='A1:B2'/>", b"<dimension ref='A1:XFD1048576'/>"),
    *(b"9" * 30, b"-1", b"\xff\xfe", b"xmlns:x='y'", b"x:", b"1900", b"date1904='1'", b"rId9"),
    *(b"<t>", b"</t>", b"<is>", b"_x000D_", b"_x0000_", b"sheet1.xml", b"../", b"/xl/", b"C:\\"),
    *(b"state='hidden'", b"<si/>", b"<r><t>a</t></r>", b'<numFmt numFmtId="164" formatCode="["/>'),
)
BYTES = (
    *(
        b"\0",
        b"\0\0\0\0",
        b"\xff",
        b"\xff\xff\xff\xff",
        b"\x7f",
        b"\x80\x01",
        b"\xff\xff\xff\xff\x0f",
    ),
    *(b"\xff" * 9 + b"\x01", b"\x15\x00", b"\x15\x02", b"\x19\x1c", b"\x1c", b"\x18\x00", b"\x12"),
    *(b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x07\x08"),
    *(b"\x1f\x8b", b"\x1f\x8b\x08\x1f", b"BZh1", b"BZh9", b"1AY&SY", b"\x17rE8P\x90"),
    *(b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"PAR1", b"PARE", b"ARROW:schema", b"x" * 32),
    *(b"\x01\x00\x10\x00\x00\x00\x00\x00", b"../../x", b"a\0b", b"\xc3\x28"),
)
