"""RSA keys that are long enough and can be broken all the same, because of how their primes were made."""

from math import gcd, isqrt, prod

_ROUNDS = 100
_SMALL = tuple(n for n in range(3, 2000, 2) if all(n % d for d in range(3, isqrt(n) + 1, 2)))
_ROCA = tuple(p for p in _SMALL if p <= 167)  # noqa: PLR2004 - the primes that the flawed library's form shows in
_LEAST_EXPONENT = 65537


def weakness_of(exponent: int, modulus: int) -> str | None:
    """How the key can be broken; None: in none of the ways that are looked for.

    A small exponent; a small factor; primes close to each other (CVE-2022-26320, found by Fermat's method); primes of
    the form that Infineon's library made (ROCA, CVE-2017-15361).
    """
    if exponent < _LEAST_EXPONENT:
        return f"its exponent is {exponent}, and should be {_LEAST_EXPONENT} or more"
    if gcd(modulus, prod(_SMALL)) > 1:
        return "its modulus has a small factor"
    if _has_close_primes(modulus):
        return "its primes are too close to each other"
    if all(modulus % p in _powers(p) for p in _ROCA):
        return "it was made by a chip or library with the ROCA flaw"
    return None


def _has_close_primes(modulus: int) -> bool:
    middle = isqrt(modulus - 1) + 1
    for candidate in range(middle, middle + _ROUNDS):
        rest = candidate * candidate - modulus
        if isqrt(rest) ** 2 == rest:
            return True
    return False


def _powers(prime: int) -> set[int]:
    """What the powers of 65537 leave, divided by a prime."""
    found, power = set(), 1
    while power not in found:
        found.add(power)
        power = power * 65537 % prime
    return found
