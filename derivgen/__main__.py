"""`python -m derivgen` is the command `derivgen`."""

from derivgen.command.main import main

main()
