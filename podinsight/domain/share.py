"""How the workers of a pool are shared out among machines (G6). Pure; standard library."""

from collections.abc import Mapping


def share_out(desired: int, working: Mapping[str, int]) -> dict[str, int]:
    """How many of `desired` workers each machine should have: just so many in all, none for anybody below zero.

    Whoever works stays: what is missing goes where the fewest work, what is too much leaves where the most do. With
    nobody at work that is desired // n each, and one more for the first by name. While machines bring theirs up nothing
    moves: everybody who reads the same numbers, however far the others have come, comes to the same shares.

    Args:
        working: machine → how many of its workers are there and stay; every machine that could have some.
    """
    shares = {machine: max(0, working[machine]) for machine in sorted(working)}
    if not shares:
        return {}
    surplus = sum(shares.values()) - max(0, desired)
    for _ in range(surplus):
        shares[max(shares, key=lambda machine: (shares[machine], machine))] -= 1
    for _ in range(-surplus):
        shares[min(shares, key=lambda machine: (shares[machine], machine))] += 1
    return shares
