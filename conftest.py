"""For the tests in tests/ and for the notebooks in book/, which nbval runs."""

pytest_plugins = ["tools.checks.ends"]
