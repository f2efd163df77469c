"""The commands for who reviews modules: what an edit changes, and who has read what."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from derivgen.errors import DerivgenError
from derivgen.file import store

FORMS = click.Choice(["text", "markdown", "html", "json"])


@click.command()
@click.argument("spec")
@click.option("--against", metavar="REV|FILE", help="A revision of git, or another spec's file; HEAD if omitted.")
@click.option("--format", "form", type=FORMS, default="text", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; stdout if omitted.")
def review(spec: str, against: str | None, form: str, output: Path | None) -> None:
    """Say what an edit of SPEC changes in its module: formulas, derivatives, kernels to read, contract, cost.

    Exit with 0 if there is nothing of substance, 1 if there is something to read, 2 on an error.
    """
    from derivgen.review.approvals import file_for, signed_in
    from derivgen.review.compare import compared, new_model
    from derivgen.review.page import page
    from derivgen.review.state import states

    signed = signed_in(file_for(Path(spec.partition(":")[0]).parent))
    with states(spec, against) as pairs:
        found = [new_model(now, signed) if before is None else compared(before, now, signed) for before, now in pairs]
        text = page(found, form)
    if output is None:
        click.echo(text)
    else:
        store.write_bytes(output, f"{text}\n".encode())
    sys.exit(1 if any(r.is_of_substance for r in found) else 0)


@click.command()
@click.argument("modules", nargs=-1, required=True, metavar="MODULE...", type=click.Path(path_type=Path))
@click.option("--by", "who", required=True, metavar="NAME", help="Who has read it.")
def approve(modules: tuple[Path, ...], who: str) -> None:
    """Note that somebody has read all sections of generated modules, in derivgen-approvals.toml.

    A section that stands in several modules with the same text is signed once for all of them.
    """
    from derivgen.project.project import shortest
    from derivgen.review.approvals import approve

    for module in modules:
        count, file = approve(module, who)
        said = f"{count} sections signed by {who} in {shortest(file)}"
        click.echo(f"{module}: {said if count else 'all its sections are signed already'}")


@click.command()
@click.argument("spec")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File; SPEC_certificate.json if omitted.")
def certify(spec: str, output: Path | None) -> None:
    """Write the certificate of SPEC's model: its formulas, and each adjoint with the rule that it follows by.

    `python verify.py MODULE CERTIFICATE` checks it without derivgen, see docs/review.md.
    """
    from derivgen.errors import DerivgenError
    from derivgen.project.spec import load_targets
    from derivgen.review.certificate import certificate

    targets = load_targets(spec)
    if output is not None and len(targets) > 1:
        names = ", ".join(target.model.name for target in targets)
        raise DerivgenError(f"{spec} has several models ({names}), which one file cannot hold: name one as SPEC:NAME")
    for target in targets:
        made = certificate(target.model, target.spec)
        file = output or target.output.with_name(target.output.name.replace("_kernels.py", "_certificate.json"))
        store.write_bytes(file, f"{json.dumps(made, ensure_ascii=False, indent=1)}\n".encode())
        click.echo(f"{file}: {len(made['stable'])} formulas, {len(made['adjoints'])} adjoints")


@click.command()
@click.argument("spec")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File of HTML to write.")
@click.option("--against", metavar="REV|FILE", help="A revision of git, or another spec's file, to compare with.")
def report(spec: str, output: Path, against: str | None) -> None:
    """Write one page on SPEC: its statements, each with formula, adjoints, kernels, and the evidence for them."""
    from derivgen.report.page import html_page, report_against, report_of
    from derivgen.review.state import state_now, states

    if output.suffix.casefold() not in (".html", ".htm"):
        raise DerivgenError(f"-o {output}: expected a file of HTML, such as {output.stem or 'report'}.html")
    if against is None:
        text = html_page([report_of(state) for state in state_now(spec)])
    else:
        with states(spec, against) as pairs:
            text = html_page([report_against(before, now) for before, now in pairs])
    store.write_bytes(output, text.encode())
    click.echo(f"{output}: written")
