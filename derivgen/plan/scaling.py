"""What ranks gain: the time of a step on some rows, that of the exchange, and the rows from which one rank more pays.

The prices are those of `derivgen cost`; an exchange is two trees of messages: one adds, one spreads the sum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from derivgen.form.sizes import typical
from derivgen.plan.blocks import leaves_of
from derivgen.plan.cost_report import Report
from derivgen.plan.cost_text import aligned
from derivgen.schedule.cost import REAL_BYTES

MANY = 2**24  # blocks
COLUMNS = ("ranks", "exchange, µs", "pays from rows", "step, µs", "of that exchange")


@dataclass(frozen=True, slots=True)
class Network:
    """Seconds of a message, and bytes that pass in a second."""

    latency: float
    bandwidth: float


class Scaling:
    """Times in nanoseconds of steps on rows of the sample axis."""

    def __init__(self, report: Report, block: int, network: Network) -> None:
        self.block, self.network = block, network
        self.leaves = leaves_of(report.parameters)
        self.message = 8 + REAL_BYTES[report.dtype] * report.parameters
        work = report.step.nanoseconds(REAL_BYTES[report.dtype])
        axis = next(s for s in work.free_symbols if s.name == report.sizes[0])
        self.each, self.beside = (float(typical(work.coeff(axis, power))) for power in (1, 0))

    def exchange(self, ranks: int) -> float:
        rounds = 2 * math.ceil(math.log2(ranks))
        return 1e9 * rounds * (self.network.latency + self.message / self.network.bandwidth)

    def step(self, ranks: int, rows: int) -> float:
        """The time of the rank that has most leaves; of one block, each rank computes all."""
        leaf = math.ceil(rows / (self.block * self.leaves)) * self.block
        leaves = math.ceil(rows / leaf)
        if ranks == 1 or leaves == 1:
            return self.beside + self.each * rows
        own = min(rows, math.ceil(leaves / ranks) * leaf)
        return self.beside + self.each * own + self.exchange(ranks)

    def pays_from(self, ranks: int) -> int | None:
        """The rows from which so many ranks take less time than fewer; powers of two of blocks are tried."""
        counts = (self.block * 2**k for k in range(int(math.log2(MANY))))
        return next((n for n in counts if self.step(ranks, n) < min(self.step(r, n) for r in range(1, ranks))), None)


def scaling_text(report: Report, ranks: int, network: Network, rows: int | None) -> str:
    """A table with a line for each number of ranks up to this one."""
    if report.block is None:
        return f"{report.model}: rows depend on one another, so that each rank computes all of them: ranks gain nothing"
    scaling = Scaling(report, report.block, network)
    lines: list[tuple[str, ...]] = [COLUMNS if rows is not None else COLUMNS[:3]]
    for count in range(1, ranks + 1):
        exchange = scaling.exchange(count)
        pays = scaling.pays_from(count) if count > 1 else 1
        cells = [str(count), f"{exchange / 1e3:.1f}", str(pays) if pays is not None else "never"]
        if rows is not None:
            step = scaling.step(count, rows)
            cells += [f"{step / 1e3:.1f}", f"{exchange / step:.0%}" if rows > scaling.block else "-"]
        lines.append(tuple(cells))
    title = f"{report.model}, {report.dtype}: {report.block} rows a block, {scaling.message} bytes a message"
    return "\n".join([title, *aligned(lines, words=1)])
