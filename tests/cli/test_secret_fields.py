"""The command line shows no value of a field that is marked as secret."""

from __future__ import annotations

from tests.cli.shell import Shell

FLOW = """
from pydantic import BaseModel
from graphorch import Graph, Secret, node

class Login(BaseModel):
    token: Secret[int] = 0

class Key(BaseModel):
    key: str = ""

class Done(BaseModel):
    done: str = ""

class State(Login, Key, Done): ...

@node
def derive(login: Login) -> Key:
    return Key(key=f"<{login.token}>")

@node(declassify="returns no key")
def use(key: Key) -> Done:
    if "77777777" in key.key:
        raise ValueError(f"refused: {key.key}")
    return Done(done="used")

flow = Graph("login", State, input=Login, output=Done).chain(derive, use).build()
"""


def test_commands_hide_secrets(shell: Shell) -> None:
    """Runs, events, errors, conversations, reasons and differences do without it."""
    shell.write("login.py", FLOW, preamble="")
    shown = [
        shell("run", "login.py", "--token", "48151623", "--durable", "--events"),
        shell("conversation", "last"),
        shell("why", "login.py", "last", "use"),
        shell("runs", "show", "last"),
        shell("replay", "login.py", "last"),
        shell("rerun", "login.py", "last", "--from", "derive", "--set", "key=<42424242>"),
        shell("run", "login.py", "--token", "77777777", "--durable"),
        shell("conversation", "last", "--format", "html"),
        shell("run", "login.py", "--token", "x48151623"),
    ]
    text = "\n".join(ended.out + ended.err for ended in shown)
    assert [ended.code for ended in shown] == [0, 0, 0, 0, 0, 0, 1, 0, 2]
    for secret in ("48151623", "77777777", "42424242"):
        assert secret not in text
    assert text.count("[hidden]") >= 6
