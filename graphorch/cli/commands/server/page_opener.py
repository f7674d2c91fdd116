"""Opening the page in a browser without showing its token to other users of the machine.

The arguments of a program can be seen by everyone, and a browser is started with what it opens. So
it gets the name of a file that only the user can read, which leads on to the link.
"""

from __future__ import annotations

import html
import os
import webbrowser
from contextlib import suppress
from pathlib import Path

from graphorch.private_files import OWNER_ONLY, UnusableFile, make_user_folder

_PAGE = """<!doctype html>
<meta charset="utf-8"><meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={link}">
<title>graphorch</title><a href="{link}">Open graphorch</a>
"""


def open_page(link: str) -> Path | None:
    """Open a link in the user's browser; return the file that leads there, to be deleted later.

    Where that cannot be done, None is returned: the link was printed.
    """
    with suppress(UnusableFile, OSError, webbrowser.Error):
        path = make_user_folder("state") / f"serve-{os.getpid()}.html"
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(_PAGE.format(link=html.escape(link)))
        webbrowser.open(path.as_uri())
        return path
    return None
