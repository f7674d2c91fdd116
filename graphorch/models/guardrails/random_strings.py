"""Detect strings that look random, unless they are public: hashes, public keys, names."""

from __future__ import annotations

import math
import re

from graphorch.models.guardrails.detector import CONTEXT, RegexDetector
from graphorch.models.guardrails.tokens import decode_text

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
    if decode_text(token) or _is_in_address(text, start):
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
