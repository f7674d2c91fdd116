"""Checksums that tell a number of a person or an account from other numbers of that length.

Each function takes the number without separators and in capitals. Sources: ISO/IEC 7812-1 (cards),
ISO 13616 (IBAN, registry of 2026), ISO 7064 (German tax id), Insee (French NIR), Orden
INT/2058/2008 (Spanish DNI and NIE), D.M. 23 December 1976 (Italian codice fiscale), the SSA's rules
of 2011, and HMRC's manual NIM39110.
"""

from __future__ import annotations

# Countries by the length of their IBANs.
_COUNTRIES_BY_LENGTH = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
_IBAN_LENGTHS = {
    country: length
    for length, countries in _COUNTRIES_BY_LENGTH.items()
    for country in countries.split()
}
_LETTERS_AS_NUMBERS = {
    ord(letter): str(number) for number, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 10)
}
# Luhn: twice the digit, and the sum of its digits if there are two.
_DOUBLED = str.maketrans("0123456789", "0246813579")
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
# Codice fiscale: values of the digits and letters at odd places.
_CF_ODD = (
    *(1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18),
    *(20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
)
# Prefixes that are never given out.
_NINO_NEVER = frozenset({"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"})


def is_card(digits: str) -> bool:
    """Return whether a large scheme has cards of this beginning and length, and Luhn's sum fits."""
    return len(digits) in _card_lengths(digits) and _is_luhn(digits)


def _card_lengths(digits: str) -> tuple[int, ...]:
    """Return the lengths of cards with this beginning; empty if there are none."""
    two, three, four = int(digits[:2]), int(digits[:3]), int(digits[:4])
    is_visa = two // 10 == 4
    is_mastercard = 51 <= two <= 55 or 2221 <= four <= 2720
    if is_visa or is_mastercard:
        return (16,)  # not the few longer ones of Visa: ids of 19 digits are everywhere
    is_american_express = two in (34, 37)
    if is_american_express:
        return (15,)
    is_diners_club = two in (36, 38, 39) or 300 <= three <= 305
    if is_diners_club:
        return (14, 16)
    is_discover = two == 65 or four == 6011 or 644 <= three <= 649
    is_jcb = 3528 <= four <= 3589
    is_union_pay = two == 62
    if is_discover or is_jcb or is_union_pay:
        return (16, 17, 18, 19)
    return ()


def _is_luhn(digits: str) -> bool:
    # Every second digit from the right is doubled. Bytes are summed, which is much faster than
    # digits: each is 48 too large, and so is the sum, by 48 for each digit.
    weighted = digits[-2::-2].translate(_DOUBLED) + digits[::-2]
    return (sum(weighted.encode("ascii")) - 48 * len(digits)) % 10 == 0


def iban_length(country: str) -> int:
    """Return the length of an IBAN of this country; 0 if it has none."""
    return _IBAN_LENGTHS.get(country, 0)


def is_iban(text: str) -> bool:
    """Return whether the length is right for the country, and the remainder by 97 is 1."""
    if len(text) != iban_length(text[:2]):
        return False
    return int((text[4:] + text[:4]).translate(_LETTERS_AS_NUMBERS)) % 97 == 1


def is_us_ssn(digits: str) -> bool:
    """Return whether the SSA may have given the number out; there is no check digit."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    is_area = area not in ("000", "666") and area[0] != "9"
    return is_area and group != "00" and serial != "0000"


def is_uk_nino(text: str) -> bool:
    """Return whether prefix and suffix are of a national insurance number; no check digit."""
    if text[0] in "DFIQUV" or text[1] in "DFIOQUV" or text[:2] in _NINO_NEVER:
        return False
    return text[-1] in "ABCD"


def is_fr_nir(text: str) -> bool:
    """Return whether the key of a French social security number fits its 13 places."""
    number, key = text[:13], text[13:]
    # The two departments of Corsica count as numbers in the key.
    if text[5:7] in ("2A", "2B"):
        number = number.replace("2A", "19").replace("2B", "18")
    return number.isdigit() and int(key) == 97 - int(number) % 97


def is_es_dni(text: str) -> bool:
    """Return whether the letter of a Spanish DNI fits, or of a NIE (it begins with X, Y or Z)."""
    number = text[:-1]
    if text[0] in "XYZ":
        number = str("XYZ".index(text[0])) + text[1:-1]
    return _DNI_LETTERS[int(number) % 23] == text[-1]


def is_it_cf(text: str) -> bool:
    """Return whether the last letter of an Italian codice fiscale fits.

    Letters in place of digits (for people whose codes would be equal) count like any letter.
    """
    total = 0
    for place, character in enumerate(text[:15]):
        value = int(character) if character.isdigit() else ord(character) - ord("A")
        total += _CF_ODD[value] if place % 2 == 0 else value
    return chr(ord("A") + total % 26) == text[15]


def is_de_tax_id(digits: str) -> bool:
    """Return whether a German tax id has its pattern of digits and its check digit fits.

    Of the first ten digits exactly one occurs twice or three times.
    """
    number, check = digits[:10], int(digits[10])
    counts = sorted((number.count(digit) for digit in set(number)), reverse=True)
    if number[0] == "0" or counts[0] not in (2, 3) or counts[1] != 1:
        return False
    product = 10
    for digit in number:
        total = (int(digit) + product) % 10 or 10
        product = 2 * total % 11
    return (11 - product) % 10 == check
