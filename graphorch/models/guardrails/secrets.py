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
# `Authorization: token …`, `Authorization: ApiKey …`, and a header with the credential alone.
_HEADER = re.compile(
    r"(?i)(?=a)(?<![a-z])authorization[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?"
    r"(?:(?:token|api-?key|key|digest|negotiate|aws4-hmac-sha256|splunk)[ \t]{1,4})?"
    r"(?=[A-Za-z0-9])(?!bearer|basic)"
)
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


def _locate_header_token(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Locate the credential of an `Authorization` header of another scheme than the usual two."""
    match = _CREDENTIAL.match(text, end)
    if match is None:
        return None
    token = match[0].rstrip(".")
    return (end, end + len(token)) if _is_bearer_token(token) else None


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
AUTH_TOKEN = (
    RegexDetector("auth_token", _AUTH, _locate_auth_token),
    RegexDetector("auth_token", _HEADER, _locate_header_token),
)

# ---- passwords

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

# ---- strings that look random

_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_\-+/.])[A-Za-z0-9_\-+/]{24,160}+={0,2}"
    r"(?![A-Za-z0-9_\-+/=.]\w)(?![A-Za-z0-9_\-+/=])"
)
_TURN = re.compile(r"[a-z](?=[A-Z0-9])|[A-Z](?=[a-z0-9])|[0-9](?=[A-Za-z])")
_KNOWN_PUBLIC = re.compile(
    r"sha\d{1,3}-|AAAA|pk_|Qm[1-9A-HJ-NP-Za-km-z]{44}$|[0-9a-fA-F-]+$|0x|xpub|ssh-"
)
# Words before values that identify something and open nothing.
_PUBLIC_NAME = re.compile(
    r"(?i)(?:sha-?\d{0,3}|md5|blake\w{0,3}|hash|digest|checksum|integrity|fingerprint|etag|cid|"
    r"ssh-rsa|ssh-ed25519|public[ _-]?key|pub[ _-]?key)[\"']?[ \t]{0,3}[:=( -]?[ \t]{0,3}[\"']?\Z"
)
_BLOCK_LINE = re.compile(r"[A-Za-z0-9+/]{60,76}|-----(?:BEGIN|END) [A-Z0-9 ]{3,40}-----")
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
    # 4. It is not encoded text, part of an address, a hash, or a line of a longer block.
    if _decode_text(token) or _is_in_address(text, start):
        return None
    if _PUBLIC_NAME.search(text, max(0, start - 48), start) or _is_line_of_block(text, start, end):
        return None
    return start, end


def _is_line_of_block(text: str, start: int, end: int) -> bool:
    """Return whether a token is a whole line between other lines of base64.

    Certificates, public keys and attachments look so; private keys have a detector of their own.
    """
    before, after = text[max(0, start - 90) : start], text[end : end + 90]
    if not before.endswith("\n") or (after and not after.startswith("\n")):
        return False
    neighbours = [*before.rstrip("\n").rsplit("\n", 1)[-1:], *after[1:].split("\n", 1)[:1]]
    return any(_BLOCK_LINE.fullmatch(line) for line in neighbours)


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


# 32 bytes in hexadecimal digits are a hash as often as a key: the words before decide.
_HEX = re.compile(r"(?<![A-Za-z0-9])(?:0x)?[0-9a-fA-F]{64}(?![A-Za-z0-9])")
_KEY_NAME = re.compile(
    r"(?i)(?:key|secret|seed|token|credential|schlüssel|clave|clé|mnemonic|password|passwort)"
    r"[^\n]{0,24}\Z"
)
_HASH_NAME = re.compile(
    r"(?i)(?:sha|md5|hash|digest|checksum|commit|fingerprint|public|transaction|tx|block|image|"
    r"layer|cache|etag|integrity|object|address)[^\n]{0,40}\Z"
)


def _locate_hex_key(text: str, start: int, end: int) -> tuple[int, int] | None:
    before = text[max(0, start - 72) : start]
    if _KEY_NAME.search(before) is None or _HASH_NAME.search(before) is not None:
        return None
    return start, end


HIGH_ENTROPY = (
    RegexDetector("high_entropy", _TOKEN, _locate_random),
    RegexDetector("high_entropy", _HEX, _locate_hex_key),
)

SECRETS: dict[str, tuple[RegexDetector, ...]] = {
    "private_key": PRIVATE_KEY,
    "jwt": JWT,
    "api_key": API_KEY,
    "auth_token": AUTH_TOKEN,
    "password": PASSWORD,
    "high_entropy": HIGH_ENTROPY,
}
