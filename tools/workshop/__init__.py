"""For a class: what participants get, what the teacher shows, a rehearsal.

participant.py   notebooks without solutions, the package, how to begin
slides.py        slides made from the chapters
rehearse.py      a notebook run as everybody at once on a hub; runs by itself
"""
