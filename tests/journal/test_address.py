"""Addresses of journals: paths and URLs, and that no password of a URL is ever shown."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from graphorch import InputError
from graphorch.journal.address import parse_address


def test_address_of_path_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path names a file, which may be missing."""
    monkeypatch.chdir(tmp_path)
    address = parse_address("runs.sqlite")
    assert (address.text, address.is_database) == (str(tmp_path / "runs.sqlite"), False)
    assert address.is_missing
    (tmp_path / "runs.sqlite").touch()
    assert not address.is_missing
    assert str(address) == address.text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://h/d", "postgresql://h/d"),
        ("postgres://", "postgres://"),
        ("postgresql:///d", "postgresql:///d"),
        ("postgresql://u@h:5432/d", "postgresql://u@h:5432/d"),
        ("postgresql://u:p@h/d", "postgresql://u@h/d"),
        ("postgresql://u:@h/d", "postgresql://u@h/d"),
        ("postgresql://:p@h/d", "postgresql://h/d"),
        ("postgresql://u:p:q?r%2Fs@[::1]:5,h:6/d?a=b", "postgresql://u@[::1]:5,h:6/d?a=b"),
        ("postgresql://u:p#q@h/d", "postgresql://u@h/d"),
        ("postgresql://%2Frun/d", "postgresql://%2Frun/d"),
        ("postgresql://h/d?password=p", "postgresql://h/d"),
        ("postgresql://h/d?user=u&p%61ssword=p&x=y", "postgresql://h/d?user=u&x=y"),
        ("postgresql://h/d?sslpassword=p&passfile=/f", "postgresql://h/d?passfile=/f"),
        ("postgresql://h/d?oauth_client_secret=p", "postgresql://h/d"),
    ],
)
def test_address_hides_password(url: str, shown: str) -> None:
    """Of a URL, the driver gets all, and a person everything but passwords."""
    address = parse_address(url)
    assert (address.text, address.shown, address.is_database) == (url, shown, True)
    assert address.has_password == (shown != url)
    assert not address.is_missing
    assert str(address) == shown
    assert shown in repr(address)
    assert not address.has_password or url not in repr(address)


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


@given(user=_TEXT, password=_TEXT.map(lambda text: f"s3cret{text}"), name=_TEXT)
def test_address_agrees_with_libpq(user: str, password: str, name: str) -> None:
    """What is shown of a quoted URL is the URL without what libpq takes for the password."""
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    address = parse_address(f"postgresql://{login}@h:5432/{quote(name, safe='')}")
    understood = conninfo_to_dict(address.text)
    assert understood.pop("password") == password
    assert conninfo_to_dict(address.shown) == understood
    assert "s3cret" not in f"{address} {address!r}"


@given(st.text("sS3:@/?#%&=[], 4", max_size=30))
def test_address_never_shows_password(rest: str) -> None:
    """A URL that is accepted hides what libpq takes for the password, however it is written."""
    url = f"postgresql://{rest}"
    try:
        address = parse_address(url)
    except InputError:
        return
    try:
        understood = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return
    shown = conninfo_to_dict(address.shown)
    assert "password" not in shown
    understood.pop("password", None)
    assert shown == understood


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mysql://u:secret@h/d", "URL that begins with mysql://, and none can be kept there"),
        ("https://u:secret@h/d", "URL that begins with https://"),
        ("sqlite:///runs.sqlite", r"sqlite://.* Give a path such as runs.sqlite"),
        ("postgresql+psycopg://u:secret@h/d", r"begins with postgresql\+psycopg://"),
        ("postgresql:/u:secret@h/d", "is not valid .* Write postgresql://user@host/database as"),
        ("postgresql://u:sec/ret@h/d", "is not valid .* %2F for /"),
        ("postgresql://u:sec@ret@h/d", "is not valid .* %40 for @"),
        ("postgresql://u:sec ret@h/d", "is not valid .* without spaces"),
        (" postgresql://u:secret@h/d", "is not valid"),
        ("POSTGRESQL://u:secret@h/d", "is not valid"),
        ("host=h dbname=d password=secret", "named by connection keywords"),
    ],
)
def test_address_refuses_other_names(name: str, message: str) -> None:
    """What is neither a path nor a URL of PostgreSQL is an error that repeats no password."""
    with pytest.raises(InputError, match=message) as caught:
        parse_address(name)
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize("name", ["C:\\runs.sqlite", "a:b", "x/y://z", "notes:/runs"])
def test_address_of_odd_path(name: str) -> None:
    """A path may hold a colon."""
    assert not parse_address(name).is_database
