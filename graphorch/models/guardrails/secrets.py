"""Detectors of secrets: provider keys, private keys, tokens, assigned passwords, random strings.

The formats are those that providers document for secret scanners (GitHub, "Supported secret
scanning patterns", 2026). Public parts of credentials (client ids, publishable keys, public keys)
and hashes are not secrets.
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
# First characters of all formats, so that a search can skip to them.
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
# Header lines, and then base64 in lines; the lines may be quoted, escaped or commented out, as they
# are in code and in JSON.
_HEADERS = r"(?:(?:\s|\\[nr]){0,8}[A-Za-z-]{1,24}: [^\n\\]{0,100}){0,6}"
_BODY = re.compile(rf"{_HEADERS}[A-Za-z0-9+/=\s\\\"',#>|]{{0,{_LONGEST_BLOCK}}}+")
_BASE64_LINE = re.compile(r"[A-Za-z0-9+/=]{40}")


def _locate_block(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Locate the block with its end mark, or as much as there is of it.

    Without a line of base64 the text only mentions a key.
    """
    body_end = _find_body_end(text, end)
    if _BASE64_LINE.search(text, end, body_end) is None:
        return None
    mark = _BLOCK_ENDS.match(text, body_end)
    return start, mark.end() if mark else body_end


def _find_body_end(text: str, start: int) -> int:
    body = _BODY.match(text, start)
    return body.end() if body else start


def find_open_key(text: str) -> int | None:
    """Return where a private key begins whose end has not been seen, so that more may come."""
    for begin in _BLOCK_BEGINS.finditer(text):
        body_end = _find_body_end(text, begin.end())
        # Open in three conditions: the body reaches to the end of the text (but for a piece of the
        # end mark), it may still grow, and the end mark is not there.
        reaches_end = len(text) - body_end < _END_MARK
        may_grow = body_end - begin.end() < _LONGEST_BLOCK
        if reaches_end and may_grow and not _BLOCK_ENDS.match(text, body_end):
            return begin.start()
    return None


PRIVATE_KEY = (RegexDetector("private_key", _BLOCK_BEGINS, _locate_block),)

# ---- tokens

_JWT = re.compile(
    r"eyJ(?<![A-Za-z0-9_-]...)[A-Za-z0-9_-]{10,512}+\.[A-Za-z0-9_-]{0,2400}+"
    r"\.[A-Za-z0-9_-]{0,1000}+(?:\.[A-Za-z0-9_-]{1,80}){0,2}"
)


def _locate_jwt(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Accept three parts, or five if encrypted, of which the first names the algorithm."""
    header = text[start : text.index(".", start)]
    return (start, end) if b'"alg"' in _decode_base64(header) else None


def _decode_base64(encoded: str) -> bytes:
    bare = encoded.rstrip("=")
    padding = "=" * (-len(bare) % 4)
    try:
        return base64.b64decode(bare + padding, altchars=b"-_")
    except (binascii.Error, ValueError):
        return b""


_AUTH = re.compile(r"[Bb](?<![A-Za-z].)(?:earer|EARER|asic|ASIC)[ \t]{1,4}(?=[A-Za-z0-9])")
_CREDENTIAL = re.compile(r"[A-Za-z0-9._~+/\-]{8,4000}+={0,2}")
_SHORTEST_BEARER = 16


def _locate_auth_token(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Locate the credential behind `Bearer` or `Basic`.

    Behind `Bearer` it is not just a word, and behind `Basic` it is a name and a password.
    """
    match = _CREDENTIAL.match(text, end)
    if match is None:
        return None
    token = match[0].rstrip(".")
    is_bearer = text[start + 1] in "eE"
    is_token = _is_bearer_token(token) if is_bearer else b":" in _decode_text(token)
    return (end, end + len(token)) if is_token else None


def _is_bearer_token(token: str) -> bool:
    has_digit = any(character.isdigit() for character in token)
    has_letter = any(character.isalpha() for character in token)
    return len(token) >= _SHORTEST_BEARER and has_digit and has_letter


def _decode_text(encoded: str) -> bytes:
    """Return the text that is encoded; empty if it is not printable text."""
    plain = _decode_base64(encoded)
    is_text = all(32 <= code < 127 or code in (9, 10, 13) for code in plain)
    return plain if is_text else b""


JWT = (RegexDetector("jwt", _JWT, _locate_jwt),)
AUTH_TOKEN = (RegexDetector("auth_token", _AUTH, _locate_auth_token),)

# ---- passwords

_STRONG_WORDS = r"passw(?:or)?d|passwort|kennwort|passphrase|passcode|contraseña|mot de passe|pwd"
_STRONG_BEGINNINGS = ("pas", "ken", "con", "mot", "pwd")
_KEY_WORDS = (
    r"api[_-]?key|secret[_-]?access[_-]?key|access[_-]?key|account[_-]?key"
    r"|secret[_-]?key(?:[_-]?base)?|private[_-]?key|encryption[_-]?key|signing[_-]?key"
    r"|client[_-]?secret|auth[_-]?token|access[_-]?token|refresh[_-]?token|bot[_-]?token"
    r"|session[_-]?token|webhook[_-]?secret|secret|token"
)
_WORD = re.compile(rf"(?i)(?=[pkcmast])(?:(?P<strong>{_STRONG_WORDS})|{_KEY_WORDS})[\"'`\]]{{0,2}}")
_SIGN = re.compile(
    r"[ \t]{0,4}(?:(?P<sign>=>|:=|==?|:|>(?=[^<>\s]{4,100}</))"
    r"|(?<=[ \t])(?:is|ist|est|es|lautet)(?=[ \t]))[ \t]{0,4}"
)
# In a command line the value of an option follows without a sign.
_FLAG = re.compile(r"(?<!\S)--[\w-]*\Z")
_SPACE = re.compile(r"(?P<sign> )(?!-)")
_QUOTED = re.compile(r"([\"'`])((?:(?!\1)[^\n\\]){4,100})\1")
_BARE = re.compile(r"(?:[^\s\"'`,;<>(){}\[\]\\&]|&(?!\w{1,40}=)){6,512}+")
_NOT_A_PASSWORD = re.compile(
    r"(?i)<|\$|\{|%|\*{3}|x{4}|\.{3}|•|your|redacted|removed|hidden|masked|change|example$"
    r"|placeholder|none$|null$|true$|false$|required$|optional$|undefined$|secretstr$|string$"
    r"|os\.|env|process\.|self\.|config\.|settings\.|vault|http|[\w.]*\("
    r"|.*(?:password|passwd|secret|token|_key)$"
)


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
    is_strong = text[start : start + 3].lower() in _STRONG_BEGINNINGS
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
    shortest = 6 if is_strong else 12
    needs_mix = not (is_strong and is_assignment)
    return (begin, end) if _is_password(value, shortest=shortest, needs_mix=needs_mix) else None


def _is_password(value: str, *, shortest: int, needs_mix: bool) -> bool:
    """Return whether a value is not a placeholder or an expression.

    `needs_mix`: a plain word may stand in its place, so it has to be more than a word or a number.
    """
    if len(value) < shortest or _NOT_A_PASSWORD.match(value):
        return False
    if not needs_mix:
        return True
    has_letter = any(character.isalpha() for character in value)
    has_digit = any(character.isdigit() for character in value)
    has_sign = any(not character.isalnum() and character not in " _-.,/:" for character in value)
    return has_letter and (has_digit or has_sign)


_URL_PASSWORD = re.compile(r"(?<=[a-z0-9])://[^\s:/@\"'<>]{0,64}+:(?=[^\s/@\"'<>]{3,128}@)")


def _locate_url_password(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Locate the password of `scheme://name:password@host`."""
    stop = text.index("@", end)
    return None if _NOT_A_PASSWORD.match(text, end, stop) else (end, stop)


PASSWORD = (
    RegexDetector("password", _WORD, _locate_password),
    RegexDetector("password", _URL_PASSWORD, _locate_url_password),
)

# ---- strings that look random

_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_\-+/.])[A-Za-z0-9_\-+/]{24,160}+={0,2}"
    r"(?![A-Za-z0-9_\-+/=.]\w)(?![A-Za-z0-9_\-+/=])"
)
_TURN = re.compile(r"[a-z](?=[A-Z0-9])|[A-Z](?=[a-z0-9])|[0-9](?=[A-Za-z])")
_KNOWN_PUBLIC = re.compile(r"sha\d{1,3}-|AAAA|pk_|[0-9a-fA-F-]+$|0x|xpub|ssh-")
_LEAST_TURNS = 0.42  # of all neighbours; a random string of 62 characters turns at 0.62
_LEAST_ENTROPY = 0.85  # of the entropy of a random string of that length
_ALPHABET = 62


def _locate_random(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Accept letters of both cases and digits in an order as random as that of a key.

    Names, paths, hashes and encoded texts are less so. The cheap tests come first.
    """
    token = text[start:end]
    # 1. It changes between cases and digits at many places, and is not of a public form.
    turns = len(_TURN.findall(token))
    if turns < _LEAST_TURNS * (len(token) - 1) or _KNOWN_PUBLIC.match(token) or "//" in token:
        return None
    # 2. It holds digits and both cases.
    has_digit = any(character.isdigit() for character in token)
    if not has_digit or not re.search("[a-z]", token) or not re.search("[A-Z]", token):
        return None
    # 3. Its characters are spread evenly.
    highest_entropy = math.log2(min(len(token), _ALPHABET))
    if _compute_entropy(token) < _LEAST_ENTROPY * highest_entropy:
        return None
    # 4. It is not encoded text, and not part of an address.
    if _decode_text(token) or _is_in_address(text, start):
        return None
    return start, end


def _compute_entropy(token: str) -> float:
    """Return the Shannon entropy of the characters, in bits for each."""
    counts = [token.count(character) for character in set(token)]
    return -sum(count / len(token) * math.log2(count / len(token)) for count in counts)


def _is_in_address(text: str, start: int) -> bool:
    """Return whether a place is inside of a URL or of data embedded in one.

    Names of documents and videos in URLs look random too.
    """
    before = text[max(0, start - CONTEXT) : start]
    last_space = max(before.rfind(space) for space in " \t\n\r")
    run = before[last_space + 1 :]
    return "://" in run or run.endswith("base64,")


HIGH_ENTROPY = (RegexDetector("high_entropy", _TOKEN, _locate_random),)

SECRETS: dict[str, tuple[RegexDetector, ...]] = {
    "private_key": PRIVATE_KEY,
    "jwt": JWT,
    "api_key": API_KEY,
    "auth_token": AUTH_TOKEN,
    "password": PASSWORD,
    "high_entropy": HIGH_ENTROPY,
}
