"""What makes the book of its sources, and what checks it.

contents.py   what the book consists of: its pages, its notebooks, its addresses
notebooks/    run them again, store them in one form, copy them for those who run them
site/         what the pages need beyond Jupyter Book; the offline edition, the PDF
workshop/     what participants get, slides, the rehearsal on a hub
ptx/          a reader's kernel by a GPU's own instructions, without a GPU
checks/       links, limits of memory, records that have aged, what a release says

Each is a program: `python -m tools.notebooks.copies FOLDER` in the book's folder, and
`python -m tools.ptx my_kernel.cu`.
"""
