"""Says loudly, as the last thing on the screen, that the browser check did not run."""


def pytest_terminal_summary(terminalreporter):
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if "test_site.py" in report.nodeid
    ]
    if skipped:
        terminalreporter.section("THE BROWSER CHECK DID NOT RUN", "!", bold=True)
        terminalreporter.write_line(
            f"{len(skipped)} checks of the built pages were skipped: "
            "Chromium was not found.\n"
            "Install it (on Debian: apt-get install chromium), then: make check-site"
        )
        terminalreporter.section("", "!")
