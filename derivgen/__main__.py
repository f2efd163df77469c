"""`python -m derivgen` is the command `derivgen`."""

from derivgen.cli import main

main()
