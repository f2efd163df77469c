"""The check of a generated module by who trusts nobody: `verify.py`, one file that needs nothing of derivgen."""
