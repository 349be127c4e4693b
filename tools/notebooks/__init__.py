"""Notebooks: run, stored in one form, copied for those who run them.

install_cell.py     the first cell, which installs the package where it is missing
normal_form.py      what git can show and nbval can compare
running.py          a notebook in a fresh kernel, and what it took
rerun.py            all of them again, stored in normal form: `make notebooks`
plain_markdown.py   the Markdown of the pages as JupyterLab, Colab and slides know it
markdown_parts.py   what of a page is prose, for translators
translated.py       pages and notebooks in another language
copies.py           copies to run and to change: `make copies`, `make colab`
"""
