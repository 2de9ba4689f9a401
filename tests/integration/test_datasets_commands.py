"""The commands on datasets, from a file to rows and back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr
from sqlalchemy import Engine, text

from etl.cli.main import commands
from etl.db.table_locks import Patience
from etl.model.errors import ConfigurationError, EtlError, RunRefused
from etl.settings import Settings
from tests.conftest import TestBucket
from tests.integration.conftest import Query
from tests.stores import PRECISE_TIMES

ORDERS = """
version = 1

[datasets.orders]
include = ["orders/**/*.csv"]

[datasets.orders.schema]
primaryKey = ["id"]
fields = [
  { name = "id", type = "string", constraints = { required = true } },
  { name = "amount", type = "number", sql = "numeric(6,2)" },
]
"""
LOG = """
[datasets.log]
include = ["log/**/*.csv"]
schema = { fields = [ { name = "line", type = "string" } ] }
"""

Command = Callable[..., Result]


@pytest.fixture
def declare(tmp_path: Path) -> Callable[[str], None]:
    def write(declarations: str) -> None:
        (tmp_path / "datasets.toml").write_text(declarations)

    return write


@pytest.fixture
def command(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    declare: Callable[[str], None],
) -> Command:
    """Runs a command with the test's servers and a file that declares orders and log."""
    monkeypatch.chdir(tmp_path)
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(plain, (str, int, float, Path)):
            monkeypatch.setenv(name.upper(), str(plain))
    declare(ORDERS + LOG)

    def run(*words: str, typed: str | None = None) -> Result:
        return CliRunner().invoke(commands, words, input=typed)

    return run


def failure(result: Result) -> EtlError:
    assert isinstance(result.exception, EtlError), (result.output, result.exception)
    return result.exception


def put_orders(bucket: TestBucket, count: int) -> None:
    bucket.put("orders/1.csv", "id,amount\n" + "".join(f"o{n:03},{n}.5\n" for n in range(count)))


def test_a_file_becomes_rows_that_each_command_shows(
    command: Command, bucket: TestBucket, query: Query
):
    put_orders(bucket, 2)
    bucket.put("log/1.csv", "line\na\nb\n")
    bucket.put("orders/2.csv", "id,amount\nx,1.234\n")
    listed = json.loads(command("datasets", "list", "--json").stdout)
    assert [one["state"] for one in listed] == ["not installed"] * 2
    applied = command("datasets", "apply")
    assert applied.exit_code == 0
    assert applied.stdout == "orders: New: the table orders.\nlog: New: the table log.\n"
    assert command("run").exit_code == 0
    assert query("SELECT id, amount FROM orders ORDER BY 1")[1] == ("o001", 1.5)
    assert "New:" not in command("datasets", "check").stdout
    orders, log = json.loads(command("datasets", "list", "--json").stdout)
    assert (orders["rows"], orders["problems"], orders["state"]) == (2, 1, "installed")
    assert (log["rows"], log["problems"], log["hold"]) == (2, 0, None)
    facts = json.loads(command("status", "--json").stdout)
    assert facts["users"] is None
    assert facts["datasets"]["orders"]["live"] == 2
    assert "UTC. 1 object needs attention.\n" in command("status").stdout
    problems = json.loads(command("problems", "--dataset", "orders", "--json").stdout)
    assert [one["code"] for one in problems] == ["too-many-decimals"]
    assert "No problem of dataset 'log' is open." in command("problems", "--dataset", "log").stdout


def test_a_held_retirement_exits_with_3_until_the_printed_command_allows_it(
    command: Command, bucket: TestBucket, query: Query
):
    put_orders(bucket, 200)
    assert command("run").exit_code == 0
    bucket.remove("orders/1.csv")
    held = command("run")
    assert held.exit_code == 3
    assert "--allow-mass-retirement orders" in held.stderr
    assert command("run", "--dry-run").exit_code == 3
    assert command("run", "--dataset", "log").exit_code == 0
    allowed = command("run", "--allow-mass-retirement", "orders")
    assert allowed.exit_code == 0
    assert query("SELECT count(*) FROM orders_retired") == [(200,)]


def test_a_dry_run_prints_keys_and_keeps_nothing(
    command: Command, bucket: TestBucket, query: Query
):
    put_orders(bucket, 30)
    found = command("run", "--dry-run")
    assert found.exit_code == 0, found.exception
    _, _, _, counts, change, keys, *_ = found.stdout.splitlines()  # log comes first
    assert counts.startswith("  orders   30 read; 30 inserted, 0 updated")
    assert change == "    New: the table orders."
    assert keys.startswith("    inserted: o000, o001, ")
    assert keys.endswith("o019 …")
    value = json.loads(command("run", "--dry-run", "--json").stdout)["datasets"]["orders"]
    assert value["counts"]["inserted"] == 30
    assert value["changes"] == ["New: the table orders."]
    assert query("SELECT to_regclass('public.orders')") == [(None,)]
    assert query("SELECT count(*) FROM run") == [(0,)]


def test_a_run_that_commits_some_datasets_prints_its_whole_report(
    command: Command, bucket: TestBucket, engine: Engine
):
    put_orders(bucket, 2)
    assert command("run").exit_code == 0
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE orders ADD CONSTRAINT few CHECK (amount < 9)"))
    put_orders(bucket, 20)
    bucket.put("log/1.csv", "line\na\n")
    shown = command("run")
    assert shown.exit_code == 1
    assert "Run 2 (cli) failed in" in shown.stderr
    assert "orders   2 live; failed, and stays as it was" in shown.stderr
    assert "log      1 live; 1 inserted" in shown.stderr
    assert "constraint few" in shown.stderr
    assert "Committed: log." in shown.stderr
    bucket.put("log/2.csv", "line\nb\n")
    failed = command("run", "--dataset", "orders", "--json")
    assert failed.exit_code == 1
    report = json.loads(failed.stdout)
    assert report["state"] == "failed"
    assert report["error"]["facts"] == {"failed": "orders", "committed": ""}
    assert report["dataset_counts"]["orders"]["live"] == 2


def test_a_faulty_file_stops_each_command_before_it_starts(
    command: Command, declare: Callable[[str], None], query: Query
):
    declare(ORDERS.replace("numeric(6,2)", "numbers") + "[datasets.x]\ninclud = []\n")
    for words in (["run"], ["datasets", "check"], ["datasets", "list"], ["datasets", "apply"]):
        error = failure(command(*words))
        assert isinstance(error, ConfigurationError)
        assert "numbers" in str(error)
        assert "includ" in str(error)
    assert query("SELECT count(*) FROM run") == [(0,)]


def test_without_a_file_the_names_are_those_of_the_installed_datasets(
    command: Command, bucket: TestBucket, tmp_path: Path
):
    (tmp_path / "datasets.toml").rename(tmp_path / "other.toml")
    refused = failure(command("run", "--dataset", "orders"))
    assert refused.hint == "The datasets: users."
    (tmp_path / "other.toml").rename(tmp_path / "datasets.toml")
    put_orders(bucket, 200)
    assert command("run").exit_code == 0
    (tmp_path / "datasets.toml").unlink()
    bucket.remove("orders/1.csv")
    assert command("run", "--dataset", "orders", "--dry-run").exit_code == 3
    assert command("run", "--dataset", "log").exit_code == 0
    assert failure(command("run", "--dataset", "users")).hint == "The datasets: orders, log."
    assert command("replay", "--dataset", "log").exit_code == 0
    listed = json.loads(command("datasets", "list", "--json").stdout)
    assert [(one["name"], one["state"]) for one in listed] == [
        ("orders", "installed"),
        ("log", "installed"),
    ]
    assert command("datasets", "apply").stdout == "orders: Unchanged.\nlog: Unchanged.\n"
    allowed = command("run", "--dataset", "orders", "--allow-mass-retirement", "orders")
    assert allowed.exit_code == 0


def test_names_of_unknown_datasets_are_refused(command: Command):
    for words in (
        ["run", "--dataset", "order"],
        ["run", "--allow-mass-retirement", "order"],
        ["replay", "--dataset", "order"],
        ["datasets", "check", "order"],
    ):
        assert failure(command(*words)).hint == "The datasets: orders, log."


def test_check_reads_objects_as_a_run_would_and_stores_nothing(
    command: Command, bucket: TestBucket, query: Query
):
    put_orders(bucket, 3)
    bucket.put("log/1.csv", "line\na\n")
    good = command("datasets", "check")
    assert good.exit_code == 0
    assert good.stdout == (
        "orders: New: the table orders.\n"
        "orders: 1 object, 3 rows read = 3 good + 0 rejected\n"
        "log: New: the table log.\n"
        "log: 1 object, 1 row read = 1 good + 0 rejected\n"
    )
    bucket.put("orders/2.csv", "id,amount\n,1\n")
    bad = command("datasets", "check", "orders", "--json")
    assert bad.exit_code == 1
    value = json.loads(bad.stdout)
    (problem,) = value["problems"]
    assert (problem["key"], problem["line"], problem["column"]) == ("orders/2.csv", 2, "id")
    assert [one["key"] for one in value["files"]] == ["orders/1.csv", "orders/2.csv"]
    assert [(one["dataset"], one["objects"]) for one in value["datasets"]] == [("orders", 2)]
    assert value["datasets"][0]["changes"] == ["New: the table orders."]
    faulty, _, file, _, orders, _, log = command("datasets", "check").stdout.splitlines()
    assert faulty.startswith("orders/2.csv, line 2, column id: error ")
    assert file == "orders/2.csv (orders): 1 row read = 0 good + 1 rejected"
    assert orders == "orders: 2 objects, 4 rows read = 3 good + 1 rejected"
    assert log.startswith("log: 1 object")
    assert query("SELECT count(*) FROM dataset") == query("SELECT count(*) FROM run") == [(0,)]


def test_apply_adds_a_column_and_refuses_to_narrow_one(
    command: Command, declare: Callable[[str], None], bucket: TestBucket, query: Query
):
    put_orders(bucket, 2)
    command("run")
    declare(ORDERS.replace("fields = [", 'fields = [ { name = "note", type = "string" },') + LOG)
    assert command("datasets", "apply").stdout.startswith("orders: The column note is new")
    assert query("SELECT note FROM orders") == [(None,), (None,)]
    declare(ORDERS.replace("numeric(6,2)", "numeric(5,2)") + LOG)
    refused = command("datasets", "apply")
    assert refused.exit_code == 1
    assert "datasets apply --rebuild orders" in refused.stderr
    assert refused.stdout == "orders: Not installed.\nlog: Unchanged.\n"


def test_dry_runs_of_apply_show_what_would_change(
    command: Command, declare: Callable[[str], None], bucket: TestBucket, query: Query
):
    new = command("datasets", "apply", "--dry-run")
    assert new.stdout.splitlines() == [
        "Dry run: nothing was changed.",
        "orders: New: the table orders.",
        "log: New: the table log.",
    ]
    assert query("SELECT to_regclass('public.orders')") == [(None,)]
    put_orders(bucket, 200)
    command("run")
    declare(ORDERS.replace('"numeric(6,2)"', '"numeric(4,1)"').replace('["id"]', '["amount"]'))
    refused = command("datasets", "apply", "--dry-run")
    assert refused.exit_code == 1
    assert "datasets apply --rebuild orders" in refused.stderr
    found = command("datasets", "apply", "--rebuild", "orders", "--dry-run")
    assert found.exit_code == 0, found.exception
    shown = " ".join(found.stdout.split())
    assert "Dry run: nothing was changed. orders 200 read; 0 inserted, 0 updated" in shown
    assert "The type of amount is numeric(4,1) instead of numeric(6,2)." in shown
    declare(ORDERS.replace("orders/**", "nothing/**"))
    assert isinstance(
        failure(command("datasets", "apply", "--rebuild", "orders", "--dry-run")), RunRefused
    )
    assert command("datasets", "apply", "--drop", "log", "--dry-run").exit_code == 2
    assert query("SELECT count(*), max(amount) FROM orders") == [(200, 199.5)]


def test_a_draft_without_rows_needs_no_rebuild(
    command: Command, declare: Callable[[str], None], bucket: TestBucket, query: Query
):
    bucket.put("orders/1.csv", "id,amount\no1,1.5 EUR\n")
    command("run")
    declare(ORDERS.replace('"number", sql = "numeric(6,2)"', '"string"'))
    listed = json.loads(command("datasets", "list", "--json").stdout)
    assert [one["state"] for one in listed] == ["changed", "not declared"]
    reshaped = "orders: Its tables have no rows, so they get their new shape without a rebuild."
    checked = command("datasets", "check", "orders")
    assert checked.exit_code == 0
    assert reshaped in checked.stdout.splitlines()
    shown = command("run", "--dry-run")
    assert "The type of amount is text instead of numeric(6,2)." in shown.stdout
    assert "1 inserted" in shown.stdout
    applied = command("datasets", "apply")
    assert reshaped in applied.stdout.splitlines()
    assert command("run").exit_code == 0
    assert query("SELECT id, amount FROM orders") == [("o1", "1.5 EUR")]


def test_a_dataset_waits_for_the_rebuild_that_all_commands_name(
    command: Command, declare: Callable[[str], None], bucket: TestBucket, query: Query
):
    put_orders(bucket, 2)
    command("run")
    declare(ORDERS.replace('"numeric(6,2)"', '"numeric(5,2)"').replace('"id"]', '"id", "amount"]'))
    checked = command("datasets", "check", "orders")
    assert checked.exit_code == 1
    assert (
        "needs a rebuild: The primary key of orders is id, amount instead of id. The type of"
        in (checked.stdout)
    )
    assert "datasets apply --rebuild orders`" in checked.stdout
    orders, *_ = json.loads(command("datasets", "list", "--json").stdout)
    assert orders["state"] == "needs a rebuild"
    assert command("run").exit_code == 1
    failed = json.loads(command("status", "--json").stdout)["failed_datasets"]
    assert [one["dataset"] for one in failed] == ["orders"]
    assert "datasets apply --rebuild orders`" in failed[0]["hint"]
    done = command("datasets", "apply", "--rebuild", "orders")
    assert done.exit_code == 0, done.exception
    assert done.stdout.splitlines() == [
        "orders: The primary key of orders is id, amount instead of id.",
        "orders: The type of amount is numeric(5,2) instead of numeric(6,2).",
        "orders: The column amount is required, and stored rows may lack it.",
        "orders: Rebuilt.",
    ]
    assert "rows     2 read = " in done.stderr
    assert query("SELECT id FROM orders ORDER BY 1") == [("o000",), ("o001",)]
    assert json.loads(command("status", "--json").stdout)["failed_datasets"] == []
    assert json.loads(command("datasets", "list", "--json").stdout)[0]["state"] == "installed"
    assert command("datasets", "check", "orders").exit_code == 0


def test_a_rebuild_that_loses_most_rows_exits_with_3_until_it_is_allowed(
    command: Command, declare: Callable[[str], None], bucket: TestBucket, query: Query
):
    put_orders(bucket, 300)
    command("run")
    declare(
        ORDERS.replace("required = true", 'required = true, pattern = "o00."').replace(
            "numeric(6,2)", "numeric(5,2)"
        )
        + LOG
    )
    refused = command("datasets", "apply", "--rebuild", "orders")
    error = failure(refused)
    assert isinstance(error, RunRefused)  # the exit code is 3
    assert "would retire 290 of 300 rows and leave 10" in error.message
    assert query("SELECT count(*) FROM orders") == [(300,)]
    (words,) = re.findall("`./run.sh (.*)`", error.hint)
    assert command(*words.split()).exit_code == 0
    assert query("SELECT count(*) FROM orders_retired") == [(290,)]


@pytest.mark.parametrize(
    "words",
    [
        ("--rebuild", "nothing"),
        ("--rebuild", "orders", "--drop", "log"),
        ("--rebuild", "orders", "--allow-mass-retirement", "log"),
        ("--allow-mass-retirement", "orders"),
    ],
    ids=" ".join,
)
def test_wrong_names_and_options_of_a_rebuild_are_refused(command: Command, words: tuple[str, ...]):
    refused = command("datasets", "apply", *words)
    assert refused.exit_code == 2 or isinstance(refused.exception, ConfigurationError)


def test_a_rebuild_reports_other_datasets_that_wait_for_theirs(
    command: Command, declare: Callable[[str], None], bucket: TestBucket
):
    put_orders(bucket, 1)
    bucket.put("log/1.csv", "line\na\n")
    command("run")
    declare(ORDERS.replace("numeric(6,2)", "numeric(5,2)") + LOG.replace("string", "integer"))
    done = command("datasets", "apply", "--rebuild", "orders")
    assert done.exit_code == 0
    assert done.stdout.endswith("orders: Rebuilt.\n")
    assert "orders was rebuilt; log still waits, and stays as it is." in done.stderr
    assert "datasets apply --rebuild log`" in done.stderr
    assert command("datasets", "apply", "--rebuild", "log").exit_code == 0
    assert command("run").exit_code == 0


def test_a_dataset_that_is_not_declared_is_dropped_after_its_name_was_typed(
    command: Command, declare: Callable[[str], None], bucket: TestBucket, query: Query
):
    put_orders(bucket, 1)
    command("run")
    assert (
        "is declared" in failure(command("datasets", "apply", "--drop", "orders", "--yes")).message
    )
    declare("version = 1\n" + LOG)
    assert command("datasets", "apply", "--drop", "orders", typed="order\n").exit_code == 2
    assert query("SELECT id FROM orders") == [("o000",)]
    dropped = command("datasets", "apply", "--drop", "orders", typed="orders\n")
    assert dropped.exit_code == 0, dropped.exception
    for name in ("orders", "orders_retired", "orders_shadowed", "staging_orders"):
        assert query(f"SELECT to_regclass('{name}')") == [(None,)]
    for table in ("source_object", "problem", "hold"):
        assert query(f"SELECT count(*) FROM {table} WHERE dataset = 'orders'") == [(0,)]
    declare(ORDERS + LOG)
    assert command("run").exit_code == 0
    assert query("SELECT id FROM orders") == [("o000",)]


def test_a_table_outlives_its_declaration_until_it_is_dropped(
    command: Command, declare: Callable[[str], None], bucket: TestBucket, query: Query
):
    put_orders(bucket, 1)
    command("run")
    declare("version = 1\n" + LOG)
    assert command("run").exit_code == 0
    assert query("SELECT id FROM orders") == [("o000",)]
    assert command("datasets", "apply", "--drop", "orders", "--yes").exit_code == 0
    assert query("SELECT to_regclass('orders')") == [(None,)]


def test_tables_of_others_and_of_users_are_never_dropped(command: Command, engine: Engine):
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE public.theirs (id integer)"))
        connection.execute(text("CREATE TABLE public.log_shadowed (id integer)"))
    for name in ("theirs", "nothing"):
        assert (
            "There is no dataset"
            in failure(command("datasets", "apply", "--drop", name, "--yes")).message
        )
    assert "built in" in failure(command("datasets", "apply", "--drop", "users", "--yes")).message


def test_a_view_forbids_to_drop_its_table(
    command: Command, declare: Callable[[str], None], engine: Engine, query: Query
):
    command("datasets", "apply")
    with engine.begin() as connection:
        connection.execute(text("CREATE VIEW public.big AS SELECT id FROM orders"))
    declare("version = 1\n" + LOG)
    error = failure(command("datasets", "apply", "--drop", "orders", "--yes"))
    assert "DROP VIEW public.big;" in error.hint
    assert query("SELECT id FROM orders") == []


def test_a_table_in_use_is_not_dropped_and_the_session_named(
    command: Command,
    declare: Callable[[str], None],
    engine: Engine,
    query: Query,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("etl.db.table_locks.PATIENCE", Patience(0.05, 2, 0.05))
    command("datasets", "apply")
    declare("version = 1\n" + LOG)
    with engine.connect() as reader:
        reader.execute(text("SET application_name = 'a long report'"))
        reader.execute(text("SELECT count(*) FROM orders_retired"))
        error = failure(command("datasets", "apply", "--drop", "orders", "--yes"))
    assert "(a long report)" in error.message
    assert query("SELECT count(*) FROM dataset WHERE name = 'orders'") == [(1,)]
    assert command("datasets", "apply", "--drop", "orders", "--yes").exit_code == 0


def test_replay_reads_the_objects_again_that_match_all_options(
    command: Command, bucket: TestBucket, query: Query
):
    put_orders(bucket, 1)
    bucket.put("orders/2.csv", "id,amount\nx,1.234\n")
    bucket.put("log/1.csv", "line\na\n")
    command("run")
    runs = query("SELECT count(*) FROM run")
    none = command("replay", "--dataset", "log", "--code", "too-many-decimals")
    assert none.stdout == "No object to read again; no run was made.\n"
    assert query("SELECT count(*) FROM run") == runs
    assert "reads 1 object again" in command("replay", "--code", "too-many-decimals").stderr
    assert "reads 2 objects again" in command("replay", "--dataset", "orders").stderr
    assert query("SELECT counts->>'objects_modified' FROM run ORDER BY id DESC LIMIT 1") == [("2",)]
    assert "reads 1 object again" in command("replay", "--key", "log/1.csv").stderr
    assert command("replay").exit_code == 2


def test_a_missing_bucket_stops_only_its_datasets(
    command: Command, declare: Callable[[str], None], bucket: TestBucket
):
    declare(ORDERS + LOG.replace("include", 'bucket = "no-such-bucket"\ninclude'))
    put_orders(bucket, 2)
    applied = command("datasets", "apply")
    assert applied.exit_code == 0
    assert applied.stderr == (
        "log: the bucket 'no-such-bucket' does not exist, so runs fail."
        " Create it in the object store, or correct `bucket` in the datasets file.\n"
    )
    assert command("run").exit_code == 1
    verified = command("verify")
    assert verified.exit_code == 4
    first, count, *_ = verified.stdout.splitlines()
    assert first.startswith("bucket-unreadable no-such-bucket: The object store cannot list")
    assert "Not compared: log." in first
    assert count.startswith("1 difference.")
    bucket.put("orders/2.csv", "id,amount\nx,1\n")
    assert "orders row-missing x" in command("verify").stdout


def test_check_reports_what_apply_would_refuse(
    command: Command, declare: Callable[[str], None], bucket: TestBucket, engine: Engine
):
    put_orders(bucket, 1)
    command("run")
    assert command("datasets", "check").exit_code == 0
    declare(ORDERS.replace("numeric(6,2)", "numeric(5,2)") + LOG.replace("log]", "view]"))
    with engine.begin() as connection:
        connection.execute(text("CREATE VIEW public.view_retired AS SELECT 1 AS one"))
    checked = command("datasets", "check")
    assert checked.exit_code == 1
    assert "The type of amount is numeric(5,2) instead of numeric(6,2)." in checked.stdout
    assert "already contains view_retired, which Bucketline did not create." in checked.stdout
    assert checked.stdout.endswith("view: no object matches its patterns\n")
    applied = command("datasets", "apply")
    assert applied.exit_code == 1
    assert "orders: Not installed.\nview: Not installed.\n" in applied.stdout
    declare(ORDERS)
    value = json.loads(command("datasets", "check", "--json").stdout)
    assert value["datasets"][0]["errors"] == []


def test_check_names_what_a_declaration_changes_and_what_is_not_declared(
    command: Command, declare: Callable[[str], None], bucket: TestBucket
):
    command("datasets", "apply")
    bucket.put("orders/1.csv", "id,note,amount,channel\na,,1,web\n")
    bucket.put("orders/2.csv", "id,note,amount,discount_pct\nb,,1,5\n")
    declare(ORDERS.replace("fields = [", 'fields = [ { name = "note", type = "string" },') + LOG)
    checked = command("datasets", "check", "orders")
    assert checked.exit_code == 0
    assert checked.stdout == (
        "orders: The column note is new.\n"
        "orders: The next full run reads all objects of orders again. Changed: fields.\n"
        "orders: 2 objects, 2 rows read = 2 good + 0 rejected\n"
        "  not declared, kept in _extra: channel, discount_pct\n"
    )


def test_check_names_the_dataset_that_takes_all_objects_of_another(
    command: Command, declare: Callable[[str], None], bucket: TestBucket
):
    declare(ORDERS + LOG.replace("log/**", "orders/**"))
    put_orders(bucket, 2)
    bucket.put("orders/2.csv", "id,amount\nx,1\n")
    checked = command("datasets", "check", "log")
    assert checked.exit_code == 0
    assert checked.stdout == (
        "log: New: the table log.\n"
        "log: 2 objects match its patterns and go to orders, which comes first\n"
    )


def test_check_of_a_missing_bucket_goes_on_with_the_other_datasets(
    command: Command, declare: Callable[[str], None], bucket: TestBucket
):
    declare(ORDERS.replace("include", 'bucket = "no-such-bucket"\ninclude') + LOG)
    bucket.put("log/1.csv", "line\na\n")
    checked = command("datasets", "check")
    assert checked.exit_code == 1
    assert "Bucket 'no-such-bucket' does not exist." in checked.stdout
    assert "correct `bucket` in the datasets file." in checked.stdout
    assert checked.stdout.endswith("log: 1 object, 1 row read = 1 good + 0 rejected\n")


def test_checks_without_a_file_use_the_installed_datasets_or_say_why_not(
    command: Command, bucket: TestBucket, tmp_path: Path
):
    put_orders(bucket, 1)
    assert command("run").exit_code == 0
    (tmp_path / "datasets.toml").unlink()
    assert command("datasets", "check", "orders").stdout.startswith("orders: 1 object")
    assert failure(command("datasets", "check", "users")).hint == "The datasets: orders, log."
    local = tmp_path / "a.csv"
    local.write_text("id,amount\nx,1\n")
    error = failure(command("check", str(local), "--dataset", "orders"))
    assert "no datasets file" in error.message
    assert "DATASETS_FILE" in error.hint


def test_a_piped_list_has_whole_patterns(command: Command, declare: Callable[[str], None]):
    patterns = [f"orders/of-a-long-name/{number}/**/*.csv" for number in range(9)]
    declare(ORDERS.replace('["orders/**/*.csv"]', json.dumps(patterns)))
    assert " ".join(patterns) in command("datasets", "list").stdout


LAKE = """
version = 1

[datasets.sales]
include = ["lake/sales/year=*/month=*/**/*.csv"]
path_columns = "hive"

[datasets.sales.schema]
primaryKey = ["year", "month", "sku"]
fields = [
  { name = "sku", type = "string" },
  { name = "year", type = "integer", constraints = { minimum = 2000 } },
  { name = "units", type = "integer" },
]
"""


def test_folders_of_a_lake_are_typed_columns_and_part_of_the_key(
    command: Command, declare: Callable[[str], None], bucket: TestBucket, query: Query
):
    declare(LAKE)
    bucket.put("lake/sales/year=2024/month=05/part-0.csv", "sku,units\na,1\nb,2\n")
    bucket.put("lake/sales/year=2024/month=05/region=N/part-1.csv", "sku,units,year\nc,3,1999\n")
    bucket.put("lake/sales/Year=2025/month=05/part-0.csv", "sku,units\na,4\n")
    bucket.put("lake/sales/year=2025/month=M%C3%A4rz%202/part-0.csv", "sku,units\na,5\n")
    bucket.put("lake/sales/year=2025/month=__HIVE_DEFAULT_PARTITION__/0.csv", "sku,units\na,6\n")
    bucket.put("lake/sales/year=none/month=01/part-0.csv", "sku,units\na,7\n")
    bucket.put("lake/sales/_SUCCESS", "")
    checked = command("datasets", "check", "sales")
    assert "sales: the folders region=* of its keys are not columns" in checked.stdout
    assert command("run").exit_code == 0
    expected = [
        (2024, "05", "a", 1),
        (2024, "05", "b", 2),
        (2024, "05", "c", 3),
        (2025, "05", "a", 4),
        (2025, "März 2", "a", 5),
    ]
    rows = "SELECT year, month, sku, units FROM sales ORDER BY 1, 2, 3"
    assert query(rows) == expected
    problems = json.loads(command("problems", "--json").stdout)
    assert [(one["code"], one["column"], one["value"]) for one in problems] == [
        ("missing-cell", "month", ""),
        ("not-an-integer", "year", "none"),
    ]
    assert command("verify").exit_code == 0
    again = json.loads(command("run", "--json").stdout)
    assert again["counts"]["objects_modified"] == 0
    assert query(rows) == expected


@pytest.mark.store(PRECISE_TIMES)
def test_objects_are_described_and_loaded_as_described(
    command: Command, declare: Callable[[str], None], bucket: TestBucket, query: Query
):
    for month in range(1, 4):
        rows = "".join(f"S{n:03};{n},5;0{n}.0{month}.2024\n" for n in range(1, 6))
        bucket.put(f"shop/2024/{month:02}.csv", f"Sale No;Betrag;Datum\n{rows}")
    bucket.put("shop/empty.csv", "")
    bucket.put("other/1.csv", "a,b\n1,2\n")
    described = command("datasets", "describe", "shop/**/*.csv", "--sample", "2")
    assert described.exit_code == 0, described.exception
    assert 'include = ["shop/**/*.csv"]' in described.stdout
    assert "datasets check shop`" in described.stderr
    declare("")
    whole = command("datasets", "describe", "shop/**/*.csv", "--name", "sales")
    assert "shop/empty.csv was left out" not in whole.stderr  # empty objects are not sampled
    declare(whole.stdout)
    bucket.remove("shop/empty.csv")
    checked = command("datasets", "check", "sales")
    assert checked.stdout.endswith("sales: 3 objects, 15 rows read = 15 good + 0 rejected\n")
    assert command("run").exit_code == 0
    rows = "SELECT sale_no, betrag::text, datum::text FROM sales ORDER BY 1"
    assert query(rows)[0] == ("S001", "1.50", "2024-03-01")
    assert len(query(rows)) == 5


def test_a_pattern_without_objects_and_a_missing_bucket_are_errors(command: Command):
    error = failure(command("datasets", "describe", "nothing/*.csv"))
    assert isinstance(error, ConfigurationError)
    assert "Nothing matches nothing/*.csv" in error.message
    error = failure(command("datasets", "describe", "a/*.csv", "--bucket", "no-such-bucket"))
    assert isinstance(error, ConfigurationError)
    assert "no-such-bucket" in error.message
