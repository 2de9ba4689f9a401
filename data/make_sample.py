# ruff: noqa: INP001 - a script, not part of a package
"""Make the sample input, data/src: 60 users, images for most, and deliberate oddities.

    python data/make_sample.py [FOLDER]

writes it into FOLDER (by default src, next to this file), always with the same bytes. People
and dates are invented. A first run on it loads 60 users and shows the problems that users
meet most:

plain         1000 … 1044, one row each; some in north/ and south/2024/; 0001 keeps its zeros
formats       1050 semicolons, BOM and CRLF; 1051 in cp1252 (a warning); 1052 in UTF-16
many a file   team.csv has a user_id column and seven users: quoted commas, doubled quotes, a
              line break in a name; 1053.csv has two columns more, which are kept
bad rows      1054 an ambiguous date; 1055 born in 2200; 1056 a short row;
              evening.csv an unclosed quote, 2102, among three good rows
bad files     1057 lacks last_name; 1058 is a line end; 1059 has a header and no row
doubles       1005.csv and archive/1005.csv (one shadows the other); 1007 has two images
images        png, jpg, jpeg, webp and gif, in small letters and in capitals; some in avatars/
              for CSVs elsewhere; 9999.png belongs to no user; every seventh user has none
no input      ._1000.csv and .DS_Store, which are ignored; notes.txt, which is no user's
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HEADER = "first_name, last_name, birthts\n"

FIRST_NAMES = (
    "Ada Bruno Clara Dmitri Elif Farid Greta Hugo Ines Jonas Kira Liam Mona Nils Olga Pavel Quinn "
    "Rosa Sami Tara Ugo Vera Wanda Xenia Yusuf Zora Anton Bella Cyril Dana Emil Fiona Goran Hana "
    "Ivan Julia Karim Lena Marek Nadia Oscar Petra Rafael Sonja Timo"
)
LAST_NAMES = (
    "Ashford Bergman Castillo Dubois Eriksen Fontana Gruber Haddad Ivanova Jansen Kovacs Lindqvist "
    "Moreau Novak Okafor Petrenko Quist Romano Sandoval Tanaka Ullmann Vasquez Whitlock Xu Yilmaz "
    "Zeman Aldana Brandt Cermak Delgado Engel Ferrari Galanis Horvat Ibarra Jokinen Keller Larsen "
    "Mancini Nowak Orlov Pereira Rinaldi Svensson Toth"
)
FOLDERS = ("",) * 30 + ("north/",) * 8 + ("south/2024/",) * 7
IMAGE_FORMATS = ("png", "jpg", "PNG", "webp", "gif", "jpeg", "JPG", "png")


def milliseconds(year: int, month: int, day: int) -> int:
    """Midnight UTC of that day, in milliseconds since 1970."""
    return (datetime(year, month, day, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)


def plain_users() -> dict[str, bytes]:
    """One comma-and-space CSV per user, 1000 … 1044, in three folders."""
    files = {}
    people = zip(FIRST_NAMES.split(), LAST_NAMES.split(), FOLDERS, strict=True)
    for number, (first, last, folder) in enumerate(people):
        # Steps that share no factor with the ranges spread the birthdays over 1945 … 2009,
        # so about every third birthts is negative.
        birthts = milliseconds(1945 + number * 23 % 65, 1 + number * 5 % 12, 1 + number * 11 % 28)
        files[f"{folder}{1000 + number}.csv"] = f"{HEADER}{first}, {last}, {birthts}\n".encode()
    return files


def odd_formats() -> dict[str, bytes]:
    """CSVs that are right, though written in other ways."""
    semicolons = "first_name;last_name;birthts\r\nJürgen;Weiß;-86400000\r\n"
    western = f"{HEADER}Zoë, Nuñez, {milliseconds(1988, 2, 29)}\n"
    wide = f"{HEADER}Łukasz, Żak, {milliseconds(1979, 12, 31)}\n"
    return {
        "0001.csv": f"{HEADER}Nora, Zeroth, 0\n".encode(),
        "1050.csv": semicolons.encode("utf-8-sig"),
        "1051.csv": western.encode("cp1252"),
        # Written out, as encode("utf-16") takes the byte order of the machine.
        "1052.csv": b"\xff\xfe" + wide.encode("utf-16-le"),
        "1053.csv": (
            "City, Birthts, LAST_NAME, first_name, Department\n"
            f"Lisbon, {milliseconds(1990, 6, 15)}, Sousa, Inês, Archive\n"
        ).encode(),
    }


def many_users_a_file() -> dict[str, bytes]:
    """Two CSVs with a user_id column; the second holds the unclosed quote."""
    team = (
        "user_id,first_name,last_name,birthts\n"
        '2000,"Mary ""Mae""",Holloway,-315619200000\n'
        '2001,Sven,"Berg, Jr.",412300800000\n'
        '2002,"Anna\nMaria",Schwarz,631152000000\n'
        "2003,李,小龙,-920160000000\n"
        "2004,Seán,O'Neill,951782400000\n"
        "2005, Priya , Raman ,1077926400000\n"
        '2006,"Theo",Lang,189302400000\n'
    )
    evening = (
        "user_id,first_name,last_name,birthts\n"
        "2100,Paula,Early,536457600000\n"
        "2101,Lotte,Later,547084800000\n"
        '2102,"Otto,Unclosed,541814400000\n'
        "2103,Viktor,Last,552441600000\n"
    )
    return {"team.csv": team.encode(), "evening.csv": evening.encode()}


def faulty_files() -> dict[str, bytes]:
    """CSVs of which no row can be loaded."""
    future = milliseconds(2200, 1, 1)
    return {
        "1054.csv": f"{HEADER}Dated, Wrongly, 31.12.1999\n".encode(),
        "1055.csv": f"{HEADER}Future, Unborn, {future}\n".encode(),
        "1056.csv": f"{HEADER}Short, Row\n".encode(),
        "1057.csv": b"first_name, surname, birthts\nRenamed, Column, 500000000000\n",
        # Not of 0 bytes: after such an upload the aws command waits a minute for its connection.
        "1058.csv": b"\n",
        "1059.csv": HEADER.encode(),
    }


def doubles() -> dict[str, bytes]:
    """Write a second CSV for a user who has one."""
    birthts = milliseconds(1971, 3, 3)
    return {"archive/1005.csv": f"{HEADER}Farid, Formerly, {birthts}\n".encode()}


def no_input() -> dict[str, bytes]:
    """Leave what a computer or its owner leaves in a folder."""
    return {
        "._1000.csv": bytes.fromhex("00051607 00020000") + b"Mac OS X        " + bytes(40),
        ".DS_Store": bytes.fromhex("00000001") + b"Bud1" + bytes(56),
        "notes.txt": b"Exported on Friday. Ask Petra about the evening list.\n",
    }


def avatar(name: str) -> Image.Image:
    """Draw 64x64 pixels for a name: a mirrored pattern of squares in one colour, its own."""
    seed = sha256(name.encode()).digest()
    colour = (60 + seed[0] % 150, 60 + seed[1] % 150, 60 + seed[2] % 150)
    picture = Image.new("RGB", (64, 64), (240, 240, 236))
    draw = ImageDraw.Draw(picture)
    for row in range(5):
        for column in range(3):
            if seed[3 + row * 3 + column] % 2:
                for left in {column, 4 - column}:
                    x, y = 2 + left * 12, 2 + row * 12
                    draw.rectangle((x, y, x + 11, y + 11), fill=colour)
    return picture


def encoded(picture: Image.Image, extension: str) -> bytes:
    """Encode a picture in the format of that extension; only JPEG loses anything."""
    buffer = BytesIO()
    match extension.lower():
        case "jpg" | "jpeg":
            picture.save(buffer, "JPEG", quality=85)
        case "webp":
            picture.save(buffer, "WEBP", lossless=True)
        case "gif":
            picture.quantize(16).save(buffer, "GIF")
        case _:
            picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def image_keys(csv_keys: list[str]) -> list[str]:
    """List where images go: beside most CSVs, in avatars/ for those in north/, none for some."""
    keys = ["1007.jpg", "9999.png", "2000.png", "2003.webp", "2103.GIF"]
    for number, key in enumerate(sorted(csv_keys)):
        folder, _, name = key.rpartition("/")
        if (number + 2) % 7:
            place = "avatars/" if folder == "north" else f"{folder}/" if folder else ""
            extension = IMAGE_FORMATS[number % len(IMAGE_FORMATS)]
            keys.append(f"{place}{name.removesuffix('.csv')}.{extension}")
    return keys


def images(keys: list[str]) -> dict[str, bytes]:
    """Draw and encode an avatar for each key."""
    return {key: encoded(avatar(Path(key).stem), key.rpartition(".")[2]) for key in keys}


def sample() -> dict[str, bytes]:
    """Every file of the sample by its path below data/src."""
    users = plain_users() | odd_formats()
    texts = users | many_users_a_file() | faulty_files() | doubles() | no_input()
    return texts | images(image_keys(list(users)))


def write_sample(folder: Path) -> None:
    """Write the sample below folder, over what is there."""
    for key, content in sample().items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    write_sample(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "src")
