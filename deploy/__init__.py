"""Installing and running VISA. Everything here needs Python's standard library only: it runs before .venv exists."""
