"""Where a journal is kept: a SQLite file by its path, or a PostgreSQL database by its URL.

A URL may hold a password. Rules of this file:
1. Only `text` holds it, for the driver; `shown`, `str()` and `repr()` never do, and neither does a
   message about a URL that is not valid.
2. What is valid is what libpq accepts, with the two characters percent-encoded that would have the
   password end elsewhere: so what is hidden is all of the password.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from graphorch.errors import InputError

EXAMPLE: Final = "postgresql://user@host/database"

# `Path` takes the second slash away.
_SCHEME: Final = re.compile(r"\s*(?:([A-Za-z][A-Za-z0-9+.-]+)://|(postgres(?:ql)?):/)", re.I)
_KEYWORDS: Final = re.compile(r"\s*(host|hostaddr|port|dbname|user|password|service)\s*=", re.I)
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
_URL: Final = re.compile(
    r"(?P<scheme>postgres(?:ql)?://)"
    r"(?:(?P<user>[^\s:@/?#]*)(?::(?P<password>[^\s@/]*))?@)?"
    r"(?P<hosts>[^\s@/?#]*)"
    r"(?P<database>/[^\s@/?#]*)?"
    r"(?:\?(?P<options>[^\s#]*))?"
)
_SECRET_OPTION: Final = re.compile(r"pass(word|phrase)?$|secret", re.I)


@dataclass(frozen=True, slots=True)
class JournalAddress:
    """The absolute path of a file, or the URL of a database.

    `shown` is for people: a URL without the passwords that `has_password` says it holds.
    """

    text: str = field(repr=False)
    shown: str
    is_database: bool = False

    @property
    def has_password(self) -> bool:
        """Whether the URL holds a password, which `shown` leaves out."""
        return self.shown != self.text

    @property
    def is_missing(self) -> bool:
        """Whether it is a file that does not exist; only a connection tells about a database."""
        return not (self.is_database or os.path.exists(self.text))

    def __str__(self) -> str:
        return self.shown


def parse_address(name: str) -> JournalAddress:
    """Return the address that a path or URL names.

    Raises `InputError` for a URL that is not one of PostgreSQL, and for its keywords.
    """
    if _KEYWORDS.match(name) is not None:
        raise InputError(
            "The journal is named by connection keywords, which are no path. "
            f"Write them as a URL: {EXAMPLE}"
        )
    scheme = _SCHEME.match(name)
    if scheme is None:
        path = os.path.abspath(name)
        return JournalAddress(path, path)
    kind = (scheme[1] or scheme[2]).lower()
    if kind not in ("postgresql", "postgres"):
        raise InputError(
            f"The journal is named by a URL that begins with {kind}://, and none can be kept "
            f"there. Give a path such as runs.sqlite, or {EXAMPLE}"
        )
    url = _URL.fullmatch(name)
    if url is None:
        raise InputError(
            "The URL of the journal is not valid (it is not repeated here, since it may hold a "
            f"password). Write {EXAMPLE} as a text, with %40 for @, %2F for /, %3A for : and %23 "
            "for # in the user and the password, and without spaces."
        )
    return JournalAddress(name, _hide_passwords(url), is_database=True)


def _hide_passwords(url: re.Match[str]) -> str:
    """Return a URL without its password, and without options that are passwords."""
    user, options = url["user"], url["options"]
    shown = url["scheme"] + (f"{user}@" if user else "") + url["hosts"] + (url["database"] or "")
    kept = [
        option
        for option in (options or "").split("&")
        if not _SECRET_OPTION.search(unquote(option.partition("=")[0]))
    ]
    return shown + ("?" + "&".join(kept) if any(kept) else "")
