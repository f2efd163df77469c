"""Programs and derivatives as text and pages for people."""
