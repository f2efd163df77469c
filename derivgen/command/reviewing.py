"""The commands for who reviews modules: what an edit changes, and who has read what."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from derivgen.command.help import Command, argument, spec_argument
from derivgen.command.options import FILE
from derivgen.errors import DerivgenError
from derivgen.file import disk

FORMS = click.Choice(["text", "markdown", "html", "json"])

REVIEW = """
    # Show what an edit of the spec changes, before it is committed.
    derivgen review digits.py

    # Compare with a branch, for a comment on a pull request.
    derivgen review digits.py --against main --format markdown
"""


@click.command(cls=Command, examples=REVIEW)
@spec_argument
@click.option(
    "--against", metavar="REV|FILE", help="Compare with a revision of git, or with another spec; HEAD if omitted."
)
@click.option("--format", "form", type=FORMS, default="text", show_default=True, help="The form of what is written.")
@click.option("-o", "--output", type=FILE, metavar="FILE", help="File to write; the terminal if omitted.")
def review(spec: str, against: str | None, form: str, output: Path | None) -> None:
    """Show what an edit of a spec changes: formulas, derivatives, kernels to read, contract, cost.

    The exit code is 0 if nothing of substance changed, 1 if there is something to read, 2 on an error.
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
        disk.write_bytes(output, f"{text}\n".encode())
    sys.exit(1 if any(r.is_of_substance for r in found) else 0)


APPROVE = """
    # Sign all sections of a module that have no signature.
    derivgen approve digits_kernels.py --by "Ada Lovelace"

    # Sign one section only.
    derivgen approve digits_kernels.py --by "Ada Lovelace" --section z2_backward
"""


@click.command(cls=Command, examples=APPROVE)
@argument("modules", "Generated modules.", nargs=-1, required=True, metavar="MODULE...", type=FILE)
@click.option("--by", "who", required=True, metavar="NAME", help="Name of the person who has read them.")
@click.option("--section", "names", multiple=True, metavar="NAME", help="Sign this section only; can be repeated.")
def approve(modules: tuple[Path, ...], who: str, names: tuple[str, ...]) -> None:
    """Note in derivgen-approvals.toml that somebody has read generated modules, and print what was signed.

    A section that stands in several modules with the same text is signed once for all of them. `derivgen check
    --signed` fails if a section has no signature.
    """
    from derivgen.project.project import shortest
    from derivgen.review.approvals import approve

    for module in modules:
        new, file = approve(module, who, names)
        said = f"{len(new)} section{'' if len(new) == 1 else 's'} signed by {who} in {shortest(file)}: {', '.join(new)}"
        those = "the sections of these names" if names else "all its sections"
        click.echo(f"{module}: {said if new else f'{those} are signed already'}")


CERTIFY = """
    # Write the certificate, then check the module by it, without derivgen.
    derivgen certify digits.py
    python verify.py digits_kernels.py digits_certificate.json
"""


@click.command(cls=Command, examples=CERTIFY)
@spec_argument
@click.option("-o", "--output", type=FILE, metavar="FILE", help="File to write; <spec>_certificate.json if omitted.")
def certify(spec: str, output: Path | None) -> None:
    """Write the certificate of a model: its formulas, and each adjoint with the rule that gives it.

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
        disk.write_bytes(file, f"{json.dumps(made, ensure_ascii=False, indent=1)}\n".encode())
        click.echo(f"{file}: {len(made['stable'])} formulas, {len(made['adjoints'])} adjoints")


REPORT = """
    # Write the page of a model.
    derivgen report digits.py -o digits.html

    # Write it with what changed since a revision of git.
    derivgen report digits.py --against HEAD~1 -o changes.html
"""


@click.command(cls=Command, examples=REPORT)
@spec_argument
@click.option("-o", "--output", type=FILE, metavar="FILE", required=True, help="The .html file to write.")
@click.option("--against", metavar="REV|FILE", help="Compare with a revision of git, or with another spec.")
def report(spec: str, output: Path, against: str | None) -> None:
    """Write a page of HTML with each statement of a spec, its adjoints, its kernels, and the evidence for them."""
    from derivgen.report.page import html_page, report_against, report_of
    from derivgen.review.state import state_now, states

    if output.suffix.casefold() not in (".html", ".htm"):
        raise DerivgenError(f"-o {output}: expected a file of HTML, such as {output.stem or 'report'}.html")
    if against is None:
        found = [report_of(state) for state in state_now(spec)]
    else:
        with states(spec, against) as pairs:
            found = [report_against(before, now) for before, now in pairs]
    text = html_page(found)
    for remark in (page.state.remark for page in found if page.state.remark):
        click.echo(f"note: {remark}: the page is about what the spec generates, not about that file", err=True)
    disk.write_bytes(output, text.encode())
    click.echo(f"{output}: written")
