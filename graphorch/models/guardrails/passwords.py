"""Detect passwords by what stands before them: a word, a name, a URL, a switch of a program."""

from __future__ import annotations

import re

from graphorch.models.guardrails.detector import RegexDetector

_STRONG_WORDS = (
    r"passw(?:or)?d|passwort|kennwort|passphrase|passcode|contraseña|mot de passe|pwd"
    r"|wachtwoord|senha|parola d'ordine|hasło|пароль|密码|パスワード"
)
_STRONG_BEGINNINGS = tuple("pas ken con mot pw wac sen par has cla пар 密码 パス".split())
_KEY_WORDS = (
    r"api[ _-]?key|secret[ _-]?access[ _-]?key|access[ _-]?key|account[ _-]?key"
    r"|secret[ _-]?key(?:[_-]?base)?|private[ _-]?key|encryption[ _-]?key|signing[ _-]?key"
    r"|client[ _-]?secret|auth[ _-]?token|access[ _-]?token|refresh[ _-]?token|bot[ _-]?token"
    r"|session[ _-]?token|webhook[ _-]?secret|secret|token|credentials?|clave|contrasena"
    # `pass` and `pw` are also other words: only where a sign follows.
    r"|(?<![A-Za-z])(?:pass|pw)(?=[\"']?[ \t]{0,4}[:=])"
)
_WORD = re.compile(
    rf"(?i)(?=[pkcmastwhп密パ])(?:(?P<strong>{_STRONG_WORDS})|{_KEY_WORDS})[\"'`\]]{{0,2}}"
)
_SIGN = re.compile(
    r"[ \t]{0,4}(?:(?P<sign>=>|:=|==?|[:：]|>(?=[^<>\s]{4,100}</))"
    r"|(?<=[ \t])(?:is|ist|est|es|lautet|war|was|now)(?=[ \t]))[ \t]{0,4}"
)
# In a command line the value of an option follows without a sign.
_FLAG = re.compile(r"(?<!\S)--[\w-]*\Z")
_SPACE = re.compile(r"(?P<sign> )(?!-)")
_QUOTED = re.compile(r"([\"'`])((?:(?!\1)[^\n\\]){4,100})\1")
_BARE = re.compile(r"(?:[^\s\"'`,;<>(){}\[\]\\&]|&(?!\w{1,40}=)){6,512}+")
# Names and calls of code, which stand where a value would.
_PLACES = (
    r"os|env|environ|process|self|this|cls|config|configuration|cfg|conf|settings|secrets|vault|ctx|"
    r"context|request|req|args|options|opts|app|params|props|data|user|state|credentials|creds"
)
_LONGEST_PLACEHOLDER = 128
# The whole value is a placeholder: a password may begin like one.
_PLACEHOLDER = re.compile(
    r"(?i)(?:"
    r"<[^<>]*>?|\{.*\}?|\$\{.*|\$\(.*|\$\[.*|\$[a-z_]+|\$[A-Z][A-Z0-9_]*|\$\d|\$[a-z_]\w*(?:->|\[).*"
    r"|%\(\w+\)[sdr]|%[sdr]|%[a-z_]+%|%\{.*|[*x•.…_\-#]{3,}|@\w+@|!\w+ .*|&\w+;?"
    r"|(?:your|my|the|some|new|old|test|dummy|sample|example|fake)"
    r"(?:[ _-]?(?:own|secret|api|pass(?:word|phrase|code)?|pwd|token|key|value|here|goes|client|"
    r"auth|access|private|new|old|db|admin|user|strong|long|random))*(?:[ _-]?here)?"
    r"|(?:redacted|removed|hidden|masked|omitted|secret|unknown|empty|blank|n/a|tbd|todo|none|"
    r"null|nil|true|false|yes|no|required|optional|undefined|default|string|str|text|bytes|password|"
    r"secretstr|passwords?|tokens?|value)"
    r"|change[ _-]?(?:me|it|this|that)?(?:[ _-]?(?:please|now|later|in[ _-]production))?"
    r"|(?:place ?holder|insert|enter|put|add|replace|fill)[a-z_ -]*"
    rf"|(?:{_PLACES})(?:\.|\[|\(|->|::?)[\w.\[\]()'\"\->:/#]*"
    r"|vault[:/][\w:/.#-]*|https?://.*|[\w.]*\w\(.*"
    r"|[a-z][a-z_.\- ]*(?:password|passwd|secret|token|[_-]key)"
    r")\Z"
)


def _is_placeholder(value: str) -> bool:
    """Return whether a value only stands for a secret, or fetches one from elsewhere."""
    return len(value) <= _LONGEST_PLACEHOLDER and _PLACEHOLDER.match(value) is not None


def _locate_password(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Locate the value that is assigned to a name that says that it is secret.

    A strong word (`password`) needs less of its value than a weak one (`token`), which may also be
    about something else.
    """
    # 1. The sign between name and value; `==` compares and assigns nothing.
    sign = _SIGN.match(text, end)
    if sign is None and _FLAG.search(text[max(0, start - 24) : start]):
        sign = _SPACE.match(text, end)
    if sign is None or sign["sign"] == "==":
        return None
    is_strong = text[start : start + 3].lower().startswith(_STRONG_BEGINNINGS)
    # 2. A value in quotes.
    begin = sign.end()
    quoted = _QUOTED.match(text, begin)
    if quoted is not None:
        shortest = 4 if is_strong else 8
        is_value = _is_password(quoted[2], shortest=shortest, needs_mix=not is_strong)
        return quoted.span(2) if is_value else None
    # 3. A bare value, which may also be a word of prose or the name of a function.
    bare = _BARE.match(text, begin)
    value = bare[0].rstrip(".:") if bare else ""
    end = begin + len(value)
    if text[end : end + 1] in ("(", "[", "{"):
        return None
    is_assignment = sign["sign"] in ("=", "=>", ":=")
    shortest = 6 if is_strong else 8 if _has_all_kinds(value) else 12
    needs_mix = not (is_strong and is_assignment)
    return (begin, end) if _is_password(value, shortest=shortest, needs_mix=needs_mix) else None


def _is_password(value: str, *, shortest: int, needs_mix: bool) -> bool:
    """Return whether a value is not a placeholder or an expression.

    `needs_mix`: a plain word may stand in its place, so it has to be more than a word or a number.
    """
    if len(value) < shortest or _is_placeholder(value):
        return False
    if not needs_mix:
        return True
    has_letter = any(character.isalpha() for character in value)
    return has_letter and (_has_digit(value) or _has_sign(value))


def _has_all_kinds(value: str) -> bool:
    """Return whether letters in both cases, digits and signs are mixed as only passwords do."""
    has_case = value != value.lower() and value != value.upper()
    return has_case and _has_digit(value) and _has_sign(value)


def _has_digit(value: str) -> bool:
    return any(character.isdigit() for character in value)


def _has_sign(value: str) -> bool:
    """Return whether there is a sign that words and numbers do not have."""
    return any(not character.isalnum() and character not in " _-.,/:" for character in value)


_URL_PASSWORD = re.compile(r"(?<=[a-z0-9])://[^\s:/@\"'<>]{0,64}+:(?=[^\s/@\"'<>]{3,128}@)")


def _locate_url_password(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Locate the password of `scheme://name:password@host`."""
    stop = text.index("@", end)
    return None if _is_placeholder(text[end:stop]) else (end, stop)


# Keys by the name of their variable: `AZURE_OPENAI_KEY=…`, `"stripeKey": "…"`.
_NAMED_KEY = re.compile(r"(?=[Kk])(?:(?<=[A-Za-z0-9]_)[Kk](?:EY|ey)|(?<=[a-z])Key)\b[\"'`\]]{0,2}")
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}\Z")
_OTHER_KEYS = re.compile(
    r"(?i)(?:primary|foreign|public|pub|sort|partition|cache|hash|index|unique|natural|surrogate|"
    r"composite|row|object|s3|dict|map|group|join|parent|lookup|i18n|translation|message|label|"
    r"host|site|publishable|idempotency|dedup|routing|storage|file|query|search|order|any|event|"
    r"registry|data|field|column|item|entity|redis|shard|hot|short|react|storage|state)_?\Z"
)
_KEY_VALUE = re.compile(r"[A-Za-z0-9_\-+/=.~]{16,512}+")


def _locate_named_key(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Locate the value of a variable whose name ends with `key`, unless it is another kind of key.

    The value has to look like one: sixteen characters or more, with letters and digits.
    """
    sign = _SIGN.match(text, end)
    name = _NAME.search(text, max(0, start - 64), start)
    if sign is None or sign["sign"] in (None, "==") or name is None:
        return None
    if _OTHER_KEYS.search(name[0]):
        return None
    begin = sign.end() + (text[sign.end() : sign.end() + 1] in ("'", '"', "`"))
    value = _KEY_VALUE.match(text, begin)
    if value is None or text[value.end() : value.end() + 1] in ("(", "[", ":"):
        return None
    is_value = _is_password(value[0].rstrip("."), shortest=16, needs_mix=True)
    return (begin, begin + len(value[0].rstrip("."))) if is_value else None


_PIN = re.compile(
    r"(?<![A-Za-z0-9_])(?:PIN|Pin|pin|Geheimzahl)(?:[ -]?(?:code|Code|number|nummer|Nummer))?[\"']?"
    r"(?:[ \t]{0,4}[:=][ \t]{0,4}|[ \t](?:is|ist|est|es|lautet|was)[ \t]|(?<=PIN)[ \t])[\"']?"
    r"(?=\d{4,8}(?![\w.,:/-]*\d))"
)
_DIGITS = re.compile(r"\d{4,8}")


def _locate_pin(text: str, start: int, end: int) -> tuple[int, int] | None:
    digits = _DIGITS.match(text, end)
    return digits.span() if digits else None


# Passwords in command lines, where the option depends on the program.
_SWITCH = re.compile(r"(?<=[ \t])-[pPau](?=[ \t]?[^\s-])")
_PROGRAM = re.compile(
    r"(?<![\w-])(?:(?P<attached>mysql\w*|mariadb\w*|7za?|unrar|rar)"
    r"|(?P<spaced>sshpass|docker login|podman login|zip|unzip|redis-cli|ftp|smbclient|ldapsearch)"
    r"|(?P<pair>curl|wget|https?))(?![\w:])"
)
_ARGUMENT = re.compile(r"[\"']?([^\s\"']{4,128})")
_SWITCHES = {"-p": ("attached", "spaced"), "-P": ("spaced",), "-a": ("spaced",), "-u": ("pair",)}


def _locate_switch(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Locate the password behind `-p` and the like, for programs that take one there."""
    before = text[max(0, start - 200) : start]
    command = before[1 + max(before.rfind(sign) for sign in "\n|;&") :]
    programs = [match.lastgroup for match in _PROGRAM.finditer(command)]
    kind = programs[-1] if programs else None
    switch = text[start:end]
    if kind not in _SWITCHES[switch]:
        return None
    is_attached = text[end : end + 1] not in (" ", "\t")
    if kind == "attached" and not is_attached:
        return None
    argument = _ARGUMENT.match(text, end if is_attached else end + 1)
    if argument is None:
        return None
    begin, stop = argument.span(1)
    if kind == "pair":
        name, sign, _ = argument[1].partition(":")
        begin += len(name) + len(sign)
        if not sign:
            return None
    value = text[begin:stop]
    return (begin, stop) if _is_password(value, shortest=4, needs_mix=False) else None


PASSWORD = (
    RegexDetector("password", _WORD, _locate_password),
    RegexDetector("password", _URL_PASSWORD, _locate_url_password),
    RegexDetector("password", _NAMED_KEY, _locate_named_key),
    RegexDetector("password", _PIN, _locate_pin),
    RegexDetector("password", _SWITCH, _locate_switch),
)
