"""The benchmark's own arithmetic: limits, data from a seed, and the results page."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest

from bench import faults, objects, order_data, reading_data, report, seaweed, tools
from bench.__main__ import measure
from bench.figures import Figure, Target, figure, load, save
from bench.machine import machine, versions
from bench.scale import QUICK
from bench.scenarios import plan
from bench.show import cells, markdown, number, summary, verdict
from bench.stack import EMBEDDED, SEAWEEDFS, STORES
from bench.tools import Tool
from etl.settings import Settings


def test_limit_is_factor_times_baseline_median_plus_allowance():
    target = Target(1.3, 0.5)
    passed = figure("s", "w", "s", [1.8], baseline_samples=[1, 1, 9], target=target)
    missed = figure("s", "w", "s", [1.81], baseline_samples=[1, 1, 9], target=target)
    assert (passed.bound, passed.passed, missed.passed) == (1.8, True, False)


def test_a_lower_bound_is_missed_by_a_smaller_value():
    target = Target(0.7, at_least=True)
    assert figure("s", "w", "MB/s", [71], baseline_samples=[100], target=target).passed
    assert not figure("s", "w", "MB/s", [69], baseline_samples=[100], target=target).passed


def test_limit_with_a_named_baseline_shows_it():
    target = Target(0.7, at_least=True, of="COPY")
    assert figure("s", "w", "MB/s", [71], target=target).says == "≥ 0.7 × COPY"  # noqa: RUF001
    assert Target(2, of="LIST").says == "≤ 2 × LIST"  # noqa: RUF001
    assert not Target(extra=3).says


def test_a_result_without_baseline_neither_passes_nor_misses():
    alone = figure(
        "s", "w", "s", [1.0], baseline="DuckDB", target=Target(1.0), note="not installed"
    )
    assert alone.passed is None
    assert alone.value == 1.0


def test_the_same_seed_gives_the_same_data():
    assert objects.big_csv(1000) == objects.big_csv(1000)
    assert list(objects.images(3)) == list(objects.images(3))


def test_another_version_changes_one_row_in_a_hundred():
    before, after = (objects.big_csv(1000, version).splitlines() for version in (0, 1))
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 10
    assert len(list(objects.changed_csvs(1000, 1))) == 10


def test_orders_are_the_same_each_time_and_in_any_number_of_files():
    whole = order_data.one_csv(1000)
    parts = [one.content.partition(b"\n") for one in order_data.csvs(1000, 7)]
    assert order_data.one_csv(1000) == whole
    assert len(parts) == 7
    assert parts[0][0] + b"\n" + b"".join(rows for _, _, rows in parts) == whole


def test_orders_are_written_in_the_notation_of_their_declaration():
    declared = tomllib.loads(order_data.DECLARATION.read_text("utf-8"))["datasets"]["orders"]
    text = order_data.one_csv(1000, quotes=True).decode()
    read = list(csv.DictReader(io.StringIO(text), delimiter=declared["dialect"]["delimiter"]))
    assert list(read[0]) == [field["name"] for field in declared["schema"]["fields"]]
    rows = order_data.rows(1000, quotes=True).to_pylist()
    for texts, row in zip(read, rows, strict=True):
        amount = texts["amount"].replace(".", "").replace(",", ".")
        assert Decimal(amount) == row["amount"]
        assert texts["updated_at"] == (
            row["updated_at"].strftime(order_data.TIME_FORMAT) if row["updated_at"] else ""
        )
        assert (texts["note"], texts["status"]) == (row["note"] or "", row["status"])
    assert any("." in texts["amount"] for texts in read)
    assert {len(texts["amount"]) for texts in read} > {6, 8}


def test_orders_have_quotes_only_where_they_are_asked_for():
    assert b'"' not in order_data.one_csv(1000)
    quoted = [line for line in order_data.one_csv(1000, quotes=True).splitlines() if b'"' in line]
    assert 200 < len(quoted) < 400


def test_no_order_was_changed_at_a_time_that_is_not_unique_in_its_zone():
    times = [row["updated_at"] for row in order_data.rows(20_000).to_pylist()]
    zone = ZoneInfo(order_data.ZONE)
    for time in filter(None, times):
        local = time.replace(tzinfo=zone)
        assert local.astimezone(UTC).astimezone(zone) == local
        assert local.utcoffset() == local.replace(fold=1).utcoffset()


def test_another_version_changes_the_amount_of_one_order_in_a_hundred():
    before, after = (order_data.rows(1000, version).to_pylist() for version in (0, 1))
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 10
    assert all(old | {"amount": new["amount"]} == new for old, new in changed)


def test_orders_without_groups_differ_from_others_only_in_them():
    grouped, plain = order_data.one_csv(100), order_data.one_csv(100, is_grouped=False)
    assert grouped != plain
    assert re.sub(rb";(\d)\.(\d{3},)", rb";\1\2", grouped) == plain


def test_orders_reach_a_second_prefix_beyond_a_million():
    ids = order_data.rows(order_data.PREFIX_ROWS + 1)["order_id"]
    assert [ids[0].as_py(), ids[-2].as_py(), ids[-1].as_py()] == [
        "AA-000000",
        "AA-999999",
        "AB-000000",
    ]


def test_compressed_orders_are_those_of_the_plain_file():
    (plain,), (compressed,) = (
        order_data.csvs(100, 1, is_compressed=given) for given in (False, True)
    )
    assert compressed.key == f"{plain.key}.gz"
    assert gzip.decompress(compressed.content) == plain.content


def test_readings_are_the_same_each_time_and_in_both_formats():
    rows = reading_data.rows(5_000)
    content = {name: write(rows) for name, write in reading_data.FORMATS.items()}
    assert reading_data.as_ndjson(reading_data.rows(5_000)) == content["ndjson"]
    lines = [json.loads(line) for line in content["ndjson"].splitlines()]
    for line in lines:
        line["measured_at"] = datetime.fromisoformat(line["measured_at"])
    assert lines == rows.to_pylist() == pq.read_table(io.BytesIO(content["parquet"])).to_pylist()


def test_readings_have_many_sensors_microseconds_and_nulls_in_the_order_of_time():
    rows = reading_data.rows(20_000)
    moments = rows["measured_at"].to_pylist()
    assert moments == sorted(moments)
    assert sum(moment.microsecond % 1000 > 0 for moment in moments) > 19_000
    assert len(set(rows["sensor"].to_pylist())) > 3_000
    assert 800 < rows["celsius"].null_count < 1_200


def test_every_planted_fault_is_in_lines_of_its_own():
    planted = faults.faulty_orders()
    lines, whole = planted.content.splitlines(), order_data.one_csv(faults.ROWS).splitlines()
    changed = {number for number, line in enumerate(lines, 1) if line != whole[number - 1]}
    assert len(lines) == len(whole)
    assert [len(some) for some in planted.lines.values()] == [faults.LINES_OF_EACH] * len(
        faults.FAULTS
    )
    assert changed == set().union(*planted.lines.values())
    assert len(changed) == faults.LINES_OF_EACH * len(faults.FAULTS)


@pytest.mark.skipif(not tools.PYTHON.exists(), reason="The baseline tools are not installed.")
def test_duckdb_reports_exactly_the_lines_that_it_is_said_to_report(tmp_path: Path):
    path = tmp_path / "faulty.csv"
    path.write_bytes(faults.faulty_orders().content)
    found = faults.ask_duckdb(path)
    assert set().union(*found.values()) == faults.reported_by_duckdb()
    assert {"CAST", "MISSING COLUMNS", "TOO MANY COLUMNS", "UNQUOTED VALUE"} == set(found)


def test_missing_baseline_tool_is_named_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tools, "PYTHON", tmp_path / "python")
    tool = Tool("duckdb_postgres", 1)
    tool.time(Settings(_env_file=None))
    assert tool.seconds == []
    assert "not installed" in tool.why_not


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the report to a temporary folder."""
    monkeypatch.setattr(report, "PAGE", tmp_path / "performance.md")
    monkeypatch.setattr(report, "CHART", tmp_path / "performance.svg")
    return tmp_path


def saved(folder: Path, name: str, *figures: Figure) -> Path:
    path = folder / "results" / name
    save(figures, "quick", machine(), path)
    return path


def test_saved_results_are_loaded_unchanged(tmp_path: Path):
    result = figure("tiny", "first", "s", [1, 2, 3], baseline="LIST", baseline_samples=[2])
    assert load(saved(tmp_path, "a.json", result))["figures"] == [result]


def test_results_describe_the_machine_but_not_its_owner(tmp_path: Path):
    facts = json.loads(saved(tmp_path, "a.json").read_text())["machine"]
    assert set(facts) == {
        "cores",
        "cpu",
        "memory_gb",
        "system",
        "kernel",
        "architecture",
        "python",
        "load_at_start",
        "load_at_end",
    }


def test_report_keeps_the_text_written_around_it(docs: Path):
    page = docs / "performance.md"
    page.write_text(f"# Mine\n\n{report.BEGIN}\nold\n{report.END}\n\nWhy.\n")
    result = figure("tiny", "first <run>", "s", [1.5], baseline="LIST", baseline_samples=[1.0])
    report.write_report([saved(docs, "a.json", result)])
    text = page.read_text()
    assert text.startswith("# Mine\n")
    assert text.endswith("\n\nWhy.\n")
    assert "| first <run> | 1.50 s | LIST | 1.00 s | 1.50 |" in text
    assert "old" not in text


def test_the_chart_is_well_formed_and_names_every_figure(docs: Path):
    result = figure(
        "tiny", "a & b", "s", [1.5], baseline="LIST", baseline_samples=[1], target=Target(2)
    )
    report.write_report([saved(docs, "a.json", result)])
    texts = [node.text for node in ET.parse(docs / "performance.svg").iter()]  # noqa: S314
    assert {"a & b", "LIST", "1.50 s", "1.00 s"} <= set(texts)


def test_the_last_file_with_a_result_counts(docs: Path):
    first = figure("tiny", "run", "s", [1.0])
    second = figure("tiny", "run", "s", [2.0])
    report.write_report([saved(docs, "a.json", first), saved(docs, "b.json", second)])
    assert "2.00 s" in (docs / "performance.md").read_text()
    assert "1.00 s" not in (docs / "performance.md").read_text()


def test_a_result_on_two_stores_is_shown_twice(docs: Path):
    first = figure("tiny", "run", "s", [1.0])
    second = replace(figure("tiny", "run", "s", [2.0]), store=SEAWEEDFS)
    report.write_report([saved(docs, "a.json", first), saved(docs, "b.json", second)])
    text = (docs / "performance.md").read_text()
    assert text.index("### tiny · JuiceFS") < text.index("1.00 s")
    assert text.index("### tiny · SeaweedFS") < text.index("2.00 s")


def test_a_replaced_result_is_not_listed(docs: Path):
    old, new = (replace(figure("tiny", "run", "s", [value])) for value in (1.0, 2.0))
    paths = [saved(docs, "a.json", old), saved(docs, "b.json", new)]
    report.write_report(paths)
    assert (docs / "performance.md").read_text().count("`tiny` on") == 1


def test_summary_counts_met_limits_and_names_missed_ones():
    met = figure("s", "quick one", "s", [1.0], target=Target(extra=2.0))
    missed = figure("s", "slow one", "s", [3.0], target=Target(extra=2.0))
    without = figure("s", "shown only", "s", [3.0])
    text = summary([met, replace(missed, store=SEAWEEDFS), without])
    assert text == "1 of 2 targets are met.\n- missed: slow one · SeaweedFS"


@pytest.mark.parametrize(
    ("value", "at_least", "result"),
    [(1.0, False, "pass"), (1.5, False, "miss, +50%"), (0.5, True, "miss, -50%")],
)
def test_missed_limit_shows_by_how_much(value: float, at_least: bool, result: str):  # noqa: FBT001
    target = Target(extra=1.0, at_least=at_least)
    assert verdict(figure("s", "w", "s", [value], target=target)) == result


def test_limit_shows_its_computed_value():
    result = figure(
        "s",
        "w",
        "s",
        [1],
        baseline="LIST",
        baseline_samples=[2],
        target=Target(1.5),
        says="1.5 LISTs",
    )
    assert "1.5 LISTs = 3.00 s" in cells(result)


def test_store_independent_scenarios_run_on_one_store():
    assert plan(["tiny", "serving"], STORES) == [
        (EMBEDDED, "tiny"),
        (EMBEDDED, "serving"),
        (SEAWEEDFS, "tiny"),
    ]
    assert plan(["tiny", "serving"], [SEAWEEDFS]) == [(SEAWEEDFS, "tiny"), (SEAWEEDFS, "serving")]


def test_missing_second_store_is_reported_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(seaweed, "PROGRAMS", [tmp_path / "weed"])
    monkeypatch.setattr("bench.figures.RESULTS", tmp_path / "results")
    measure(QUICK, ["tiny"], [SEAWEEDFS])
    printed = capsys.readouterr()
    assert "skipped seaweedfs: not installed" in printed.err
    assert "0 of 0 targets are met" in printed.out


def test_every_version_is_reported_and_pinned():
    assert all(versions().values())


@pytest.mark.parametrize(
    ("value", "result"),
    [(None, "\N{EN DASH}"), (0.123, "0.12 s"), (12.34, "12.3 s"), (1234.5, "1,234 s")],
)
def test_numbers_are_shown_with_significant_digits(value: float | None, result: str):
    assert number(value, "s") == result


def test_note_is_printed_below_its_table():
    assert "- run: not installed" in markdown(
        [figure("tiny", "run", "s", [], note="not installed")]
    )
