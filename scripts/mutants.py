"""Breaks passes one at a time, and runs their tests: `python scripts/mutants.py [PASS …]`, all passes if none is said.

A mutant is a pass with a guard dropped, statements swapped, a term lost, an index mixed up. It is killed where the tests
of its stage fail, and the first to fail has the pass's name. Exits with 1 where one survives, or does not apply any more.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("derivgen", "templates", "tests", "pyproject.toml")
LONGEST = 600  # seconds that tests may take


@dataclass(frozen=True)
class Mutant:
    """What stands once in a file of the package, what takes its place, and the pass whose test must fail first."""

    test: str
    name: str
    file: str
    text: str
    replacement: str


PREPARE, DERIVE, SIMPLIFY, ARRANGE, CODE = (
    f"tests/{stage}/test_{stage}_passes.py" for stage in ("prepare", "derive", "simplify", "arrange", "code")
)

# fmt: off
MUTANTS = (
    Mutant(PREPARE, "in_training", "prepare/modes.py", "resolved(program, sp.Integer(1))", "resolved(program, sp.Integer(0))"),
    Mutant(PREPARE, "in_evaluation", "prepare/modes.py", "resolved(replace(program, running=()), sp.Integer(0))", "resolved(program, sp.Integer(0))"),
    Mutant(PREPARE, "equal_constants", "prepare/equal_constants.py", "if name != kept", "if name == kept"),
    Mutant(PREPARE, "with_equal_ones_told", "prepare/equal_constants.py", "statements=copies + program.statements", "statements=program.statements"),
    Mutant(PREPARE, "in_training", "prepare/modes.py", "s.mapped(decided)", "replace(s.mapped(decided), guard=s.guard)"),
    Mutant(PREPARE, "reach_back", "prepare/reach_back.py", "if s.target in program.outputs or not", "if not"),
    Mutant(PREPARE, "reach_back", "prepare/reach_back.py", "for read in reads_of(t.guard, *t.subscripts)]", "for read in reads_of(*t.subscripts)]"),
    Mutant(PREPARE, "reach_back", "prepare/reach_back.py", "reached = any_of(reached, all_of(*(c for", "reached = all_of(all_of(*(c for"),
    Mutant(PREPARE, "reach_back", "prepare/reach_back.py", "substitute(about(c, own.keys()), own)", "about(c, own.keys())"),
    Mutant(PREPARE, "shifted_tables", "prepare/shifted_tables.py", "self.holds(stop - 1 - place, known)", "self.holds(stop - place, known)"),
    Mutant(PREPARE, "shifted_tables", "prepare/shifted_tables.py", "if few and slope != 0 else []", "if few else []"),
    Mutant(PREPARE, "shifted_tables", "prepare/shifted_tables.py", "self.holds(place - stop, known)", "self.holds(place - stop, ())"),
    Mutant(PREPARE, "whole_steps", "prepare/whole_steps.py", "and all(c in reached for c in guards) ", ""),
    Mutant(PREPARE, "whole_steps", "prepare/whole_steps.py", "if start.is_number and abs(start) <= NEAR]", "]"),
    Mutant(PREPARE, "whole_steps", "prepare/whole_steps.py", "sp.expand(ahead - others) == 0", "True"),
    Mutant(PREPARE, "whole_steps", "prepare/whole_steps.py", " or may_be_singular(s.expression):", ":"),
    Mutant(PREPARE, "powers_of_one", "prepare/powers.py", "if base**one in always and all(", "if all("),
    Mutant(PREPARE, "powers_of_one", "prepare/powers.py", "made |= {old: known[key] ** n for", "made |= {old: known[key] ** abs(n) for"),
    Mutant(PREPARE, "matrices", "prepare/matrices.py", "or s.guard != TRUE or", "or"),
    Mutant(PREPARE, "matrices", "prepare/matrices.py", " and others & own & reduced", ""),
    Mutant(PREPARE, "decays_by_kind", "prepare/decays_by_kind.py", "guard = all_of(s.guard, *conditions)", "guard = s.guard"),
    Mutant(PREPARE, "decays_by_kind", "prepare/decays_by_kind.py", "there = Read(name, *(received.get(i, i) for", "there = Read(name, *(i for"),
    Mutant(PREPARE, "decays_by_kind", "prepare/decays_by_kind.py", "if inner not in indices_of(t) and", "if"),
    Mutant(PREPARE, "decaying_sums", "prepare/decaying_sums.py", "(before + term) * factor if joins", "before * factor if joins"),
    Mutant(PREPARE, "decaying_sums", "prepare/decaying_sums.py", "any_of(grows, risen)", "grows"),
    Mutant(PREPARE, "decaying_sums", "prepare/decaying_sums.py", "return None if found.grows(found.step) == sp.true else found", "return found"),
    Mutant(PREPARE, "decays_by_kind", "prepare/decaying_sums.py", "return bool(sp.expand(mixed) == 0)", "return True"),
    Mutant(PREPARE, "running_sums", "prepare/running_sums.py", "return outer, after, constant == -1", "return outer, after, False"),
    Mutant(PREPARE, "running_sums", "prepare/running_sums.py", "sp.exp(u - stop_gradient(largest))", "sp.exp(u)"),
    Mutant(PREPARE, "running_sums", "prepare/running_sums.py", "+ guarded(before, exists)", "+ before"),
    Mutant(PREPARE, "running_sums", "prepare/running_sums.py", "weight * sp.exp(u - ", "sp.exp(u - "),
    Mutant(PREPARE, "running_sums", "prepare/running_sums.py", "running.guard), guard=TRUE)", "TRUE), guard=TRUE)"),
    Mutant(PREPARE, "running_sums", "prepare/running_sums.py", "len(exponents_of(s)) == 1 and rest == TRUE", "len(exponents_of(s)) == 1"),
    Mutant(PREPARE, "stabilize", "prepare/stabilize.py", "constant * sigmoid(-a) if", "constant * sigmoid(a) if"),
    Mutant(PREPARE, "stabilize", "prepare/stabilize.py", "log1p(sp.exp(-2 * sp.Abs(a))) - sp.log(2)", "log1p(sp.exp(-2 * sp.Abs(a)))"),
    Mutant(PREPARE, "stabilize", "prepare/stabilize.py", "self.keep(replace(s, target=total, expression=weight * power))", "self.keep(replace(s, target=total, expression=power))"),
    Mutant(PREPARE, "stabilize", "prepare/stabilize.py", "self.keep(replace(maximum, expression=stop_gradient(exponent)))", "self.keep(replace(maximum, expression=stop_gradient(exponent), guard=TRUE))"),
    Mutant(PREPARE, "shorten", "prepare/shorten.py", "        return sign * largest", "        return largest"),
    Mutant(PREPARE, "shorten", "prepare/shorten.py", "            rest = all_of(rest, negation(condition))", "            rest = all_of(rest, condition)"),
    Mutant(DERIVE, "adjoint", "derive/differentiate.py", "guard = all_of(s.guard, condition)", "guard = s.guard"),
    Mutant(DERIVE, "adjoint", "derive/differentiate.py", "reverse=not s.scan.reverse", "reverse=s.scan.reverse"),
    Mutant(DERIVE, "adjoint", "derive/differentiate.py", "domain=tuple(r for r in s.domain if r.index not in at_winner),\n            guard=guard", "domain=s.domain,\n            guard=guard"),
    Mutant(DERIVE, "tangents", "derive/differentiate.py", "terms.append(term if condition == sp.true else", "terms.append(term if condition else"),
    Mutant(DERIVE, "tangents", "derive/differentiate.py", 'dots[s.target],\n        operator="=" if s.operator == "max=" else s.operator', "dots[s.target],\n        operator=s.operator"),
    Mutant(DERIVE, "with_tangents", "derive/partials.py", "guard=all_of(s.guard, condition, sp.Eq(a, b))", "guard=all_of(s.guard, condition)"),
    Mutant(DERIVE, "with_tangents", "derive/partials.py", "split_guard(s.expression) if reads_of(a, b) else (s.expression, TRUE)", "(s.expression, TRUE)"),
    Mutant(DERIVE, "by_row", "derive/by_row.py", "one = {self.size: sp.Integer(1)}", "one = {}"),
    Mutant(DERIVE, "by_row", "derive/by_row.py", "Read(read.tensor, self.index, *at) if read.tensor in self.gained else Read(read.tensor, *at)", "Read(read.tensor, *at)"),
    Mutant(SIMPLIFY, "forget_stop_gradients", "simplify/simplify.py", "return node.args[0] if isinstance(node, stop_gradient) else node", "return node.args[0].args[0] if isinstance(node, stop_gradient) else node"),
    Mutant(SIMPLIFY, "numbers_outside", "simplify/factors.py", "sp.Mul(*(number for number, _ in parts), *(factor for _, factor in parts))", "sp.Mul(*(factor for _, factor in parts))"),
    Mutant(SIMPLIFY, "guards_outside", "simplify/guarded.py", 'whole = s.operator == "=" and s.scan is None and', 'whole = s.operator == "=" and'),
    Mutant(SIMPLIFY, "guards_outside", "simplify/guarded.py", "expression=value, guard=condition)", "expression=value)"),
    Mutant(SIMPLIFY, "count_instead_of_adding", "simplify/additions.py", "indices_of(s.expression) | indices_of(s.guard) |", "indices_of(s.expression) |"),
    Mutant(SIMPLIFY, "count_instead_of_adding", "simplify/additions.py", "expression=count * s.expression", "expression=s.expression"),
    Mutant(SIMPLIFY, "leave_scans", "rewrite/scans.py", "after.insert(0, replace(s, scan=None))", "after.append(replace(s, scan=None))"),
    Mutant(SIMPLIFY, "leave_scans", "rewrite/scans.py", "return any(reads(s, t.target) for t in inside)", "return any(reads(s, t.target) for t in inside if t is not s)"),
    Mutant(SIMPLIFY, "assign_once", "simplify/additions.py", 'if s.operator == "+=" and len(program.writers[s.target]) == 1:', 'if s.operator == "+=":'),
    Mutant(SIMPLIFY, "assign_once", "simplify/additions.py", "elif not s.reduced and s.covers(shape):", "elif not s.reduced:"),
    Mutant(SIMPLIFY, "assign_parts", "simplify/additions.py", "if extent == len(writers) > 1 and", "if len(writers) > 1 and"),
    Mutant(SIMPLIFY, "read_through_constants", "simplify/copies.py", "return is_internal(program, name) or (vanishes", "return True or (vanishes"),
    Mutant(SIMPLIFY, "read_through_constants", "simplify/copies.py", "s.mapped(lambda e: replace_reads(e, lambda r: numbers.get(r.tensor, r)))", "s.with_parts(expression=replace_reads(s.expression, lambda r: numbers.get(r.tensor, r)))"),
    Mutant(SIMPLIFY, "forget_implied_guards", "simplify/guarded.py", "implies(parts_of(at_read(w, source, guard_outside(w))), s.guard)", "implies(parts_of(guard_outside(w)), s.guard)"),
    Mutant(SIMPLIFY, "forget_implied_guards", "simplify/guarded.py", "at_read(w, source, guard_outside(w))", "at_read(w, source, w.guard)"),
    Mutant(SIMPLIFY, "read_through_copies", "rewrite/conditions.py", "return at_read(writer, read, writer.expression) if", "return writer.expression if"),
    Mutant(SIMPLIFY, "read_through_copies", "simplify/copies.py", "return is_internal(program, s.target) and s.covers(program.tensor(s.target).shape)", "return is_internal(program, s.target)"),
    Mutant(SIMPLIFY, "read_through_guarded_copies", "simplify/guarded.py", " or not all(knows(t, copy) for t in statements):", ":"),
    Mutant(SIMPLIFY, "store_diagonals", "simplify/stored.py", " and all(r.subscripts[i] == r.subscripts[j] for r in reads)", ""),
    Mutant(SIMPLIFY, "store_diagonals", "form/program.py", "domain = tuple(r for r in self.domain if r.index not in places)", "domain = self.domain"),
    Mutant(SIMPLIFY, "drop_zero_additions", "simplify/additions.py", "writers[s.target] > 1:\n            writers[s.target] -= 1\n        else:", "writers[s.target] > 1:\n            pass\n        else:"),
    Mutant(SIMPLIFY, "keep_calls", "simplify/held.py", "if last > pass_of(s) and call not in {*whole, -s.expression}:", "if call not in {*whole, -s.expression}:"),
    Mutant(SIMPLIFY, "keep_calls", "simplify/held.py", "*(r.index for r in domain))", "*(r.index for r in reversed(domain)))"),
    Mutant(SIMPLIFY, "reuse_held_values", "simplify/held.py", " if len(program.writers[s.target]) == 1 else None", ""),
    Mutant(SIMPLIFY, "reuse_held_values", "rewrite/held.py", "if not implies(known, self.instance(held.condition, mapping)):", "if False:"),
    Mutant(SIMPLIFY, "reuse_held_values", "rewrite/held.py", "None if found is None else sp.Mul(found[0], value, *found[1])", "None if found is None else sp.Mul(value, *found[1])"),
    Mutant(SIMPLIFY, "divide_sums_once", "simplify/factors.py", "return guard_outside(s) == s.guard and all(", "return all("),
    Mutant(SIMPLIFY, "divide_sums_once", "simplify/factors.py", "if not indices_of(factor) & reduced]\n    return outside, [factor", "if not indices_of(factor) >= reduced]\n    return outside, [factor"),
    Mutant(SIMPLIFY, "read_through_quotients", "simplify/factors.py", "if h.read.tensor in t.sources and knows(t, writer):", "if h.read.tensor in t.sources:"),
    Mutant(SIMPLIFY, "read_through_quotients", "simplify/factors.py", "if earlier < later and other is not h:", "if other is not h:"),
    Mutant(SIMPLIFY, "add_up", "simplify/factors.py", "key = (own, s.target, s.subscripts, s.domain, s.guard,", "key = (own, s.target, s.subscripts, s.domain,"),
    Mutant(SIMPLIFY, "add_up", "simplify/factors.py", "if f not in shared)) for e in (a, b))", "if f not in shared)) for e in (a, a))"),
    Mutant(SIMPLIFY, "compare_arguments", "simplify/guarded.py", "((sp.Max, sp.Gt), (sp.Min, sp.Lt))", "((sp.Max, sp.Ge), (sp.Min, sp.Lt))"),
    Mutant(SIMPLIFY, "write_through_copies", "simplify/stored.py", "if program.readers[source] == [copy] and is_internal", "if is_internal"),
    Mutant(SIMPLIFY, "write_through_copies", "simplify/stored.py", "tuple(substitute(i, at) for i in copy.subscripts)", "copy.subscripts"),
    Mutant(ARRANGE, "recompute_differences", "arrange/arrange.py", "return positive, -negative", "return positive, negative"),
    Mutant(ARRANGE, "recompute_differences", "arrange/arrange.py", "is_lone(program, s) and is_read_under_guard(program, s))", "is_lone(program, s))"),
    Mutant(ARRANGE, "assign_under_guards", "rewrite/conditions.py", "expression=guarded(s.expression, s.guard), guard=TRUE", "guard=TRUE"),
    Mutant(ARRANGE, "share_calls", "arrange/arrange.py", "part = is_costly(s.expression) and", "part = False and"),
    Mutant(ARRANGE, "share_calls", "arrange/arrange.py", "if part and not s.covers(program.tensor(s.target).shape)", "if part"),
    Mutant(ARRANGE, "share_calls", "arrange/arrange.py", "else None, s.direction, call, domain", "else None, s.direction, type(call), domain"),
    Mutant(ARRANGE, "time_major", "arrange/time_major.py", "refused.add(access.tensor)", "pass"),
    Mutant(ARRANGE, "time_major", "arrange/time_major.py", "subscripts=moved(s.target, changed.subscripts)", "subscripts=moved(s.target, s.subscripts)"),
    Mutant(ARRANGE, "time_major", "arrange/time_major.py", "[s.mapped(lambda e: replace_reads(e, move))]", "[replace(s.mapped(lambda e: replace_reads(e, move)), guard=s.guard)]"),
    Mutant(ARRANGE, "contract_products", "arrange/products.py", "expression=sp.Mul(*outer, total)", "expression=total"),
    Mutant(ARRANGE, "contract_products", "arrange/products.py", "key = (factor, box, s.scan)", "key = (box, s.scan)"),
    Mutant(ARRANGE, "transposed_for_reuse", "arrange/transposes.py", " and not (written and any(name in s.sources for s in own))", ""),
    Mutant(ARRANGE, "transposed_for_reuse", "arrange/transposes.py", "s is last[s.target]:", "s is not last[s.target]:"),
    Mutant(PREPARE, "shorten", "prepare/shorten.py", "long or (is_division(node) and bool(reads_of(node)))", "long"),
    Mutant(SIMPLIFY, "at_the_only_index", "simplify/guarded.py", "if other.extent == r.extent and other.index", "if other.index"),
    Mutant(CODE, "bounded", "code/bound.py", '{"<": 0, "<=": 1, ">": 1, ">=": 0}', '{"<": 0, "<=": 0, ">": 1, ">=": 0}'),
    Mutant(CODE, "bounded", "code/bound.py", "else tighter(own, bound)", "else bound"),
    Mutant(CODE, "bounded", "code/bound.py", "(loop.start, sp.Max) if is_start else (loop.stop, sp.Min)", "(loop.start, sp.Min) if is_start else (loop.stop, sp.Max)"),
    Mutant(CODE, "bounded", "code/bound.py", "if proof.is_at_most(high, low, point):", "if True:"),
    Mutant(CODE, "bounded", "code/bound.py", "or not all_under(loop.body, condition):", "or False:"),
    Mutant(CODE, "with_running_sums", "code/running.py", "place, after = substitute(place, {there: here}), not after", "place = substitute(place, {there: here})"),
    Mutant(CODE, "with_running_sums", "code/running.py", "(store, add) if running.strict else (add, store)", "(add, store)"),
    Mutant(CODE, "with_running_sums", "code/running.py", "if fixed and (free", "if (free"),
    Mutant(CODE, "with_running_sums", "code/running.py", "all(set.intersection(*own) for own in axes.values())", "True"),
    Mutant(CODE, "with_running_sums", "code/running.py", "if running.guard == TRUE else If(running.guard, (add,))", "if True else If(running.guard, (add,))"),
    Mutant(CODE, "borders_apart", "code/borders.py", "and proof.is_at_most(place + 1, loop.stop, point)", ""),
    Mutant(CODE, "borders_apart", "code/borders.py", "isinstance(t, sp.Ne) is apart", "isinstance(t, sp.Eq) is apart"),
    Mutant(CODE, "borders_apart", "code/borders.py", "if local is None or local in read_in(*done):", "if local is None:"),
    Mutant(CODE, "joined", "code/guards.py", "a.condition == b.condition and {", "a.condition == b.condition or {"),
    Mutant(CODE, "guarded_once", "code/guards.py", "is_invariant(inner.condition, {code.index, *indices_in(code.body)}, written_in(code))", "True"),
    Mutant(CODE, "carried", "code/carry.py", '"=" if first else r.operator, value', '"=", value'),
    Mutant(CODE, "carried", "code/carry.py", "[store] if first or r.guard == TRUE else [If(r.guard, (store,))]", "[store]"),
    Mutant(CODE, "carried", "code/carry.py", "found |= {None} if any(may_be(r, here) for r in reads) else set()", "found |= set()"),
    Mutant(CODE, "in_place", "code/in_place.py", "len(others) == len(terms) - 1", "len(terms) > 1"),
    Mutant(CODE, "hoisted", "code/hoist.py", "takes_time and is_invariant(e, own, written) and", "takes_time and is_invariant(e, own, ()) and"),
    Mutant(CODE, "shared", "code/share.py", "return position + isinstance(code, Let | Assign)", "continue"),
    Mutant(CODE, "shared", "code/share.py", "(made_in(code.body) & made_in(code.otherwise))", "(made_in(code.body) | made_in(code.otherwise))"),
    Mutant(CODE, "read_once", "code/read_once.py", "if not written.isdisjoint((read.tensor, *(r.tensor for r in reads_of(*read.subscripts)))):", "if False:"),
    Mutant(CODE, "read_once", "code/read_once.py", "[code.index], written) and self.proof.may_be_read(c.value, point)", "[code.index], written)"),
    Mutant(CODE, "read_once", "code/read_once.py", "is_invariant(c.value, [code.index], written)", "is_invariant(c.value, [code.index], ())"),
    Mutant(CODE, "read_once", "code/read_once.py", "return read not in reads_of(*point.path) and bound_of(", "return bound_of("),
    Mutant(CODE, "branched", "code/branch.py", "in reversed(pairs):", "in pairs:"),
    Mutant(CODE, "carried", "code/carry.py", "alone=not touched)", "alone=True)"),
    Mutant(CODE, "in_row_blocks", "code/row_blocks.py", "if i != j and is_fixed(i) and is_fixed(j)]", "if i != j]"),
    Mutant(CODE, "in_blocks", "code/blocks.py", "replace(loop, body=body, start=first, stop=", "replace(loop, body=body, stop="),
    Mutant(CODE, "in_blocks", "code/blocks.py", 'Assign(Read(t), "+=", part)', 'Assign(Read(t), "=", part)'),
)
# fmt: on


def main() -> int:
    wanted = sys.argv[1:]
    chosen = [m for m in MUTANTS if not wanted or m.name in wanted]
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        copy_into(Path(folder))
        for mutant in chosen:
            start = time.perf_counter()
            verdict = tried(mutant, Path(folder))
            survived += not verdict.startswith("killed")
            print(f"{mutant.name}, {mutant.file}: {verdict}, {time.perf_counter() - start:.0f} s", flush=True)
            if not verdict.startswith("killed"):
                print(f"    {mutant.text}\n    {mutant.replacement}", flush=True)
    print(
        f"{len(chosen)} mutants of {len({m.name for m in chosen})} passes, {survived} not killed by their pass's test"
    )
    return survived > 0


def copy_into(folder: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)


def tried(mutant: Mutant, folder: Path) -> str:
    """What became of a mutant; the copy is as before afterwards."""
    path = folder / "derivgen" / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.text) != 1:
        return f"stands {text.count(mutant.text)} times, expected once"
    try:
        path.write_text(text.replace(mutant.text, mutant.replacement), encoding="utf-8")
        return verdict_of(mutant, folder)
    finally:
        path.write_text(text, encoding="utf-8")


def verdict_of(mutant: Mutant, folder: Path) -> str:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", mutant.test]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"RANDOM_SPECS": "2", "EVERY_CASE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST)
    failed = re.findall(r"^(?:FAILED|ERROR) \S+?::(\S+)", done.stdout, re.MULTILINE)
    if not failed:
        return "survived" if done.returncode == 0 else f"no test ran:\n{done.stdout}{done.stderr}"
    return f"killed by {failed[0]}" if mutant.name in failed[0] else f"survived its own test, {failed[0]} failed"


if __name__ == "__main__":
    sys.exit(main())
