"""Detectors of personal data: addresses, phone numbers, cards, accounts, national identity numbers.

A number without a checksum or a fixed form (a phone number as people write it at home) counts only
behind a word that says what it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from graphorch.models.guardrails import checksums
from graphorch.models.guardrails.detector import RegexDetector

# ---- addresses

# Endings that look like the last part of a host, of names of files and service units.
_NO_DOMAINS = frozenset(
    "png jpg jpeg gif svg webp ico pdf js jsx mjs ts tsx css scss html json xml yml yaml txt csv "
    "service socket timer target mount".split()
)
_NO_PEOPLE = frozenset({"git", "hg", "svn"})
_DOMAIN = re.compile(
    r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}(?:xn--[a-z0-9-]{2,59}|[^\W\d_]{2,24})(?![\w-])"
)
# `scheme://name:password`, which stands before the @ of a host
_LOGIN = re.compile(r"://[^\s/@\"'<>:]*:[^\s/@\"'<>]*\Z")
_LONGEST_LOCAL = 64
_LONGEST_HOST = 253


def _locate_email(text: str, at: int, end: int) -> tuple[int, int] | None:
    # 1. The local part, backwards from the @.
    start = at
    earliest = max(0, at - _LONGEST_LOCAL)
    while start > earliest and (text[start - 1].isalnum() or text[start - 1] in "._%+-'"):
        start -= 1
    while start < at and not text[start].isalnum():
        start += 1
    local = text[start:at]
    # 2. The host, forwards.
    host = _DOMAIN.match(text, end, end + _LONGEST_HOST)
    if not local or host is None or local[-1] == ".":
        return None
    if start > 0 and text[start - 1] == "@":
        return None
    # 3. Not the account of a repository, a file, or the password of a URL.
    if local in _NO_PEOPLE or host[0].rpartition(".")[2].lower() in _NO_DOMAINS:
        return None
    address = text.rfind("://", max(0, at - 200), at)
    if address >= 0 and _LOGIN.match(text, address, at):
        return None
    return start, host.end()


# ---- cards and accounts

_CARDS = (  # the longest form first: three more digits may be the code of the card
    re.compile(r"\d{4}([ -])\d{4}\1\d{4}\1\d{4}\1\d{3}"),
    re.compile(r"\d{4}([ -])(?:\d{4}\1\d{4}\1\d{4}|\d{6}\1\d{4,5})"),
    re.compile(r"\d{14,19}"),
)


def _is_number_end(text: str, end: int) -> bool:
    """Return whether a number ends here: no letter, digit or decimals follow."""
    following = text[end : end + 2]
    if following[:1].isalnum() or following[:1] == "_":
        return False
    return not (following[:1] == "." and following[1:].isdigit())


def _locate_card(text: str, start: int, end: int) -> tuple[int, int] | None:
    for form in _CARDS:
        match = form.match(text, start)
        if match is None or not _is_number_end(text, match.end()):
            continue
        digits = match[0].replace(" ", "").replace("-", "")
        if digits.isascii() and checksums.is_card(digits):
            return match.span()
    return None


def _locate_iban(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Take as many letters and digits as an IBAN of the country has.

    The characters behind may be a word of the sentence.
    """
    length = checksums.iban_length(text[start : start + 2].upper())
    if not length:
        return None
    written = text[start : start + 2 * length]  # with separators
    plain = written.replace(" ", "").replace("-", "")[:length].upper()
    if not plain.isascii() or not plain.isalnum() or not checksums.is_iban(plain):
        return None
    end = start
    while length:
        length -= text[end].isalnum()
        end += 1
    return (start, end) if _is_number_end(text, end) else None


# ---- national identity numbers

_SEPARATORS = str.maketrans("", "", " .-")


def _locate_valid(
    is_valid: Callable[[str], bool],
) -> Callable[[str, int, int], tuple[int, int] | None]:
    """Return a `Locate` for triggers that match the number with its separators."""

    def locate(text: str, start: int, end: int) -> tuple[int, int] | None:
        plain = text[start:end].translate(_SEPARATORS).upper()
        if not _is_number_end(text, end) or not plain.isascii() or not is_valid(plain):
            return None
        return start, end

    return locate


_locate_ssn = _locate_valid(checksums.is_us_ssn)
_SPOKEN_SSN = re.compile(r"[^\d\n]{0,30}?(?<!\d)(\d{3} ?\d\d ?\d{4})(?![\w-])")


def _locate_spoken_ssn(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Accept nine digits without hyphens only behind words for a social security number."""
    match = _SPOKEN_SSN.match(text, end)
    return _locate_ssn(text, *match.span(1)) if match else None


# ---- phone numbers

# Fewest and most digits after a calling code: the usual codes exactly, all others roughly
# (ITU E.164: at most 15 in all).
_CODES = {
    "1": (10, 10),
    "33": (9, 9),
    "34": (9, 9),
    "39": (6, 11),
    "44": (9, 10),
    "49": (6, 12),
    "7": (10, 10),
    "41": (9, 9),
    "43": (6, 12),
}
_UNASSIGNED = re.compile(
    r"0|2[89]|21[0459]|259|38[48]|42[2-9]|69[3-9]|80[1-79]|83|85[147-9]|87[1-79]|88[3-5789]|89|978"
    r"|99[07-9]"
)


def _is_foreign_locate_valid(digits: str) -> bool:
    for code, (fewest, most) in _CODES.items():
        if not digits.startswith(code):
            continue
        if not fewest <= len(digits) - len(code) <= most:
            return False
        # North America: neither the area nor the exchange begins with 0 or 1.
        return code != "1" or (digits[1] not in "01" and digits[4] not in "01")
    return 9 <= len(digits) <= 15 and not _UNASSIGNED.match(digits)


def _locate_foreign_phone(text: str, start: int, end: int) -> tuple[int, int] | None:
    # A closing bracket without an opening one belongs to the sentence.
    if text[end - 1] == ")" and "(" not in text[max(start, end - 5) : end]:
        end -= 1
    digits = re.sub(r"\D", "", text[start:end].replace("(0)", ""))
    if not _is_number_end(text, end) or not _is_foreign_locate_valid(digits.removeprefix("00")):
        return None
    return start, end


_PHONE_WORDS = re.compile(
    r"(?i)(?=[ptmcfwhdrsaleun])(?<!\w)(?:phone|telephone|tel|mobile|fax|whatsapp|telefon\w*"
    r"|cell(?! ?(?:line|count|block|cultur|type|size|wall|membran|value|range))"
    r"|handy\w{0,9}|mobil\w{0,9}|durchwahl|tél|téléphone"
    r"|portable|móvil|teléfono|telefono|cellulare|fijo|call|ring|dial|text|sms|reach|anruf\w{0,5}"
    r"|ruf\w{0,3}|erreich\w{0,5}|appele[rz]|llam\w{1,9}|chiam\w{1,9}|auf|unter|rufnummer"
    r"|au|al|contact|kontakt)\b"
)
_STRONG_PHONE_WORDS = re.compile(
    r"(?i)phone|tel|mobil|cell|fax|whatsapp|handy|durchwahl|tél|portable|móvil|fijo|rufnummer"
)
_SPOKEN_PHONE = re.compile(r"[^\d\n]{0,28}?(\(?\d(?:[ .\-/()]{0,3}\d){6,12}+)")
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}\b")


def _locate_spoken_phone(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Locate a number as people of one country write it.

    Any number counts behind "phone", but behind "call" only one that begins like a phone number,
    and none that counts something, as in "cell lines: 12345678 samples".
    """
    match = _SPOKEN_PHONE.match(text, end)
    if match is None or text[match.start(1) - 1] in "+.":
        return None
    if not _is_number_end(text, match.end()) or _DATE.match(match[1]):
        return None
    is_strong_word = _STRONG_PHONE_WORDS.match(text, start) is not None
    if not is_strong_word and match[1][0] not in "0(":
        return None
    return match.span(1)


def _locate_fixed_phone(text: str, start: int, end: int) -> tuple[int, int] | None:
    goes_on = re.match(r"[-.]\d", text[end : end + 2])
    return (start, end) if _is_number_end(text, end) and not goes_on else None


# ---- the detectors

# A trigger that looks back does so behind its first character: a search can then skip to the
# characters that can be first.
EMAIL = (RegexDetector("email", re.compile(r"@(?=[^\W_][\w-]{0,62}\.)"), _locate_email),)
CARD = (
    RegexDetector("card", re.compile(r"[2-6](?<![\w.+].)\d{3}(?=\d{10}|[ -]\d{4})"), _locate_card),
)
IBAN = (
    RegexDetector(
        "iban",
        re.compile(r"[A-Za-z](?<![A-Za-z0-9].)[A-Za-z]\d{2}(?=[ -]?[A-Za-z0-9]{2})"),
        _locate_iban,
    ),
)
_NORTH_AMERICA = (
    r"(?:1[ .-])?(?:\([2-9]\d\d\)[ -]?|[2-9]\d\d(?=([-.])\d{3}\1)[-.])[2-9]\d\d[-.]\d{4}"
)
_FRANCE = r"0[1-9](?:([ .-])\d\d)(?:\2\d\d){3}"
_BRITAIN = r"07\d{3} \d{3} ?\d{3}|02\d \d{4} \d{4}|01\d{3} \d{6}|01\d1 \d{3} \d{4}"
_GERMANY = r"0[1-9]\d{1,4} ?/ ?(?:\d{5,8}|\d{2,4}(?: \d{2,4}){1,3})(?:-\d{1,4})?"
_NETHERLANDS = r"06-\d{8}|0[1-9]\d-\d{7}|0[1-9]\d\d-\d{6}"
_SWITZERLAND = r"0\d\d \d{3} \d\d \d\d"
_SPAIN = r"[679]\d\d(?: \d\d){3}|9\d \d{3} \d\d \d\d"
_NATIONAL = "|".join(
    (_NORTH_AMERICA, _FRANCE, _BRITAIN, _GERMANY, _NETHERLANDS, _SWITZERLAND, _SPAIN)
)
PHONE = (
    RegexDetector(
        "phone",
        re.compile(r"[+0](?<![\w.+].)(?:(?<=\+)|0)[1-9](?:[ .\-/]{0,2}\(?\d\)?){6,14}+"),
        _locate_foreign_phone,
    ),
    RegexDetector(
        "phone",
        re.compile(rf"(?=[(0-9])(?<![\w.+\-/])(?:{_NATIONAL})(?!\d)"),
        _locate_fixed_phone,
    ),
    RegexDetector("phone", _PHONE_WORDS, _locate_spoken_phone),
)
US_SSN = (
    RegexDetector("us_ssn", re.compile(r"\d(?<![\w-].)\d\d-\d\d-\d{4}(?![\w-])"), _locate_ssn),
    RegexDetector(
        "us_ssn", re.compile(r"[Ss](?:[Ss][Nn]\b|ocial [Ss]ecurity)"), _locate_spoken_ssn
    ),
)
UK_NINO = (
    RegexDetector(
        "uk_nino",
        re.compile(r"[A-Za-z](?<![\w-].)[A-Za-z] ?\d\d ?\d\d ?\d\d ?[A-Da-d](?![\w-])"),
        _locate_valid(checksums.is_uk_nino),
    ),
)
FR_NIR = (
    RegexDetector(
        "fr_nir",
        re.compile(
            r"[1-478](?<![\w.-].)[ .-]?\d\d[ .-]?(?:0[1-9]|1[0-2]|[2-9]\d)[ .-]?(?:\d\d|2[ABab])"
            r"[ .-]?\d{3}[ .-]?\d{3}[ .-]?\d\d(?!\d)"
        ),
        _locate_valid(checksums.is_fr_nir),
    ),
)
ES_DNI = (
    RegexDetector(
        "es_dni",
        re.compile(
            r"[XYZxyz0-9](?<![\w.-].)(?:(?<=\d)(?:\d{7}|\d\.\d{3}\.\d{3})|(?<=\D)-?\d{7})"
            r"-?[A-HJ-NP-TV-Za-hj-np-tv-z](?![\w-])"
        ),
        _locate_valid(checksums.is_es_dni),
    ),
)
# A digit, or the letter in its place where two people would have equal codes.
_DIGIT = r"[\dL-NP-Vl-np-v]"
IT_CF = (
    RegexDetector(
        "it_cf",
        re.compile(
            rf"[A-Za-z](?<!\w.)[A-Za-z]{{2}} ?[A-Za-z]{{3}} ?{_DIGIT}{{2}}[A-EHLMPR-Ta-ehlmpr-t]"
            rf"{_DIGIT}{{2}} ?[A-Za-z]{_DIGIT}{{3}}[A-Za-z](?!\w)"
        ),
        _locate_valid(checksums.is_it_cf),
    ),
)
DE_TAX_ID = (
    RegexDetector(
        "de_tax_id",
        re.compile(r"[1-9](?<![\w.+/-].)\d(?:\d{9}|([ .-])\d{3}\1\d{3}\1\d{3})(?![\w-])"),
        _locate_valid(checksums.is_de_tax_id),
    ),
)

PERSONAL: dict[str, tuple[RegexDetector, ...]] = {
    "card": CARD,
    "iban": IBAN,
    "fr_nir": FR_NIR,
    "us_ssn": US_SSN,
    "it_cf": IT_CF,
    "es_dni": ES_DNI,
    "uk_nino": UK_NINO,
    "de_tax_id": DE_TAX_ID,
    "email": EMAIL,
    "phone": PHONE,
}
