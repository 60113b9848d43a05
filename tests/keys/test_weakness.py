"""RSA keys that are long enough and broken all the same are refused."""

import base64
import secrets
from math import prod

import asyncssh
import pytest

from keys.public_key import PublicKey, PublicKeyError
from keys.weakness import _ROCA, _SMALL, weakness_of

BITS = 3072


def line_of(modulus: int, exponent: int = 65537) -> str:
    parts = [b"ssh-rsa", *(number.to_bytes(number.bit_length() // 8 + 1) for number in (exponent, modulus))]
    return f"ssh-rsa {base64.b64encode(b''.join(len(part).to_bytes(4) + part for part in parts)).decode()}"


def next_prime(number: int) -> int:
    number |= 1
    while any(number % p == 0 for p in _SMALL) or pow(2, number - 1, number) != 1:
        number += 2
    return number


def test_good_keys_pass() -> None:
    for _ in range(3):
        key = asyncssh.generate_private_key("ssh-rsa", key_size=BITS)
        assert PublicKey.parse(key.export_public_key()).bits == BITS


def test_primes_close_to_each_other_are_found() -> None:
    first = next_prime(secrets.randbits(BITS // 2) | (3 << (BITS // 2 - 2)))
    modulus = first * next_prime(first + (1 << 700))
    with pytest.raises(PublicKeyError, match="too close to each other"):
        PublicKey.parse(line_of(modulus))


def test_the_form_of_the_flawed_library_is_found() -> None:
    step = prod(_ROCA) * 2
    modulus = pow(65537, 12345, step) + step * (secrets.randbits(BITS - step.bit_length()) | 1 << 2850)
    while modulus.bit_length() < BITS or any(modulus % p == 0 for p in _SMALL):
        modulus += step * (1 << 2840)
    with pytest.raises(PublicKeyError, match="ROCA"):
        PublicKey.parse(line_of(modulus))


def test_small_factors_and_exponents_are_found() -> None:
    good = asyncssh.generate_private_key("ssh-rsa", key_size=BITS).pyca_key.public_key().public_numbers().n
    with pytest.raises(PublicKeyError, match="exponent is 3,"):
        PublicKey.parse(line_of(good, 3))
    assert weakness_of(65537, good * 1999) == "its modulus has a small factor"
    assert weakness_of(65537, good) is None
