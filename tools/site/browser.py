"""Chromium on this machine; its names are the doctor's."""

import shutil

from rwkv_book.doctor.machine import CHROMIUM


def chromium():
    """The path of Chromium, or of Chrome; None where there is neither."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)
