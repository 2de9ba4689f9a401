"""The cost model: it finds the costs that measurements were made with, and adds them up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bench import model
from bench.cost_model import STEPS, CostModel, Load, Measurement, Prices
from bench.figures import figure

NAMES = (*STEPS, "unchanged", "database")
SIZES = Load(files=1_000, images=2_000, rows=100_000)
loads = st.builds(Load, *[st.integers(0, 10**9)] * 3)


def measured(base: float, each: Load) -> CostModel:
    """The model of measurements that cost exactly that, each in millionths."""
    found = []
    for kind, size in SIZES._asdict().items():
        for count in (size, 4 * size):
            load = Load()._replace(**{kind: count})
            value = base + getattr(each, kind) / 1e6 * count
            found += [Measurement(load, name, value) for name in NAMES]
    return CostModel.fitted(found)


@given(st.floats(0, 10), st.builds(Load, *[st.integers(1, 10_000)] * 3), loads)
def test_costs_are_found_and_added_up(base: float, each: Load, load: Load):
    found = measured(base, each)
    expected = base + sum(one / 1e6 * count for one, count in zip(each, load, strict=True))
    assert found.database_mb(load) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert found.first_run(load).seconds == pytest.approx(4 * expected, rel=1e-6, abs=1e-6)


@given(loads, st.integers(1, 1_000), st.floats(0, 200))
def test_workers_help_with_reading_only_and_distance_never_helps(
    load: Load, workers: int, distance: float
):
    found = measured(0.1, Load(100, 20, 3))
    one, many = found.first_run(load), found.first_run(load, workers=workers)
    assert many.steps["read"] == pytest.approx(one.steps["read"] / workers)
    assert {**many.steps, "read": 0} == {**one.steps, "read": 0}
    there = found.first_run(load, distance_ms=distance)
    assert all(there.steps[name] >= one.steps[name] for name in STEPS)
    assert found.unchanged_run(load, distance_ms=distance).seconds >= (
        found.unchanged_run(load).seconds
    )


def test_requests_and_their_price():
    run = measured(0, Load(1, 1, 1)).first_run(Load(files=1_000_000, images=500, rows=2 * 1024**2))
    assert run.lists == 1_002
    assert run.gets == 1_000_000 + 40
    prices = Prices(per_1000_lists_or_puts=5, per_1000_gets=1)
    assert run.price(prices) == pytest.approx(1_002 * 5 / 1000 + 1_000_040 / 1000)


def test_measurements_are_named_as_figures_are():
    load = Load(1_000, 0, 2_500_000)
    shown = figure("costs", f"{load}: read", "s", [2.0, 3.0, 2.5])
    assert Measurement.of_figure(shown) == Measurement(load, "read", 2.5)
    other = figure("tiny", "2,000 CSVs + 1,600 images, first run", "s", [1.0])
    assert Measurement.of_figure(other) is None


def test_missing_measurements_are_named():
    load = Load(files=1)
    with pytest.raises(ValueError, match="no measurements of database, publish, unchanged, write"):
        CostModel.fitted([Measurement(load, "list", 1), Measurement(load, "read", 1)])


@pytest.mark.parametrize("step", STEPS)
def test_there_is_a_remedy_for_each_step_at_each_size(step: str):
    sizes = [one.from_objects for one in model.REMEDIES[step]]
    assert sizes[0] == 0
    assert sizes == sorted(set(sizes))


def test_documents_have_the_remedies():
    page = (Path(__file__).parents[2] / "docs/explanation/scale.md").read_text("utf-8")
    for step, remedies in model.REMEDIES.items():
        for one in remedies[1:]:
            assert f"| {step} | {one.from_objects:,} | {one.words} |" in page


def test_command_answers_for_any_size():
    result = CliRunner().invoke(
        model.main, ["--objects", "1e8", "--rows", "1e9", "--workers", "50"]
    )
    assert result.exit_code == 0, result.output
    for part in ("first run", "takes longest", "write", "GB", "requests of a month", "$"):
        assert part in result.output


def test_results_without_costs_say_how_to_measure_them(tmp_path: Path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"figures": []}))
    result = CliRunner().invoke(model.main, [str(path)])
    assert result.exit_code == 1
    assert "python -m bench --only costs" in result.output


def test_a_size_that_is_no_number_is_refused():
    result = CliRunner().invoke(model.main, ["--rows", "many"])
    assert result.exit_code == 2
    assert "'many' is no number" in result.output
