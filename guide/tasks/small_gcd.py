"""Greatest common divisors of small numbers, judged by reasoning-gym's own checker of its family gcd."""

from math import gcd
from random import Random


def problems(split, seed):
    random = Random(f"{split}/{seed}")
    while True:
        a, b, common = (random.randint(2, 9) for _ in range(3))
        yield {
            "question": f"What is the greatest common divisor of {a * common} and {b * common}?",
            "reference": str(gcd(a, b) * common),
            "verifier": "gym:gcd",
        }
