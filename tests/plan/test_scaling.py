"""What ranks gain, by `derivgen cost --ranks`: the times of the model, and what stands in the table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from derivgen.command.main import main
from derivgen.pipeline import cost_of
from derivgen.plan.scaling import Network, Scaling
from derivgen.project.spec import load_target

EXAMPLES = Path(__file__).parents[2] / "examples"


def scaling(name: str, latency: float = 1e-5, bandwidth: float = 1e9) -> Scaling:
    report = cost_of(load_target(str(EXAMPLES / name / f"{name}.py")).model, "float32")
    assert report.block is not None
    return Scaling(report, report.block, Network(latency, bandwidth))


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["cost", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_an_exchange_is_two_trees_of_messages() -> None:
    times = scaling("digits")
    message = 1e-5 + (8 + 4 * 2410) / 1e9  # W1, b1, W2 and b2 have 2,410 numbers
    assert [times.exchange(ranks) for ranks in (1, 2, 3, 4, 5, 8)] == pytest.approx(
        [1e9 * 2 * rounds * message for rounds in (0, 1, 2, 2, 3, 3)]
    )


def test_a_step_is_that_of_the_rank_with_most_leaves() -> None:
    times = scaling("digits")
    assert times.block == 512
    assert times.step(2, 512) == times.step(1, 512)  # one block, which each rank computes
    rows = 7 * 512
    own = [7, 4, 3, 2, 2, 2, 1, 1]  # leaves of the rank with most of them, of seven
    for ranks, leaves in enumerate(own, 1):
        expected = times.beside + times.each * 512 * leaves + times.exchange(ranks)
        assert times.step(ranks, rows) == pytest.approx(expected)


def test_ranks_pay_from_where_they_take_less_time_than_fewer() -> None:
    for name in ("digits", "characters_lstm", "option_greeks"):
        times = scaling(name)
        for ranks in (2, 3, 4):
            rows = times.pays_from(ranks)
            assert rows is not None

            def fewer(n: int, ranks: int = ranks, times: Scaling = times) -> float:
                return min(times.step(r, n) for r in range(1, ranks))

            assert times.step(ranks, rows) < fewer(rows) and times.step(ranks, rows // 2) >= fewer(rows // 2)


def test_a_network_that_is_too_slow_never_pays() -> None:
    assert scaling("digits", latency=1e6).pays_from(2) is None


def test_the_table() -> None:
    digits = str(EXAMPLES / "digits" / "digits.py")
    lines = shown(digits, "--ranks", "3", "--size", "N=100000", "--latency", "1e-5", "--bandwidth", "1e9").splitlines()
    assert lines[0] == "digits, float32: 512 rows a block, 9648 bytes a message"
    assert [line.split()[0] for line in lines[1:]] == ["ranks", "1", "2", "3"]
    times = scaling("digits")
    for ranks, line in enumerate(lines[2:], 1):
        assert re.split(r"\s{2,}", line)[-2] == f"{times.step(ranks, 100_000) / 1e3:.1f}"
    assert "step" not in shown(digits, "--ranks", "2")


def test_rows_that_depend_on_one_another() -> None:
    text = shown(str(EXAMPLES / "digits_convolutional" / "digits_convolutional.py"), "--ranks", "2")
    assert "rows depend on one another" in text


@pytest.mark.parametrize("wrong", [("--ranks", "0"), ("--ranks", "2", "--latency", "0"), ("--ranks", "two")])
def test_bad_usage(wrong: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, ["cost", str(EXAMPLES / "digits" / "digits.py"), *wrong])
    assert result.exit_code == 2 and "Invalid value" in result.output
