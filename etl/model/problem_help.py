"""What each problem code means, and what to do, as docs/reference/problem-codes.md says it."""

from __future__ import annotations

from typing import NamedTuple

from etl.model.values import ProblemCode


class ProblemHelp(NamedTuple):
    """What a problem means, and its remedy; commands and names are in backticks."""

    means: str
    remedy: str


PROBLEM_HELP: dict[ProblemCode, ProblemHelp] = {
    ProblemCode.ACCESS_REFUSED: ProblemHelp(
        "The object store lists the object but refuses to return it.",
        "Allow the access key to read the object. Every run retries it.",
    ),
    ProblemCode.READER_KILLED: ProblemHelp(
        "Each Dask worker that read the object was killed, usually because it needed more memory"
        " than the worker may use.",
        "Give the workers more memory, or split the file. Every run retries it.",
    ),
    ProblemCode.EMPTY_FILE: ProblemHelp(
        "The file is empty, or contains only white space or a byte order mark.",
        "Upload the file again, or remove it.",
    ),
    ProblemCode.WRONG_FORMAT: ProblemHelp(
        "The first bytes of the file show that it is of another format than its name or"
        " `format` says.",
        "Rename the file, or export it in the right format, as the note says.",
    ),
    ProblemCode.CORRUPT_ARCHIVE: ProblemHelp(
        "The compressed file, workbook or Parquet file is cut short or damaged, a checksum"
        " differs, or other bytes follow its end. No row of it is read.",
        "Upload the file again from its origin. If that does not help, create it again.",
    ),
    ProblemCode.ENCRYPTED_ARCHIVE: ProblemHelp(
        "The zip archive or workbook is protected by a password, or the Parquet file is encrypted.",
        "Save it without a password.",
    ),
    ProblemCode.UNSUPPORTED_ARCHIVE: ProblemHelp(
        "The zip archive does not contain exactly one file, or the file is compressed by a"
        " method that is not supported. Or a column of a Parquet file has a type that is not"
        " read.",
        "Upload each file by itself, compressed by the usual method.",
    ),
    ProblemCode.ARCHIVE_TOO_LARGE: ProblemHelp(
        "The content of the compressed file is larger than `EXPANDED_MAX_SIZE` or more than 500"
        " times as large as the file, or the workbook is too large to be read in memory. Or a"
        " few bytes of a Parquet file stand for more rows, texts or elements than they can by"
        " chance, or a page or the lists of a row group expand to more than 1 GB.",
        "Split the file, or raise the setting. Export a large sheet as CSV.",
    ),
    ProblemCode.UNKNOWN_SHEET: ProblemHelp(
        "The workbook has no sheet with the name or place in `sheet`, or this sheet is a chart.",
        "Correct `sheet`, or rename the sheet. The note lists the sheets.",
    ),
    ProblemCode.NO_ROWS: ProblemHelp(
        "A warning: the header is valid, but no row follows. Or a JSON array is empty.",
        "Add the rows, or remove the file if it is not needed.",
    ),
    ProblemCode.UNDECODABLE: ProblemHelp(
        "The file begins like UTF-16 but is not valid UTF-16, or its header is neither UTF-8"
        " nor cp1252. If only a row is neither, the problem belongs to that row and only the row"
        " is rejected. So is a row with surrogates encoded as UTF-8 (CESU-8), which some"
        " databases export instead of emoji. A row of NDJSON or JSON that is not UTF-8, or has"
        " half of a surrogate pair (`\\ud800`), is such a problem as well.",
        "Export the data as CSV in UTF-8 and upload that.",
    ),
    ProblemCode.GUESSED_ENCODING: ProblemHelp(
        "A warning: some lines of the file are not UTF-8 and were read as cp1252 (Western"
        " European); all others were read as UTF-8. The note names up to five of these lines and"
        " counts the others; `value` is the first one as it was read.",
        "Check the accented letters in those lines, then save the file as UTF-8.",
    ),
    ProblemCode.MISSING_COLUMN: ProblemHelp(
        "The header lacks a required column: a field with `required = true` or a column of"
        " `primaryKey` that does not come from the path; for `users` `first_name`, `last_name`"
        " or `birthts`. Or it has none of the columns that the dataset declares. Or a file of"
        " `users` has no `user_id` column and its name contains no user id. The note lists the"
        " names that the dataset accepts, with aliases, and those in the file. It also says if"
        " the whole header was read as one column because the file has another delimiter than"
        " the dataset or the extension `.tsv` requires. Or no row of an NDJSON or JSON file has"
        " a column that the dataset declares.",
        "Add or rename the column that the note names, or, in a declared dataset, add the"
        " header of the file to the field's `aliases`. Remove a line above the header. If the"
        ' delimiter is wrong, rename the file to `.csv` or set `format = "csv"`, which detects'
        " the delimiter, or correct `dialect`. For a missing user id, name the file"
        " `<user_id>.csv` or add a `user_id` column. Case, order, quotes and surrounding space"
        " do not matter.",
    ),
    ProblemCode.TOO_MANY_COLUMNS: ProblemHelp(
        "The header has more than 1,000 columns. Its rows are not read. In NDJSON and JSON, a"
        " row with more than 1,000 members is rejected.",
        "Remove the columns that are not needed.",
    ),
    ProblemCode.DUPLICATE_COLUMN: ProblemHelp(
        "Two columns have the same name. A column without a name is called `column_<n>` after"
        " its position. In NDJSON and JSON, an object has two members for the same column; only"
        " that row is rejected.",
        "Rename or remove columns until each name occurs once.",
    ),
    ProblemCode.UNKNOWN_COLUMN: ProblemHelp(
        "The header has a column that the dataset does not declare, and the dataset refuses"
        ' such files (`unknown_columns = "refuse"`).',
        "Remove or rename the column, declare it, add it to the `aliases` of a field, or set"
        " `unknown_columns` to `extra` or `add`.",
    ),
    ProblemCode.DECLARED_COLUMN_ABSENT: ProblemHelp(
        "A warning: the file lacks a declared column that is not required, and it has columns"
        " that the dataset does not declare. One of these may be the declared column under"
        " another name. The file is loaded, the declared column is null in all of its rows, and"
        " the cells of the others are in `_extra` or in columns of their own. If the column is"
        " that of `prefer`, there is a warning even if the file has no undeclared columns,"
        " because its rows then lose to all rows of the same key that have a value. There is no"
        " warning for columns from the path, nor for the dataset `users`.",
        "Add the header to the `aliases` of the field. If it is another column, declare it, or"
        " remove it from the file. Once the declaration changes, the files are read again.",
    ),
    ProblemCode.COLUMN_KEPT_IN_EXTRA: ProblemHelp(
        "A warning. The dataset adds the columns of its files to the table (`unknown_columns ="
        ' "add"`), but the table cannot get this one: its name is missing, longer than 63'
        " bytes or begins with `_`, another column has the same name in lower case, the name is"
        " reserved, or files have added 200 columns already. Its cells are in `_extra`.",
        "Rename or remove the column.",
    ),
    ProblemCode.TOO_MANY_FAULTS: ProblemHelp(
        "The share of faulty rows is greater than the dataset allows (`refuse_object_above`),"
        " so no row of the file is loaded and all count as rejected. The problems of the faulty"
        " rows are listed too.",
        "Correct the faulty rows and upload the file again, or raise the limit.",
    ),
    ProblemCode.ROWS_WITHOUT_ID: ProblemHelp(
        "The file has no `user_id` column, so its name is the id of all of its rows. But at"
        " least two valid rows differ in `first_name`, `last_name`, `birthts` or an unknown"
        " column. The right row is unknown, so no row of the file is loaded and all count as"
        " rejected. Other problems of the object are listed after this one is fixed. Equal rows"
        " are not a problem: the last one is loaded, the others are shadowed.",
        "Add a `user_id` column, or put each user in a separate file.",
    ),
    ProblemCode.REPEATED_HEADER: ProblemHelp(
        "A warning: the header is repeated among the rows, with the same columns in the same"
        " order. These lines are skipped and do not count as rows. The note names up to five of"
        " them and counts the others.",
        "Nothing is required, because the rows are loaded. Remove the lines to avoid the warning.",
    ),
    ProblemCode.MISSING_TRAILING_CELLS: ProblemHelp(
        "A warning: some rows lack trailing cells of unknown columns. They are read as if these"
        " cells were blank. The note names up to five of these rows and counts the others;"
        " `value` is the first one. A row that lacks a cell of a known column is a `short-row`.",
        "Check that the rows are complete.",
    ),
    ProblemCode.EPOCH_SECONDS: ProblemHelp(
        "A warning: every valid `birthts` of the file is a number that, as milliseconds, lies"
        " in January or February 1970 and, as seconds, would be a birthdate not in the future."
        " There is no warning if both give the same date, as for `0`.",
        "Multiply `birthts` by 1,000 if it is in seconds.",
    ),
    ProblemCode.MORE_PROBLEMS: ProblemHelp(
        "The object's rows have more than 1,000 problems. The first 1,000, by line, are stored;"
        " the note counts the others by code. This is an error because rows are rejected; the"
        " valid rows of the object are loaded.",
        "Correct the rows and upload the file. The next run lists the problems that remain.",
    ),
    ProblemCode.UNSUPPORTED_TYPE: ProblemHelp(
        "A warning: the object is of a type that its dataset does not read, by its extension,"
        " and is not used. `users` reads CSV, TSV and images (png, jpg, jpeg, webp, gif) that no"
        " other dataset includes.",
        "If its extension is wrong, correct it. If a dataset is to read it, add its key to"
        " `include`. Otherwise store it in another bucket.",
    ),
    ProblemCode.RETIREMENT_BLOCKED: ProblemHelp(
        "A warning: a row left the bucket, but a foreign key of another table, or a trigger"
        " that raises an error, prevents its removal. It stays in the table, and every run tries"
        " again.",
        "Change or delete the rows that refer to it, or drop the foreign key or trigger. The"
        " note names it.",
    ),
    ProblemCode.CORRUPT_IMAGE: ProblemHelp(
        "The image starts as a JPEG, PNG, WebP or GIF but cannot be decoded completely, or it"
        " crashed the decoder. Metadata that does not affect display is not decoded and cannot"
        " cause this problem. A file that lacks only its end marker counts as complete: a JPEG"
        " without end marker, a PNG without `IEND`, a GIF without trailer. The user keeps the"
        " `img_path`; there is no thumbnail.",
        "Upload the image again.",
    ),
    ProblemCode.IMAGE_TOO_LARGE: ProblemHelp(
        "A warning: the image has more bytes than `IMAGE_MAX_BYTES` or more pixels than"
        " `IMAGE_MAX_PIXELS`, or decoding it takes longer than `IMAGE_TIMEOUT` or more memory"
        " than `IMAGE_MEMORY_MB`. There is no thumbnail.",
        "Upload a smaller image, or raise the limit that the note names and run `./run.sh"
        " images --again`.",
    ),
    ProblemCode.UNSUPPORTED_IMAGE: ProblemHelp(
        "A warning: the object's extension is that of an image, but its contents are not a"
        " JPEG, PNG, WebP or GIF. The extension need not match the format. There is no"
        " thumbnail.",
        "Save the image in one of the four formats and upload it.",
    ),
    ProblemCode.SHORT_ROW: ProblemHelp(
        "The row has fewer cells than the header, and at least one of the missing cells belongs"
        " to `user_id`, `first_name`, `last_name` or `birthts`.",
        "Add the missing cells. Only cells of columns that are not required may be blank.",
    ),
    ProblemCode.LONG_ROW: ProblemHelp(
        "The row has more cells than the header, and the additional cells are not blank.",
        "Put double quotes around a cell that contains the delimiter:"
        ' `Susan,"Lee,MD",612302400000`.',
    ),
    ProblemCode.UNCLOSED_QUOTE: ProblemHelp(
        "A quoted cell that begins on this line is not closed properly. Only this line is"
        " rejected, and parsing continues with the next line. A header must be one line; there it"
        " is a problem of the object.",
        'End the cell with one `"` just before the delimiter, and double a quote inside it:'
        ' `"Susan ""Sue""",Lee,612302400000`.',
    ),
    ProblemCode.NUL_BYTE: ProblemHelp(
        "A cell contains the character NUL, which PostgreSQL text cannot contain. In a header"
        " it is a problem of the object.",
        "Remove the NUL characters; they often indicate a damaged export.",
    ),
    ProblemCode.CELL_TOO_LONG: ProblemHelp(
        "A cell has more than 10,000 characters, or a `user_id` more than 1,024 bytes in UTF-8."
        " In a declared dataset, a cell has more than 1,048,576 characters, or a cell of a key"
        " or an index has more bytes than the limit in the note. A row of NDJSON or JSON may"
        " have 4 MB.",
        "Shorten the cell, or check for a missing line ending or delimiter.",
    ),
    ProblemCode.MISSING_CELL: ProblemHelp(
        "A required cell is blank: `first_name`, `last_name`, `birthts`, or `user_id` if the"
        " file has that column.",
        "Fill in the cell, or remove the row.",
    ),
    ProblemCode.ERROR_VALUE: ProblemHelp(
        "The formula of a workbook's cell has an error, so there is no value.",
        "Correct the formula and save the workbook again, or add the error to `missingValues`"
        " if it means null.",
    ),
    ProblemCode.FORMULA_WITHOUT_VALUE: ProblemHelp(
        "The cell of a workbook has a formula, and the file does not contain its value, because"
        " the program that wrote it does not calculate.",
        "Open the workbook in a spreadsheet program and save it, or write values in place of"
        " formulas.",
    ),
    ProblemCode.NOT_AN_INTEGER: ProblemHelp(
        "A value of an `integer` field is not a whole number: digits with an optional sign,"
        " perhaps with `.0` at the end, and with the field's `groupChar` only before exactly"
        " three digits. Or `birthts`, or another field of the type `epoch-ms`, is neither integer"
        " milliseconds nor an ISO 8601 date or time.",
        "Write a whole number, for example `1234`. Write the birth time as integer milliseconds"
        " since 1970-01-01 UTC, such as `612302400000`, or as `1989-05-27`. Negative numbers are"
        " times before 1970.",
    ),
    ProblemCode.NOT_A_NUMBER: ProblemHelp(
        "A value of a `number` field is not a number: digits with an optional sign, decimals"
        " and exponent, with the field's `decimalChar` and `groupChar`. A group separator is"
        " accepted only before exactly three digits. NaN and infinity are accepted only in"
        " columns of `double precision` and `real`.",
        "Write the number as the note shows, or declare the separators of the file as"
        " `decimalChar` and `groupChar`.",
    ),
    ProblemCode.TOO_MANY_DECIMALS: ProblemHelp(
        "A number has more decimals than its column can hold. It is not rounded. Zeros at the"
        " end do not count.",
        "Round the number in the file, or declare a larger scale in `sql`.",
    ),
    ProblemCode.NUMBER_OUT_OF_RANGE: ProblemHelp(
        "A number has more digits than its column can hold, or, in an `epoch-ms` field, is a"
        " time outside the years 1 to 9999. A number that a float would turn into infinity or 0"
        " is out of range, too.",
        "Correct the number, or declare a wider type in `sql`.",
    ),
    ProblemCode.NOT_A_BOOLEAN: ProblemHelp(
        "A value of a `boolean` field is in neither `trueValues` nor `falseValues`. Letter case"
        " matters.",
        "Write one of the values that the note lists, or add the value to `trueValues` or"
        " `falseValues`.",
    ),
    ProblemCode.NOT_A_DATE: ProblemHelp(
        "A value of a `date` field does not have the declared format (ISO 8601 by default), or"
        " is a day that does not exist. Years are 0001 to 9999.",
        "Write the date as the note shows, or declare the `format` of the file.",
    ),
    ProblemCode.NOT_A_TIME: ProblemHelp(
        "A value of a `time` field does not have the declared format (ISO 8601 by default), or"
        " is a time that does not exist. A time has no offset, and at most six decimals.",
        "Write the time as the note shows.",
    ),
    ProblemCode.NOT_A_DATETIME: ProblemHelp(
        "A value of a `datetime` field does not have the declared format (ISO 8601 by default),"
        " does not exist in the calendar, or is outside the years 1 to 9999 in UTC. An ISO 8601"
        " date without a time is midnight.",
        "Write the date and time as the note shows, or declare the `format` of the file.",
    ),
    ProblemCode.NONEXISTENT_TIME: ProblemHelp(
        "The local time does not exist in the field's `timezone`, because clocks are put"
        " forward over it.",
        "Correct the time, or write it with its offset from UTC.",
    ),
    ProblemCode.AMBIGUOUS_TIME: ProblemHelp(
        "A warning: the local time occurs twice in the field's `timezone`, because clocks are"
        " put back. The earlier time is loaded.",
        "Write the time with its offset from UTC if the hour matters.",
    ),
    ProblemCode.NOT_A_YEAR: ProblemHelp(
        "A value of a `year` field is not four digits from 0001 to 9999.",
        "Write the year with four digits.",
    ),
    ProblemCode.NOT_JSON: ProblemHelp(
        "A value of an `object`, `array` or `any` field is not JSON, is JSON of another type,"
        " or cannot be stored as `jsonb`: with a key twice in one object, NaN, the character"
        " `\\u0000`, half of a surrogate pair, a number with too many digits, or more than 200"
        " levels. Or, in NDJSON and JSON, a row is not one JSON object, has NaN, or is nested"
        " too deep; the note says where the error is. If the whole file is at fault, the problem"
        " has no line: a JSON array is cut off, something follows it, or the file does not have"
        " the array that `dialect.property` names.",
        "Correct the JSON at the place that the note names.",
    ),
    ProblemCode.BELOW_MINIMUM: ProblemHelp(
        "The value is less than the `minimum` of its field, or not greater than"
        " `exclusiveMinimum`.",
        "Correct the value.",
    ),
    ProblemCode.ABOVE_MAXIMUM: ProblemHelp(
        "The value is greater than the `maximum` of its field, or not less than"
        " `exclusiveMaximum`.",
        "Correct the value.",
    ),
    ProblemCode.TOO_SHORT: ProblemHelp(
        "The value has fewer characters than `minLength`; of an array or object, fewer items.",
        "Correct the value.",
    ),
    ProblemCode.TOO_LONG: ProblemHelp(
        "The value has more characters than `maxLength` or than its column type has room for;"
        " of an array or object, more items than `maxLength`.",
        "Shorten the value, or declare a longer type in `sql`.",
    ),
    ProblemCode.PATTERN_MISMATCH: ProblemHelp(
        "The whole value does not match the `pattern` of its field, or is not a UUID for the"
        " column type `uuid`.",
        "Correct the value as the note says. A pattern must match the value from its first"
        " character to its last.",
    ),
    ProblemCode.NOT_IN_ENUM: ProblemHelp(
        "The value is not in the `enum` of its field. Letter case matters.",
        "Write one of the values that the note lists, or add the value to `enum`.",
    ),
    ProblemCode.BIRTHDATE_OUT_OF_RANGE: ProblemHelp(
        "The UTC date of `birthts` is before 1900-01-01 or after today.",
        "Correct `birthts`. The note names the resulting date and the unit that the value seems"
        " to have.",
    ),
}
