"""Checks that look at the book as a whole; a change need not wait for most of them.

links.py        links within the site and between the files beside it
limits.py       every notebook within the memory of a small machine: `make limits`
tables.py       what a class needs, reckoned from that, and the tables of the pages
environment.py  the environment that Binder gets
freshness.py    records that are older than the code that they measure
release.py      what a release says of itself
"""
