"""Finds secrets: keys in the formats of well-known providers, private keys, tokens, passwords that are assigned, and random strings.

The formats are those that providers document for secret scanners (GitHub, "Supported secret scanning patterns", 2026). Public parts of
credentials (client ids, publishable keys, public keys) and hashes are no secrets.
"""

from __future__ import annotations

import base64
import binascii
import math
import re

from graphorch.models.guardrails.detector import CONTEXT, RegexDetector, locate_whole_match

_KEY_FORMATS = (
    r"sk-ant-[A-Za-z0-9_-]{24,200}+",  # Anthropic
    r"sk-or-v1-[0-9a-f]{32,128}+",  # OpenRouter
    r"(?:rqy[_-]|rqsty-sk-)[A-Za-z0-9_\-+/]{20,200}+",  # Requesty
    r"sk-lf-[0-9a-f-]{36}",  # Langfuse
    r"sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,200}+",  # OpenAI
    r"sk-[A-Za-z0-9]{20,100}+",  # OpenAI, DeepSeek, LiteLLM and many that follow them
    r"AIza[A-Za-z0-9_-]{35}",  # Google
    r"GOCSPX-[A-Za-z0-9_-]{28}",
    r"ya29\.[A-Za-z0-9_-]{30,1024}+",
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",  # AWS
    r"gh[pousr]_[A-Za-z0-9]{36,255}+",  # GitHub
    r"github_pat_[A-Za-z0-9_]{60,255}+",
    r"gl(?:pat|ptt|dt|rt|cbt|soat)-[A-Za-z0-9_-]{20,100}+",  # GitLab
    r"xox[abeoprs]-[A-Za-z0-9-]{20,250}+",  # Slack
    r"xapp-\d-[A-Za-z0-9-]{20,250}+",
    r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,250}+",  # Stripe
    r"hooks\.slack\.com/services/T[A-Z0-9]{6,12}/B[A-Z0-9]{6,12}/[A-Za-z0-9]{20,30}+",
    r"discord(?:app)?\.com/api/webhooks/\d{17,20}/[A-Za-z0-9_-]{60,80}+",
    r"whsec_[A-Za-z0-9+/]{24,100}+",
    r"SK[0-9a-f]{32}",  # Twilio
    r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}+",  # SendGrid
    r"hf_[A-Za-z0-9]{30,100}+",  # Hugging Face
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-AgE[A-Za-z0-9_-]{50,500}+",
    r"gsk_[A-Za-z0-9]{40,100}+",  # Groq
    r"xai-[A-Za-z0-9]{60,100}+",
    r"pplx-[A-Za-z0-9]{32,100}+",  # Perplexity
    r"r8_[A-Za-z0-9]{37}",  # Replicate
    r"nvapi-[A-Za-z0-9_-]{40,100}+",
    r"tvly-[A-Za-z0-9-]{20,100}+",  # Tavily
    r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}",  # LangSmith
    r"do[opr]_v1_[0-9a-f]{64}",  # DigitalOcean
    r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",  # Shopify
    r"dapi[0-9a-f]{32}",  # Databricks
    r"dckr_pat_[A-Za-z0-9_-]{20,64}+",  # Docker
    r"ATATT3[A-Za-z0-9_\-=]{40,250}+",  # Atlassian
    r"ntn_[A-Za-z0-9]{40,60}+",  # Notion
    r"lin_api_[A-Za-z0-9]{32,64}+",  # Linear
    r"glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}",  # Grafana
    r"hv[sb]\.[A-Za-z0-9_-]{24,200}+",  # Vault
    r"sq0(?:atp|csp)-[A-Za-z0-9_-]{22,43}+",  # Square
    r"key-[0-9a-f]{32}",  # Mailgun
    r"AGE-SECRET-KEY-1[A-Z0-9]{58}",
    r"\d{8,10}:AA[A-Za-z0-9_-]{33}",  # Telegram
    r"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}+",  # Discord
)
_FIRST = "[srAgGyxwSHhnpPtldMNO\\dakq]"
API_KEY = (
    RegexDetector(
        "api_key",
        re.compile(rf"(?={_FIRST})(?<![A-Za-z0-9_])(?:{'|'.join(_KEY_FORMATS)})(?![A-Za-z0-9])"),
        locate_whole_match,
    ),
)


# ---- private keys

_LONGEST_BLOCK = 16_384
_END_MARK = 64  # characters that hold the whole end mark
_BLOCK_BEGINS = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_BLOCK_ENDS = re.compile(r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
# Header lines, and then base64 in lines; the lines may be quoted, escaped or commented out, as they are in code and in JSON.
_HEADERS = r"(?:(?:\s|\\[nr]){0,8}[A-Za-z-]{1,24}: [^\n\\]{0,100}){0,6}"
_BODY = re.compile(rf"{_HEADERS}[A-Za-z0-9+/=\s\\\"',#>|]{{0,{_LONGEST_BLOCK}}}+")
_LINE = re.compile(r"[A-Za-z0-9+/=]{40}")


def _block(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The block with its end mark, or as much as there is of it; without a line of base64 it is only talked about."""
    body_ends = _body_ends(text, end)
    if _LINE.search(text, end, body_ends) is None:
        return None
    mark = _BLOCK_ENDS.match(text, body_ends)
    return start, mark.end() if mark else body_ends


def _body_ends(text: str, start: int) -> int:
    body = _BODY.match(text, start)
    return body.end() if body else start


def find_open_key(text: str) -> int | None:
    """Where a private key begins whose end has not been seen: more of it may come."""
    for match in _BLOCK_BEGINS.finditer(text):
        body_ends = _body_ends(text, match.end())
        if (
            len(text) - body_ends < _END_MARK
            and body_ends - match.end() < _LONGEST_BLOCK
            and not _BLOCK_ENDS.match(text, body_ends)
        ):
            return match.start()
    return None


PRIVATE_KEY = (RegexDetector("private_key", _BLOCK_BEGINS, _block),)

# ---- tokens

_JWT = re.compile(
    r"eyJ(?<![A-Za-z0-9_-]...)[A-Za-z0-9_-]{10,512}+\.[A-Za-z0-9_-]{0,2400}+\.[A-Za-z0-9_-]{0,1000}+(?:\.[A-Za-z0-9_-]{1,80}){0,2}"
)


def _jwt(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Three parts of which the first says how the token is signed, or five for an encrypted one."""
    head = text[start : text.index(".", start)]
    return (start, end) if b'"alg"' in _decoded(head) else None


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(
            encoded.rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4), altchars=b"-_"
        )
    except (binascii.Error, ValueError):
        return b""


_AUTH = re.compile(r"[Bb](?<![A-Za-z].)(?:earer|EARER|asic|ASIC)[ \t]{1,4}(?=[A-Za-z0-9])")
_CREDENTIAL = re.compile(r"[A-Za-z0-9._~+/\-]{8,4000}+={0,2}")


def _auth(text: str, start: int, end: int) -> tuple[int, int] | None:
    """What follows `Bearer` if it is no word, and what follows `Basic` if it is a name and a password."""
    match = _CREDENTIAL.match(text, end)
    if match is None:
        return None
    token = match[0].rstrip(".")
    if text[start] in "Bb" and text[start + 1] in "eE":
        is_token = (
            len(token) >= 16
            and any(entry.isdigit() for entry in token)
            and any(entry.isalpha() for entry in token)
        )
    else:
        is_token = b":" in _printable(token)
    return (end, end + len(token)) if is_token else None


def _printable(encoded: str) -> bytes:
    """The text that is encoded, or nothing if it is no text."""
    plain = _decoded(encoded)
    return plain if all(32 <= number < 127 or number in (9, 10, 13) for number in plain) else b""


JWT = (RegexDetector("jwt", _JWT, _jwt),)
AUTH_TOKEN = (RegexDetector("auth_token", _AUTH, _auth),)

# ---- passwords

_STRONG_WORDS = r"passw(?:or)?d|passwort|kennwort|passphrase|passcode|contraseña|mot de passe|pwd"
_KEY_WORDS = (
    r"api[_-]?key|secret[_-]?access[_-]?key|access[_-]?key|account[_-]?key|secret[_-]?key(?:[_-]?base)?|private[_-]?key|encryption[_-]?key|signing[_-]?key"
    r"|client[_-]?secret|auth[_-]?token|access[_-]?token|refresh[_-]?token|bot[_-]?token|session[_-]?token|webhook[_-]?secret|secret|token"
)
_WORD = re.compile(rf"(?i)(?=[pkcmast])(?:(?P<strong>{_STRONG_WORDS})|{_KEY_WORDS})[\"'`\]]{{0,2}}")
_SIGN = re.compile(
    r"[ \t]{0,4}(?:(?P<sign>=>|:=|==?|:|>(?=[^<>\s]{4,100}</))|(?<=[ \t])(?:is|ist|est|es|lautet)(?=[ \t]))[ \t]{0,4}"
)
# of a command line, where the value follows without a sign
_FLAG = re.compile(r"(?<!\S)--[\w-]*\Z")
_SPACE = re.compile(r"(?P<sign> )(?!-)")
_QUOTED = re.compile(r"([\"'`])((?:(?!\1)[^\n\\]){4,100})\1")
_BARE = re.compile(r"(?:[^\s\"'`,;<>(){}\[\]\\&]|&(?!\w{1,40}=)){6,512}+")
_NOT_A_PASSWORD = re.compile(
    r"(?i)<|\$|\{|%|\*{3}|x{4}|\.{3}|•|your|redacted|removed|hidden|masked|change|example$|placeholder|none$|null$|true$|false$"
    r"|required$|optional$|undefined$|secretstr$|string$|os\.|env|process\.|self\.|config\.|settings\.|vault|http|[\w.]*\(|.*(?:password|passwd|secret|token|_key)$"
)


def _password(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The value that is assigned to something whose name says that it is secret."""
    sign = _SIGN.match(text, end) or (
        _SPACE.match(text, end) if _FLAG.search(text[max(0, start - 24) : start]) else None
    )
    if sign is None or sign["sign"] == "==":
        return None
    is_strong = text[start : start + 3].lower() in ("pas", "ken", "con", "mot", "pwd")
    quoted = _QUOTED.match(text, sign.end())
    if quoted is not None:
        return (
            quoted.span(2)
            if _is_password(quoted[2], at_least=4 if is_strong else 8, needs_mix=not is_strong)
            else None
        )
    bare = _BARE.match(text, sign.end())
    value = bare[0].rstrip(".:") if bare else ""
    follows = text[sign.end() + len(value) : sign.end() + len(value) + 1]
    if follows and follows in "([{":
        return None
    mixed = not (is_strong and sign["sign"] in ("=", "=>", ":="))
    return (
        (sign.end(), sign.end() + len(value))
        if _is_password(value, at_least=6 if is_strong else 12, needs_mix=mixed)
        else None
    )


def _is_password(value: str, *, at_least: int, needs_mix: bool) -> bool:
    """No placeholder, no expression and, where a plain word may stand as well, not just a word or a number."""
    if len(value) < at_least or _NOT_A_PASSWORD.match(value):
        return False
    has_letter, has_digit = (
        any(text.isalpha() for text in value),
        any(text.isdigit() for text in value),
    )
    has_sign = any(not text.isalnum() and text not in " _-.,/:" for text in value)
    return not needs_mix or (has_letter and (has_digit or has_sign))


_URL_PASSWORD = re.compile(r"(?<=[a-z0-9])://[^\s:/@\"'<>]{0,64}+:(?=[^\s/@\"'<>]{3,128}@)")


def _url_password(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The password of `scheme://name:password@host`."""
    stop = text.index("@", end)
    return None if _NOT_A_PASSWORD.match(text, end, stop) else (end, stop)


PASSWORD = (
    RegexDetector("password", _WORD, _password),
    RegexDetector("password", _URL_PASSWORD, _url_password),
)

# ---- strings that look random

_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_\-+/.])[A-Za-z0-9_\-+/]{24,160}+={0,2}(?![A-Za-z0-9_\-+/=.]\w)(?![A-Za-z0-9_\-+/=])"
)
_TURN = re.compile(r"[a-z](?=[A-Z0-9])|[A-Z](?=[a-z0-9])|[0-9](?=[A-Za-z])")
_KNOWN_PUBLIC = re.compile(r"sha\d{1,3}-|AAAA|pk_|[0-9a-fA-F-]+$|0x|xpub|ssh-")


def _random(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Letters of both cases and digits in an order that no name, path, hash or encoded text has."""
    token = text[start:end]
    turns = len(_TURN.findall(token))
    if turns < 0.42 * (len(token) - 1) or _KNOWN_PUBLIC.match(token) or "//" in token:
        return None
    if not (
        any(entry.isdigit() for entry in token)
        and re.search("[a-z]", token)
        and re.search("[A-Z]", token)
    ):
        return None
    if (
        _entropy(token) < 0.85 * math.log2(min(len(token), 62))
        or _printable(token)
        or _is_in_address(text, start)
    ):
        return None
    return start, end


def _entropy(token: str) -> float:
    """Bits for each character (Shannon)."""
    counts = [token.count(text) for text in set(token)]
    return -sum(count / len(token) * math.log2(count / len(token)) for count in counts)


def _is_in_address(text: str, start: int) -> bool:
    """Whether it is part of a URL or of data that is embedded in one; names of documents and videos look random too."""
    before = text[max(0, start - CONTEXT) : start]
    run = before[max((before.rfind(space) for space in " \t\n\r"), default=-1) + 1 :]
    return "://" in run or run.endswith("base64,")


HIGH_ENTROPY = (RegexDetector("high_entropy", _TOKEN, _random),)

SECRETS: dict[str, tuple[RegexDetector, ...]] = {
    "private_key": PRIVATE_KEY, "jwt": JWT, "api_key": API_KEY, "auth_token": AUTH_TOKEN, "password": PASSWORD, "high_entropy": HIGH_ENTROPY,
}  # fmt: skip
