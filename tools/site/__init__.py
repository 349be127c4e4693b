"""What the pages need beyond Jupyter Book's settings, and what is made of them.

package.json        the browser libraries and esbuild, which make puts into .vendor
sphinx_book.py      the Sphinx extension of the book; it calls the others
sphinx_reading.py   what a page says of itself: its question, its time, its place
sphinx_moved.py     old addresses of renamed pages, which lead on
sphinx_lost.py      a line for readers who got lost
sphinx_copies.py    buttons that open the copies of the notebooks
sphinx_light.py     what pages load, made less
sphinx_live.py      the script of the live figures
scripts.py          modules as one plain script, by esbuild
browser.py          Chromium on this machine
offline.py          the site as a zip: `make offline`
pdf.py              the book as one PDF: `make pdf`
sphinx_languages.py every page in the book's other languages, and what those need
translation.py      the book in another language: `make messages`, `make translation`
translated_site.py  its pages as a site beside the English one
translated_words.py what scripts, theme and map say around the pages
"""
