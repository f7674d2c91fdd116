"""Guardrails on texts beside the corpus: forms that people write, and near misses of each."""

from __future__ import annotations

import pytest

from graphorch.models.guardrails.client import personal_data, secrets

HEX = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
RANDOM = "k9Fq2ZrT7vWx4LmN8pQs6YbD3hJc5GtE"
SECRETS = [
    # values that begin like a placeholder
    ("password: $ecure4Me!", "$ecure4Me!"),
    ('password = "vaultBoy#77"', "vaultBoy#77"),
    ("secret: vaultBoy#77", "vaultBoy#77"),
    ("token: mArble!52", "mArble!52"),
    ("password=http4Fun!", "http4Fun!"),
    ("Password: yourMom#77", "yourMom#77"),
    ("pwd: changeIsGood9!", "changeIsGood9!"),
    ("password: env!ron77", "env!ron77"),
    ("password = 'hidden.Tiger88'", "hidden.Tiger88"),
    ('"password": "%Percent9Sign"', "%Percent9Sign"),
    ("passwd=***star7", "***star7"),
    ("password: os.Prey99!", "os.Prey99!"),
    ("password: nonePass1!", "nonePass1!"),
    ("password is my-secret-99-token!", "my-secret-99-token!"),
    ("postgres://app:$ecure4Me!@db.internal/app", "$ecure4Me!"),
    # headers
    ("Authorization: token 9f8e7d6c5b4a39281706f5e4d3c2b1a0", "9f8e7d6c5b4a39281706f5e4d3c2b1a0"),
    ('"Authorization": "ApiKey Zm9vYmFyMTIzNDU2Nzg5MA"', "Zm9vYmFyMTIzNDU2Nzg5MA"),
    (f"curl -H 'authorization: {RANDOM}' https://x.example", RANDOM),
    ("X-Api-Key: 8d7f6a5b4c3e2d1f0a9b", "8d7f6a5b4c3e2d1f0a9b"),
    # names of variables
    ("AZURE_OPENAI_KEY=0a1b2c3d4e5f60718293a4b5c6d7e8f9", "0a1b2c3d4e5f60718293a4b5c6d7e8f9"),
    ("export MISTRAL_KEY='pQ7rS8tU9vW0xY1zA2bC'", "pQ7rS8tU9vW0xY1zA2bC"),
    ('{"stripeKey": "a1b2c3d4e5f6g7h8i9j0"}', "a1b2c3d4e5f6g7h8i9j0"),
    ("COHERE_API_TOKEN: abcd1234efgh5678ijkl", "abcd1234efgh5678ijkl"),
    ("weather_key = 'b6907d289e10d714a6e88b30761fae22'", "b6907d289e10d714a6e88b30761fae22"),
    ("API key: b6907d289e10d714a6e88b30761fae22", "b6907d289e10d714a6e88b30761fae22"),
    ("the access key is AbCd1234EfGh5678", "AbCd1234EfGh5678"),
    # short words
    ("user: bob pass: hunter2!x", "hunter2!x"),
    ("pw=Sommer2024!", "Sommer2024!"),
    ("clave: Perro2024!x-largo", "Perro2024!x-largo"),
    ("la contraseña es Gato#2024", "Gato#2024"),
    ("senha: Cachorro#12", "Cachorro#12"),
    ("wachtwoord: Fiets2024!", "Fiets2024!"),
    ("пароль: Zima2024!", "Zima2024!"),
    ("PIN: 4821", "4821"),
    ("Your PIN is 904821.", "904821"),
    ("PIN-Code: 0815", "0815"),
    ("Geheimzahl: 4711", "4711"),
    ('"pin": "7391"', "7391"),
    # command lines
    ("mysql -u root -pS3cret99 shop", "S3cret99"),
    ("mysqldump --single-transaction -uroot -p'Tr1cky!' shop > x.sql", "Tr1cky!"),
    ("sshpass -p Hunter77 ssh bob@host", "Hunter77"),
    ("docker login -u bob -p Hunter77 registry.example", "Hunter77"),
    ("curl -u bob:Hunter77 https://api.example/v1", "Hunter77"),
    ("redis-cli -h cache -a Hunter77 ping", "Hunter77"),
    # 32 bytes in hexadecimal digits
    (f"the wallet's private key is 0x{HEX}", f"0x{HEX}"),
    (f"seed {HEX}", HEX),
]  # fmt: skip
PERSONAL = [
    ("Erreichbar unter 030 / 901820", "030 / 901820"),
    ("Praxis: 0221/4710815", "0221/4710815"),
    ("Anruf auf 0221 4710815 genügt", "0221 4710815"),
    ("Sie können mich unter 0171-2345678 anrufen", "0171-2345678"),
    ("Büro 030/90 18 20", "030/90 18 20"),
    ("meld je op 06-12345678", "06-12345678"),
    ("Zentrale 044 668 18 00", "044 668 18 00"),
    ("llámame al 612 34 56 78", "612 34 56 78"),
    ("my dni is 12345678z", "12345678z"),
    ("nino: pt436597a", "pt436597a"),
    ("iban de89370400440532013000", "de89370400440532013000"),
]
CLEAN = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl bob@host",
    "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8 bob@host (ED25519)",
    "Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==",
    '"integrity": "sha512-9NET910DNaIPngYnLLPegOgzqsi9uM4mSboU5y6p8S5DzMTVEsJZrawiBoDNUVBa2DhJq"',
    f"image digest sha256:{HEX}",
    f"commit {HEX} fixes the key handling",
    f"cache key, hash {HEX}",
    f"sha256 of the key file: {HEX}",
    "ipfs QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKSPdG",
    "The office has 12345678 visitors a year.",
    "Our cell lines: 12345678 samples were read.",
    "It rings 12345678 times",
    "auf 12345678 Besucher kommt das Amt",
    "unter 4000000000 Byte",
    "number 12345678 in the list",
    "number 0123456 of the series",
    "password: ${DB_PASSWORD}",
    "password: $DB_PASSWORD",
    'password = "<your password>"',
    "password=os.environ['DB_PASSWORD']",
    "password = getpass.getpass()",
    "password: your_password_here",
    "password: change_me",
    "password: xxxx-xxxx",
    "password: ********",
    "password: {{ vault_db_password }}",
    'password="%(password)s"',
    "password: %DB_PASSWORD%",
    "password = config.database.password",
    "password: vault:secret/data/db#password",
    "Set the password: https://example.com/reset",
    "PRIMARY_KEY = customer_id_2024_archive",
    "cache_key = 'user12345678-profile99'",
    "The pass: 12 of 14 tests",
    "pin: 13 is the LED",
    "GPIO pin 1234",
    "la clave es la paciencia",
    "mkdir -p src/main99",
    "ssh -p 2222 bob@host",
    "docker run -p 8080:80 nginx99",
    "curl -u bob https://api.example",
    "Authorization: required for all requests",
    "Invoice 030/2024 was paid",
    "the token is invalid2",
]


def find(text: str) -> dict[str, str]:
    """What both sets of detectors find in a text: value → kind."""
    matches = [*secrets().find(text), *personal_data().find(text)]
    return {text[match.start : match.end]: match.kind for match in matches}


@pytest.mark.parametrize(("text", "value"), [*SECRETS, *PERSONAL])
def test_value_is_found_whole(text: str, value: str) -> None:
    """The value is covered by what is found."""
    assert any(value in matched for matched in find(text)), find(text)


@pytest.mark.parametrize("text", CLEAN)
def test_near_miss_is_left_alone(text: str) -> None:
    """Nothing is found where there is nothing to hide."""
    assert find(text) == {}


def test_certificate_is_left_alone() -> None:
    """Lines of base64 between other lines are a block: a certificate, or an attachment."""
    line = "MIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ"
    text = "\n".join(["-----BEGIN CERTIFICATE-----", *[line] * 12, "-----END CERTIFICATE-----"])
    assert find(text) == {}
