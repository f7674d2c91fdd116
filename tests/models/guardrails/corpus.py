"""Corpus for the guardrails: sentences with a value to be found, and near misses.

The numbers are public test numbers, or were made with checksums of an independent library. Keys are
random strings behind the prefixes that providers document, put together here so that no scanner
takes this file for a leak. All people and companies are invented.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import string
import uuid
from typing import NamedTuple


class Positive(NamedTuple):
    """`value` stands in `text` and is of this kind."""

    kind: str
    text: str
    value: str


class Negative(NamedTuple):
    """Nothing is to be found in `text`; `near` says what it is close to."""

    near: str
    text: str


NUMBERS = {
    "iban": """
        DE89370400440532013000 GB29NWBK60161331926819 FR1420041010050500013M02606 ES9121000418450200051332
        IT60X0542811101000000123456 NL91ABNA0417164300 CH9300762011623852957 BE68539007547034 AT611904300234573201
        PL61109010140000071219812874 SE4550000000058398257466 NO9386011117947 DK5000400440116243 FI2112345600000785
        PT50000201231234567890154 IE29AIBK93115212345678 DE26057830862714970940 DE18094929134653554950 DE51597671723673970934
        DE37711186829597379400 DE62215148546613356779 DE40008192374951069333 DE69059090009778100434 DE62959551037623895686
    """,
    "card": """
        4111111111111111 4242424242424242 4012888888881881 4000056655665556 5555555555554444 5105105105105100 2223003122003222
        5200828282828210 378282246310005 371449635398431 378734493671000 6011111111111117 6011000990139424 3056930009020004
        36227206271667 3566002020360505 3530111333300000 6200000000000005 5567767590915102 5559069782628688 5259238827450696
        5177657935057011 5429474168020948 5355099159534728 5536186217973618 5523353113574891 5514675831495855 5328191058830358
    """,
    "us_ssn": """
        057-98-1286 885-68-0688 668-68-5727 262-13-8339 015-55-3555 611-83-5606 318-60-2586 217-84-3941 454-50-2346 892-61-3622
        508-07-6290 371-85-5787 015-47-2821 602-08-7032 163-85-2967 827-63-4591 063-98-1006 363-33-4689 097-17-9919 583-88-7839
        670-32-4030 342-22-8080
    """,
    "uk_nino": """
        PT436597A AL517888C XW440564D HT250562C NH316466D OW593684A BP404833C SB521884B KS750008A ML286924B XJ476589B PR910551C
        KR202260A BJ256477C GE265206A TS061984D BL754533A LG086989A BR377549C HL570244C LB163648A OW403320D
    """,
    "fr_nir": """
        202032B06488650 157067433511726 116093433061601 108075807127168 153071020970715 174045710042953 284051430276319
        164022B19411627 252038720843417 108035614135211 123112A21233437 213032B45111422 258104906787393 201019301457745
        117032B45522632 184085644072621 141047920674703 255046846402020 221069147673819 147052B04528865 123041017308535
        256012B28052580
    """,
    "es_dni": """
        95778191G 92667534M 91896148Q 57508896H 40925313X 84480658W 02474538Z 33662038C 96021465F 41993872N 53222780K 67949590T
        89612801V 06538254K Y3257679L Z2563958S Z2336813H Z1140209N Z9008769L X9610618E Z0630613G X2063904E
    """,
    "it_cf": """
        GNNVSD92E03L496L ZTGLNV85C06D252P ZNNPCG87T57L086X CPCDFL63E50B120L PGSLCT72T28H556U RDPPZV41T18C957G CRLPNF94H23B820K
        GZMDSR86H59A901X ZBVNPP98P21B961X GSGNBF61D44A448E SCBDDZ90H20C921L LNGGTM87P06B276G ZCZNVT87B13E221F LZZNGN80R26E975A
        FPVFPD61T56D610P TBDNMB89A15G072M LFPMSM68B65B194F MNCVNR60S02D574C SFFLPZ75C64D969G NGMBPP57E46B899F BZFSCN97T03C696I
        GFLDDV46R67C113H RSSMRA85T10A562S
    """,
    "de_tax_id": """
        86095742719 47036892816 65929970489 52780966642 70586223921 75182390061 70328533193 93860857188 39028750062 98254690738
        31584289875 97000351842 48756095129 47888692107 45623088173 29178406364 23045167197 10724493644 14258022763 44872935066
        88483170590 15547025891
    """,
}

EMAILS: tuple[str, ...] = tuple(
    """
    anna.schmidt@example.com j.doe+newsletter@mail.example.org info@kanzlei-mueller.de o'neil@dublin.example.ie sales@acme.co.uk
    first_last@sub.dept.university.edu 1234567890@numbers.example.net x@y.io maria.garcia@correo.example.es billing%dept@corp.example.com
    support@shop.berlin jean-luc.picard@enterprise.space contact@société.example.fr user@xn--bcher-kva.example a.b.c.d@long-domain-name.museum
    WILLIAM@EXAMPLE.COM luca_rossi@posta.example.it dev-team@startup.ai no-reply@notifications.example.app kim@firma.gmbh
    joao.silva@empresa.com.br q@z.dev hello@world.technology press@museum.example.nl
""".split()
)

PHONES = (
    "+1 415-555-2671", "+1 (212) 555-0199", "+44 20 7946 0958", "+44 7700 900123", "+49 30 901820", "+49 (0)171 2345678", "+33 1 23 45 67 89",
    "+33612345678", "+34 612 345 678", "+39 06 698 12345", "+41 44 668 18 00", "+351 912 345 678", "+81 3-1234-5678", "+91 98765 43210",
    "+61 2 9876 5432", "+55 11 91234-5678", "(415) 555-2671", "212-555-0199", "1-800-555-0199", "06 12 34 56 78", "01.23.45.67.89",
    "020 7946 0958", "07700 900123", "0044 20 7946 0958",
)  # fmt: skip

# A number as people of one country write it, behind the word that says what it is.
SPOKEN_PHONES = (
    ("Telefon: {}", "030 901820"), ("Handy {}", "0171/2345678"), ("My mobile is {}.", "07700900123"), ("Tel. {}", "06 69812345"),
    ("móvil: {}", "612345678"), ("fax number {}", "555 0199 22"), ("You can call me at {} tonight.", "0171 2345678"), ("phone {}", "4155552671"),
    ("téléphone : {}", "0612345678"), ("cellulare {}", "333 1234567"),
)  # fmt: skip

FRAMES = {
    "email": (
        "Please write to {} before Friday.", "Kontakt: {}", "<{}>", "The invoice goes to {}, with a copy to the files.", '{{"email": "{}"}}',
        "From: Somebody <{}>\nTo: you", "mailto:{}?subject=Hi", "Is {} still your address?", "user={};role=admin", "(see {})",
    ),
    "phone": (
        "Call {} after six.", "Reach our office: {}", "Her number is {}, she said.", '{{"contact": "{}"}}', "Questions? {}.", "WhatsApp {}",
        "The plumber ({}) comes at nine.",
    ),
    "iban": (
        "Please transfer the rent to {}.", "IBAN: {}", "Meine Kontoverbindung lautet {}, danke.", '{{"iban":"{}"}}', "Account {} BIC COBADEFFXXX",
        "Refund to {} within 14 days", "le compte {} est ouvert", "ref INV-2024-17; {}; EUR 40.00",
    ),
    "card": (
        "My card is {} and it expires in 12/28.", "Card number: {}", '{{"pan": "{}"}}', "charge {} please", "Zahlung mit {}, CVC folgt",
        "card={}&exp=1228", "I paid with {}.", "He read out {}, then hung up.",
    ),
    "us_ssn": (
        "Her SSN is {}.", "Social Security Number: {}", "ssn={}", "Applicant (SSN {}) was born in Ohio.", '{{"ssn": "{}"}}', "W-2 for {}, 2023",
    ),
    "uk_nino": (
        "National Insurance number: {}", "NI no. {} on the payslip", "My NINO is {}.", '{{"nino": "{}"}}', "Employee {} started in May", "({})",
    ),
    "fr_nir": (
        "Numéro de sécurité sociale : {}", "NIR {}", "Mon numéro est le {}.", '{{"nir":"{}"}}', "carte vitale {}, merci", "Assuré {} né à Lyon",
    ),
    "es_dni": (
        "Mi DNI es {}.", "DNI/NIE: {}", "con documento {}, mayor de edad", '{{"dni":"{}"}}', "Titular {} (Madrid)", "firmado por {}",
    ),
    "it_cf": (
        "Il mio codice fiscale è {}.", "CF: {}", "C.F. {}, nata a Roma", '{{"cf":"{}"}}', "intestato a {} dal 2020", "({})",
    ),
    "de_tax_id": (
        "Meine Steuer-ID lautet {}.", "Steuerliche Identifikationsnummer: {}", "IdNr {}", '{{"steuer_id":"{}"}}', "Arbeitnehmer {}, Klasse 1", "ID {}",
    ),
    "api_key": (
        "export API={}", "The key is {} and it works.", '{{"k": "{}"}}', "curl -H 'x-api-key: {}' https://api.example.com", "client = Client('{}')",
        "Why does {} not work?", "key:{}", "https://api.example.com/v1?key={}&x=1", "{}", "- name: KEY\n  value: {}\n",
    ),
    "jwt": (
        "Use {} to log in.", "token {}", '{{"id_token":"{}"}}', "Cookie: session={}; Path=/", "Authorization: Bearer {}", "{}",
        "https://app.example.com/callback#id_token={}&state=1",
    ),
    "auth_token": (
        "Authorization: Bearer {}", "-H 'Authorization: Bearer {}'", '"authorization": "Bearer {}"', "the header says bearer {} there",
    ),
    "password": (
        "password={}", "The password is {}", 'password: "{}"', "DB_PASSWORD={}\nDB_HOST=localhost", "passwd: {}", '{{"password": "{}"}}',
        "Passwort: {}", "pwd={};server=db", "admin_password = '{}'", "contraseña: {}",
    ),
    "high_entropy": (
        "Here it is: {}", "SESSION_ID={}", '{{"value": "{}"}}', "he sent me {} by chat", "cookie sid={}; path=/", "{}",
    ),
}  # fmt: skip

PASSWORDS = (
    "hunter2!", "Tr0ub4dor&3", "correct7horse", "Sommer2024!", "p4ssw0rd", "S3cr3tSauce", "qwerty123", "Admin@2025", "letme1n-now", "9f!kLm2Q",
    "iloveyou99", "B3rlin#1989", "zaq1@WSX", "monkey_4711", "X7$hq!w9", "Gr8tScott!", "dr0wssap", "abc123def", "Pa$$w0rd1", "n0tAgain?",
    "geheim2023", "kittens4ever",
)  # fmt: skip

ALNUM = string.ascii_letters + string.digits
URLSAFE = ALNUM + "-_"
HEX = "0123456789abcdef"
UPPER = string.ascii_uppercase + "234567"

# Prefix (in parts, so that it does not stand here as one), alphabet and length of the rest.
KEYS = (
    (("sk", "-ant-api03-"), URLSAFE, 95), (("sk", "-or-v1-"), HEX, 64), (("rqy", "_"), ALNUM, 40), (("sk", "-proj-"), URLSAFE, 120),
    (("sk", "-"), ALNUM, 48), (("AI", "za"), URLSAFE, 35), (("GOC", "SPX-"), URLSAFE, 28), (("AK", "IA"), UPPER, 16), (("AS", "IA"), UPPER, 16),
    (("gh", "p_"), ALNUM, 36), (("gh", "s_"), ALNUM, 36), (("github", "_pat_"), ALNUM, 82), (("gl", "pat-"), URLSAFE, 20),
    (("xo", "xb-"), string.digits, 24), (("xa", "pp-1-"), ALNUM, 40), (("sk", "_live_"), ALNUM, 24), (("rk", "_test_"), ALNUM, 24),
    (("wh", "sec_"), ALNUM, 32), (("S", "K"), HEX, 32), (("h", "f_"), ALNUM, 34), (("np", "m_"), ALNUM, 36), (("py", "pi-AgE"), URLSAFE, 150),
    (("gs", "k_"), ALNUM, 52), (("xa", "i-"), ALNUM, 80), (("pp", "lx-"), ALNUM, 48), (("r", "8_"), ALNUM, 37), (("nv", "api-"), URLSAFE, 64),
    (("tv", "ly-"), ALNUM, 32), (("do", "p_v1_"), HEX, 64), (("sh", "pat_"), HEX, 32), (("da", "pi"), HEX, 32), (("dc", "kr_pat_"), URLSAFE, 27),
    (("hv", "s."), ALNUM, 90), (("li", "n_api_"), ALNUM, 40), (("nt", "n_"), ALNUM, 46), (("gl", "sa_"), ALNUM, 32),
)  # fmt: skip


def _random_text(source: random.Random, alphabet: str, length: int) -> str:
    """Ends in a letter, as a key that ends in a hyphen would be cut by the sentence around it."""
    return "".join(source.choice(alphabet) for _ in range(length - 1)) + source.choice(
        [text for text in alphabet if text.isalnum()]
    )


def _grouped(number: str, sizes: tuple[int, ...], separator: str) -> str:
    parts: list[str] = []
    for size in sizes:
        parts.append(number[:size])
        number = number[size:]
    return separator.join([*parts, number] if number else parts)


def _written(kind: str, number: str, turn: int) -> str:
    """Return a number as people write it: plain, or in the groups that are usual."""
    forms = {
        "iban": [number, _grouped(number, (4,) * (len(number) // 4), " "), number],
        "card": [
            number,
            *(
                [
                    _grouped(number, (4, 6), s)
                    if len(number) in (14, 15)
                    else _grouped(number, (4, 4, 4), s)
                    for s in " -"
                ]
            ),
        ],
        "us_ssn": [number],
        "uk_nino": [number, _grouped(number, (2, 2, 2, 2), " ")],
        "fr_nir": [number, _grouped(number, (1, 2, 2, 2, 3, 3), " ")],
        "es_dni": [number, f"{number[:-1]}-{number[-1]}"],
        "it_cf": [
            number,
            number,
            _grouped(number, (3, 3, 5, 5), " ")[: 3 + 1 + 3 + 1 + 5 + 1 + 5],
            number.lower(),
        ],
        "de_tax_id": [number, _grouped(number, (2, 3, 3), " ")],
    }[kind]
    return forms[turn % len(forms)]


def _jwt(source: random.Random, claims: dict[str, object]) -> str:
    def part(value: object) -> str:
        return (
            base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode())
            .rstrip(b"=")
            .decode()
        )

    algorithm = source.choice(["HS256", "RS256", "ES256"])
    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims)}.{_random_text(source, URLSAFE, 43)}"


def _private_key(source: random.Random, label: str, lines: int, newline: str = "\n") -> str:
    body = [_random_text(source, ALNUM + "+/", 64) for _ in range(lines)] + [
        _random_text(source, ALNUM, 30) + "=="
    ]
    return newline.join([f"-----BEGIN {label}-----", *body, f"-----END {label}-----"])


def _looks_mixed(text: str) -> bool:
    """Return whether a random text is as mixed as usual: both cases, at least four digits."""
    return (
        sum(entry.isdigit() for entry in text) >= 4
        and any(entry.islower() for entry in text)
        and any(entry.isupper() for entry in text)
    )


def positives() -> list[Positive]:
    """Return each value in a sentence."""
    source = random.Random(7)
    values: dict[str, list[str]] = {
        kind: [_written(kind, number, turn) for turn, number in enumerate(numbers.split())]
        for kind, numbers in NUMBERS.items()
    }
    values["email"] = list(EMAILS)
    values["phone"] = list(PHONES)
    values["api_key"] = [
        "".join(prefix) + _random_text(source, alphabet, length)
        for prefix, alphabet, length in KEYS
    ]
    values["api_key"][-1] += "_0123abcd"
    values["jwt"] = [
        _jwt(source, {"sub": str(number), "name": f"Person {number}", "iat": 1516239022 + number})
        for number in range(21)
    ]
    values["auth_token"] = [
        _random_text(source, ALNUM + "._~-", 24 + number) for number in range(16)
    ]
    values["password"] = list(PASSWORDS)
    random_texts = (
        _random_text(source, ALNUM + ("+/" if number % 3 == 0 else ""), 32 + number)
        for number in range(60)
    )
    values["high_entropy"] = [
        random_text for random_text in random_texts if _looks_mixed(random_text)
    ][:20]
    samples = [
        Positive(kind, FRAMES[kind][turn % len(FRAMES[kind])].format(value), value)
        for kind, listed in values.items()
        for turn, value in enumerate(listed)
    ]
    samples += [Positive("phone", frame.format(number), number) for frame, number in SPOKEN_PHONES]
    return [*samples, *_more_secrets(source)]


def _more_secrets(source: random.Random) -> list[Positive]:
    samples: list[Positive] = []
    labels = (
        "PRIVATE KEY",
        "RSA PRIVATE KEY",
        "EC PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "DSA PRIVATE KEY",
    )
    frames = (
        "{}",
        "Here is my key:\n{}\nPlease check it.",
        'KEY="{}"',
        "deploy:\n{}\n",
        "cat id_rsa\n{}",
        "{} is what I got",
    )
    for turn in range(18):
        block = _private_key(source, labels[turn % len(labels)], 3 + turn)
        samples.append(Positive("private_key", frames[turn // 3].format(block), block))
    escaped = _private_key(source, "PRIVATE KEY", 6, "\\n")
    samples.append(
        Positive(
            "private_key", f'{{"type": "service_account", "private_key": "{escaped}\\n"}}', escaped
        )
    )
    armoured = _private_key(source, "PGP PRIVATE KEY BLOCK", 8).replace(
        "BLOCK-----\n", "BLOCK-----\nVersion: GnuPG v2.4 (Linux)\n\n", 1
    )
    samples.append(Positive("private_key", armoured, armoured))
    for name, secret in (
        ("admin", "s3cr3t"),
        ("api-user", "hunter22"),
        ("jane@example.com", "Tr0ub4dor"),
        ("deploy", "xK9-2f"),
    ):
        encoded = base64.b64encode(f"{name}:{secret}".encode()).decode()
        samples.append(Positive("auth_token", f"Authorization: Basic {encoded}", encoded))
    for scheme, secret in (
        ("postgres", "pgpass99"),
        ("mongodb+srv", "M0ng0!x"),
        ("redis", "r3d1s"),
        ("https", "tok3n-abc"),
        ("amqp", "guest77"),
    ):
        samples.append(
            Positive("password", f"{scheme}://app:{secret}@db.internal:5432/main", secret)
        )
    for frame in (
        "<password>{}</password>",
        "mysql --password {} --host db",
        "login --db-password {}",
    ):
        samples.append(Positive("password", frame.format("S3cure!Pass"), "S3cure!Pass"))
    hook = f"hooks.slack.com/services/T0{'2ABCDEF'}/B0{'3GHIJKL'}/{_random_text(source, ALNUM, 24)}"
    samples.append(Positive("api_key", f"curl https://{hook}", hook))
    samples.append(Positive("card", "Visa 4111 1111 1111 1111 123", "4111 1111 1111 1111"))
    samples.append(Positive("phone", "Ruf mich unter 0151 23456789 an", "0151 23456789"))
    names = "AWS_SECRET_ACCESS_KEY aws_secret_access_key client_secret api_key auth_token SECRET_KEY AccountKey apiKey secret_key_base"
    for name in names.split():
        secret = _random_text(source, ALNUM + "/+", 40)
        samples.append(Positive("password", f"{name} = {secret}", secret))
    return samples


PLAIN_SENTENCES = """
The quick brown fox jumps over the lazy dog.
Version 3.11.7 was released on 2023-12-04 at 10:30:15 UTC.
Order number 100-2345678-9012345 ships on 12/11/2024.
Your parcel 1Z999AA10123456784 left the depot.
The flight LH 1234 departs at 06:45 from gate B22.
ISBN 978-3-16-148410-0 is a made-up book.
ISBN 0-306-40615-2 and ISBN 9780306406157 are the same edition.
See RFC 2616, section 14.9.3, and RFC 9110.
The price rose from 1,234.56 to 12.345,67 EUR within 30 days.
It costs $1,000,000.00 and not a cent less.
The server listens on 192.168.178.21:8080.
fe80::1ff:fe23:4567:890a is a link-local address.
MAC address 00:1B:44:11:3A:B7
Coordinates 52.520008, 13.404954 point to Berlin.
The board meets on 2024-01-15, 2024-02-15 and 2024-03-15.
Meeting at 14:00-15:30 in room 4.12.
We had 15 000 000 visitors, 12 345 678 of them from abroad.
Invoice 2024-000123 of 01.02.2024 is due.
Ticket #48151623 was closed as a duplicate.
PR #12345 fixes the crash in v2.0.0-rc.1+build.20240115.
sha1 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12
commit 9fceb02d0ae598e95dc970b74767f19372d61af8 (HEAD -> main)
md5sum d41d8cd98f00b204e9800998ecf8427e  empty.txt
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
docker pull alpine@sha256:c5b1261d6d3e43071626931fc004f70149baeba2c8ec672bd4f27761f8e1ad6b
npm install react@18.2.0 react-dom@18.2.0 @types/react@18.2.45
Use @angular/core@17.0.1 with zone.js@0.14.2.
git clone git@github.com:example/project.git
The icon is called logo@2x.png, the other one icon@3x.webp.
systemctl restart getty@tty1.service
Follow @anna_s and @project on the network, or @user@mastodon.example there.
The decorator @app.route("/users") registers it.
@property and @staticmethod are decorators.
Reach me @ the conference, 9 am.
Meet at 5@noon? No idea what that means.
Email addresses have an @ sign and a domain.
a @ b is matrix multiplication in Python.
The password must have at least 12 characters.
Password: required
Forgot your password? Click on the link below.
password = input("Password: ")
password = os.environ["DB_PASSWORD"]
password=${DB_PASSWORD}
password: {{ vault.db_password }}
password: <your password>
PASSWORD=changeme-placeholder
login(username=username, password=password)
self.password = password
def check(password: str) -> bool:
api_key = os.getenv("API_KEY")
api_key: YOUR_API_KEY_HERE
API_KEY=xxxxxxxxxxxxxxxxxxxx
token = next(tokens)
The token is invalid or expired.
max_tokens: 4096, temperature: 0.7
tokens: 1234567, prompt_tokens: 1200, completion_tokens: 300
The secret is out: nobody reads the manual.
The secret of success is hard work.
secret: true
secretary: Bartholomew1
passwordless login is enabled
Basic authentication is not supported.
He is a bearer of good news and basic manners.
Bearer authentication uses the Authorization header.
Authorization: Bearer <token>
Authorization: Bearer ${TOKEN}
Basic understanding of mathematics is required.
sk-learn is not how you spell scikit-learn.
The sk- prefix marks secret keys.
Keys begin with AKIA or with ghp_ or with AIza.
pk_live_ is the prefix of publishable keys
xoxo, your friend
The file begins with -----BEGIN PRIVATE KEY----- and ends with -----END PRIVATE KEY-----.
-----BEGIN CERTIFICATE-----
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl user-at-host
The hash sha512-oCuTXwe1vqXOVFKcbzYVy2F4ZJWFDzLiCz3hVgXNTAhnQcwwiVLbVZ4Ha2Ejk4mQ9rPCYZjBQ5ox8Yd1HfYQ2w== protects it.
https://www.youtube.com/watch?v=dQw4w9WgXcQ&list=PLrAXtmErZgOeiKm4sgNOknGvNjby9efdf
https://docs.google.com/document/d/1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms/edit
https://example.com/a/b/c?utm_source=newsletter&utm_campaign=2024_05
src/components/UserProfile/UserProfileCard.test.tsx
com.example.project.module.ServiceImpl$InnerClass
getUserByIdAndOrganisationName2FromDatabaseAsync
AbstractSingletonProxyFactoryBeanGenerator
THE_QUICK_BROWN_FOX_JUMPS_OVER_13_LAZY_DOGS
kebab-case-with-some-numbers-123-and-456-in-it
data-testid="submit-button-primary-large-2"
Lorem ipsum dolor sit amet, consectetur adipiscing elit.
pneumonoultramicroscopicsilicovolcanoconiosis
Donaudampfschifffahrtselektrizitätenhauptbetriebswerk
0123456789
1234567890
9999999999999999
0000 0000 0000 0000
1234 5678 9012 3456
12345678901234567890
3.14159265358979323846264338327950288
6.02214076e23 and 1.602176634e-19
1697049600 is a time, 1697049600000 the same in milliseconds.
0x1A2B3C4D5E6F and 0b1010101010
#ff8800, rgb(12, 34, 56) and hsl(120, 50%, 50%)
The odds are +150 against -200.
Temperatures of -12 to +35 degrees
+15 % in 2024 and +1000000 over all
Year over year: +1.234.567 EUR
lat +48.8566, lon +2.3522
The binary has 123456789 bytes.
Chapter 12, pages 123-45, 2nd edition.
Between 100-2-3000 and 5
Code 000-12-3456, 666-12-3456 and 900-12-3456
The part 123-45-678 is out of stock.
Model number AB-123456-C was recalled.
Room AB 12, row CD 34, seat E
Postcode SW1A 1AA, 10 Downing Street
D-10115 Berlin, Chausseestraße 125
75008 Paris, 8e arrondissement
VAT DE123456789 and VAT FR12345678901
GB 123 4567 89 is a VAT number.
NL123456789B01
LEI 5493001KJTIIGC8Y1R12
BIC DEUTDEFF500 is not an account.
SWIFT code: COBADEFFXXX
The EAN is 4006381333931.
UPC 036000291452
VIN 1HGCM82633A004352
IMEI 490154203237518 belongs to the test phone model
The patent EP1234567B1 was granted.
US patent 10,123,456 B2
arXiv:2301.12345v2 and doi:10.1000/xyz123
ORCID 0000-0002-1825-0097
PMID 12345678
Case C-131/12, ECLI:EU:C:2014:317
The law of 23.12.1976, no. 345
Windows 10.0.19045.3803, Chrome/120.0.6099.130
Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)
SELECT id, name FROM users WHERE id = 12345678
for (let i = 0; i < 1000000; i++) { total += i * 3; }
2024-01-15T09:30:00.123456+01:00 INFO [main] started in 1234 ms
20240115T093000Z
Mon, 15 Jan 2024 09:30:00 GMT
cron: 0 12 * * 1-5
chmod 0755 script.sh
uid=1000(user) gid=1000(user) groups=1000(user),27(sudo)
Score 21-14, 17-21, 15-13
Match 6-4 3-6 7-6(5)
Bible, John 3:16-17
Call of Duty sold 12345678 copies.
Please call the function with 3 arguments before 10:30.
Text 12 of 34 in volume 567
I dialed back the estimate to 40 hours.
Ring 3 of the tree was formed in 1998.
They reached 1500000 people in 2023.
mobile-first design since 2015
The telephone was invented in 1876.
Fax machines peaked around 1997.
cell B12 holds the sum of C1:C200
phone: unknown
one two three four five six seven eight nine
""".strip().splitlines()


def negatives() -> list[Negative]:
    """Return sentences without anything to find, and near misses.

    A near miss is a valid number with a changed digit, so that its checksum fails.
    """
    source = random.Random(11)
    samples = [Negative("plain", literal_string) for literal_string in PLAIN_SENTENCES]
    for number in NUMBERS["card"].split():
        samples.append(Negative("card", f"Order {_last_digit_changed(number)} was confirmed."))
    for number in NUMBERS["iban"].split():
        samples.append(
            Negative(
                "iban",
                f"Reference {number[:2]}{(int(number[2:4]) + 1) % 100:02d}{number[4:]} in your letter",
            )
        )
    for number in NUMBERS["de_tax_id"].split():
        samples.append(
            Negative("de_tax_id", f"Artikel {_last_digit_changed(number)} ist lieferbar.")
        )
    for number in NUMBERS["fr_nir"].split():
        samples.append(Negative("fr_nir", f"Dossier {_last_digit_changed(number)} transmis."))
    for number in NUMBERS["es_dni"].split():
        other = "TRWAG"[("TRWAG".find(number[-1]) + 1) % 5]
        samples.append(Negative("es_dni", f"Referencia {number[:-1]}{other}."))
    for number in NUMBERS["it_cf"].split():
        samples.append(
            Negative("it_cf", f"Codice {number[:-1]}{chr((ord(number[-1]) - 64) % 26 + 65)}")
        )
    for number in NUMBERS["uk_nino"].split()[:10]:
        samples += [
            Negative("uk_nino", f"Part Q{number[1:]}"),
            Negative("uk_nino", f"Item {number[:-1]}E"),
        ]
    return [*samples, *_machine_made(source)]


def _last_digit_changed(number: str) -> str:
    return number[:-1] + str((int(number[-1]) + 1) % 10)


def _machine_made(source: random.Random) -> list[Negative]:
    """Return output of programs: ids, hashes, embedded images and encoded text."""
    samples: list[Negative] = []
    for number in range(15):
        seed = source.randbytes(40)
        samples += [
            Negative("high_entropy", f"request {uuid.UUID(bytes=seed[:16])} took {number} ms"),
            Negative("high_entropy", f"HEAD is now at {hashlib.sha1(seed).hexdigest()}"),
            Negative(
                "high_entropy",
                f"integrity sha256-{base64.b64encode(hashlib.sha256(seed).digest()).decode()}",
            ),
            Negative(
                "high_entropy",
                f'<img src="data:image/png;base64,{base64.b64encode(source.randbytes(60 + 40 * number)).decode()}">',
            ),
            Negative(
                "high_entropy",
                base64.b64encode(
                    f"This is only text number {number}, encoded for transport.".encode()
                ).decode(),
            ),
            Negative(
                "card",
                f"trace {source.randrange(10**18, 10**19)} span {source.randrange(10**8, 10**9)}",
            ),
            Negative(
                "phone",
                f"row {source.randrange(10**6)} of {source.randrange(10**7)}, offset {source.randrange(10**9)}",
            ),
            Negative(
                "iban",
                f"SKU {source.choice(['XX', 'QQ', 'ZZ', 'AA'])}{source.randrange(10**18):018d}",
            ),
        ]
    return samples
