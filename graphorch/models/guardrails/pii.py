"""Finds personal data: addresses, numbers of phones, cards and accounts, and national identity numbers.

A number without a checksum or a fixed form (a phone number as people write it at home) counts only behind a word that says what it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from graphorch.models.guardrails import checksums as checksums
from graphorch.models.guardrails.detector import RegexDetector

# What looks like the last part of a host and is the name of a file or of a service unit.
_NO_DOMAINS = frozenset(
    "png jpg jpeg gif svg webp ico pdf js jsx mjs ts tsx css scss html json xml yml yaml txt csv service socket timer target mount".split()
)
_NO_PEOPLE = frozenset({"git", "hg", "svn"})
_DOMAIN = re.compile(
    r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}(?:xn--[a-z0-9-]{2,59}|[^\W\d_]{2,24})(?![\w-])"
)
# `scheme://name:password`, which stands before the @ of a host
_LOGIN = re.compile(r"://[^\s/@\"'<>:]*:[^\s/@\"'<>]*\Z")
_CARDS = (  # the longest form first: three more digits may be the code of the card
    re.compile(r"\d{4}([ -])\d{4}\1\d{4}\1\d{4}\1\d{3}"),
    re.compile(r"\d{4}([ -])(?:\d{4}\1\d{4}\1\d{4}|\d{6}\1\d{4,5})"),
    re.compile(r"\d{14,19}"),
)


def _email(text: str, at: int, end: int) -> tuple[int, int] | None:
    start = at
    while start > max(0, at - 64) and (text[start - 1].isalnum() or text[start - 1] in "._%+-'"):
        start -= 1
    while start < at and not text[start].isalnum():
        start += 1
    host = _DOMAIN.match(text, end, end + 253)
    local = text[start:at]
    if not local or host is None or local[-1] == "." or (start and text[start - 1] == "@"):
        return None
    if local in _NO_PEOPLE or host[0].rpartition(".")[2].lower() in _NO_DOMAINS:
        return None
    address = text.rfind("://", max(0, at - 200), at)
    return None if address >= 0 and _LOGIN.match(text, address, at) else (start, host.end())


def _ends(text: str, end: int) -> bool:
    """Whether a number ends here: no letter or digit follows, and no decimals."""
    follows = text[end : end + 2]
    return not (
        follows[:1].isalnum()
        or follows[:1] == "_"
        or (follows[:1] == "." and follows[1:].isdigit())
    )


def _card(text: str, start: int, end: int) -> tuple[int, int] | None:
    for form in _CARDS:
        match = form.match(text, start)
        digits = match[0].replace(" ", "").replace("-", "") if match else ""
        if match and _ends(text, match.end()) and digits.isascii() and checksums.is_card(digits):
            return match.span()
    return None


def _iban(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Takes as many letters and digits as the country's IBAN has; what comes behind may be a word of the sentence."""
    length = checksums.iban_length(text[start : start + 2].upper())
    plain = text[start : start + 2 * length].replace(" ", "").replace("-", "")[:length].upper()
    if not length or not plain.isascii() or not plain.isalnum() or not checksums.is_iban(plain):
        return None
    end = start
    while length:
        length -= text[end].isalnum()
        end += 1
    return (start, end) if _ends(text, end) else None


_SEPARATORS = str.maketrans("", "", " .-")


def _number(is_valid: Callable[[str], bool]) -> Callable[[str, int, int], tuple[int, int] | None]:
    """For a trigger that is the number with its separators."""

    def locate(text: str, start: int, end: int) -> tuple[int, int] | None:
        plain = text[start:end].translate(_SEPARATORS).upper()
        return (start, end) if _ends(text, end) and plain.isascii() and is_valid(plain) else None

    return locate


_ssn = _number(checksums.is_us_ssn)
_SPOKEN_SSN = re.compile(r"[^\d\n]{0,30}?(?<!\d)(\d{3} ?\d\d ?\d{4})(?![\w-])")


def _spoken_ssn(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Nine digits without hyphens are a social security number only where it says so."""
    match = _SPOKEN_SSN.match(text, end)
    return _ssn(text, *match.span(1)) if match else None


# Calling codes and how many digits may follow: the usual ones exactly, all others roughly (ITU E.164: at most 15 in all).
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
    r"0|2[89]|21[0459]|259|38[48]|42[2-9]|69[3-9]|80[1-79]|83|85[147-9]|87[1-79]|88[3-5789]|89|978|99[07-9]"
)


def _is_foreign_number(digits: str) -> bool:
    for code, (shortest, longest) in _CODES.items():
        if digits.startswith(code):
            return shortest <= len(digits) - len(code) <= longest and not (
                code == "1" and (digits[1] in "01" or digits[4] in "01")
            )
    return 9 <= len(digits) <= 15 and not _UNASSIGNED.match(digits)


def _foreign_phone(text: str, start: int, end: int) -> tuple[int, int] | None:
    if text[end - 1] == ")" and "(" not in text[max(start, end - 5) : end]:
        end -= 1
    digits = re.sub(r"\D", "", text[start:end].replace("(0)", ""))
    return (
        (start, end) if _ends(text, end) and _is_foreign_number(digits.removeprefix("00")) else None
    )


_PHONE_WORDS = re.compile(
    r"(?i)(?=[ptmcfwhdrsale])(?<!\w)(?:phone|telephone|tel|mobile|cell|fax|whatsapp|telefon\w*|handy\w{0,9}|mobil\w{0,9}|durchwahl|tél|téléphone"
    r"|portable|móvil|teléfono|telefono|cellulare|fijo|call|ring|dial|text|sms|reach|anruf\w{0,5}|ruf\w{0,3}|erreich\w{0,5}|appele[rz]|llam\w{1,9}|chiam\w{1,9})\b"
)
_WEAK_WORDS = re.compile(r"(?i)call|ring|dial|text|sms|reach|anruf|ruf|erreich|appele|llam|chiam")
_SPOKEN_PHONE = re.compile(r"[^\d\n]{0,28}?(\(?\d(?:[ .\-/()]{0,2}\d){6,12}+)")
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}\b")


def _spoken_phone(text: str, start: int, end: int) -> tuple[int, int] | None:
    """A number as people of one country write it: behind "phone" any, behind "call" one that begins like a phone number."""
    match = _SPOKEN_PHONE.match(text, end)
    if (
        match is None
        or text[match.start(1) - 1] in "+."
        or not _ends(text, match.end())
        or _DATE.match(match[1])
    ):
        return None
    is_weak = _WEAK_WORDS.match(text, start) is not None
    return match.span(1) if not is_weak or match[1][0] in "0(" else None


def _phone_of_fixed_form(text: str, start: int, end: int) -> tuple[int, int] | None:
    return (
        (start, end) if _ends(text, end) and not re.match(r"[-.]\d", text[end : end + 2]) else None
    )


# A trigger that looks back does so behind its first character: a search can then skip to the characters that can be first.
EMAIL = (RegexDetector("email", re.compile(r"@(?=[^\W_][\w-]{0,62}\.)"), _email),)
CARD = (RegexDetector("card", re.compile(r"[2-6](?<![\w.+].)\d{3}(?=\d{10}|[ -]\d{4})"), _card),)
IBAN = (
    RegexDetector(
        "iban", re.compile(r"[A-Za-z](?<![A-Za-z0-9].)[A-Za-z]\d{2}(?=[ -]?[A-Za-z0-9]{2})"), _iban
    ),
)
_NORTH_AMERICA = (
    r"(?:1[ .-])?(?:\([2-9]\d\d\)[ -]?|[2-9]\d\d(?=([-.])\d{3}\1)[-.])[2-9]\d\d[-.]\d{4}"
)
_FRANCE = r"0[1-9](?:([ .-])\d\d)(?:\2\d\d){3}"
_BRITAIN = r"07\d{3} \d{3} ?\d{3}|02\d \d{4} \d{4}|01\d{3} \d{6}|01\d1 \d{3} \d{4}"
PHONE = (
    RegexDetector(
        "phone",
        re.compile(r"[+0](?<![\w.+].)(?:(?<=\+)|0)[1-9](?:[ .\-/]{0,2}\(?\d\)?){6,14}+"),
        _foreign_phone,
    ),
    RegexDetector(
        "phone",
        re.compile(rf"(?=[(0-9])(?<![\w.+\-/])(?:{_NORTH_AMERICA}|{_FRANCE}|{_BRITAIN})(?!\d)"),
        _phone_of_fixed_form,
    ),
    RegexDetector("phone", _PHONE_WORDS, _spoken_phone),
)
US_SSN = (
    RegexDetector("us_ssn", re.compile(r"\d(?<![\w-].)\d\d-\d\d-\d{4}(?![\w-])"), _ssn),
    RegexDetector("us_ssn", re.compile(r"[Ss](?:[Ss][Nn]\b|ocial [Ss]ecurity)"), _spoken_ssn),
)
UK_NINO = (
    RegexDetector(
        "uk_nino",
        re.compile(r"[A-Z](?<![\w-].)[A-Z] ?\d\d ?\d\d ?\d\d ?[A-D](?![\w-])"),
        _number(checksums.is_uk_nino),
    ),
)
FR_NIR = (
    RegexDetector(
        "fr_nir",
        re.compile(
            r"[1-478](?<![\w.-].)[ .-]?\d\d[ .-]?(?:0[1-9]|1[0-2]|[2-9]\d)[ .-]?(?:\d\d|2[AB])[ .-]?\d{3}[ .-]?\d{3}[ .-]?\d\d(?!\d)"
        ),
        _number(checksums.is_fr_nir),
    ),
)
ES_DNI = (
    RegexDetector(
        "es_dni",
        re.compile(
            r"[XYZ0-9](?<![\w.-].)(?:(?<=\d)(?:\d{7}|\d\.\d{3}\.\d{3})|(?<=\D)-?\d{7})-?[A-HJ-NP-TV-Z](?![\w-])"
        ),
        _number(checksums.is_es_dni),
    ),
)
# a digit, or the letter that stands for it where two people would have the same code
_OMO = r"[\dL-NP-Vl-np-v]"
IT_CF = (
    RegexDetector(
        "it_cf",
        re.compile(
            rf"[A-Za-z](?<!\w.)[A-Za-z]{{2}} ?[A-Za-z]{{3}} ?{_OMO}{{2}}[A-EHLMPR-Ta-ehlmpr-t]{_OMO}{{2}} ?[A-Za-z]{_OMO}{{3}}[A-Za-z](?!\w)"
        ),
        _number(checksums.is_it_cf),
    ),
)
DE_TAX_ID = (
    RegexDetector(
        "de_tax_id",
        re.compile(r"[1-9](?<![\w.+/-].)\d(?:\d{9}|([ .-])\d{3}\1\d{3}\1\d{3})(?![\w-])"),
        _number(checksums.is_de_tax_id),
    ),
)

PERSONAL: dict[str, tuple[RegexDetector, ...]] = {
    "card": CARD, "iban": IBAN, "fr_nir": FR_NIR, "us_ssn": US_SSN, "it_cf": IT_CF, "es_dni": ES_DNI, "uk_nino": UK_NINO,
    "de_tax_id": DE_TAX_ID, "email": EMAIL, "phone": PHONE,
}  # fmt: skip
