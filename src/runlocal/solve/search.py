"""Finding the last number for which something still fits, in few tries."""

from collections.abc import Callable


def last_that_fits(least: int, most: int, left: Callable[[int], int], left_at_least: int, left_at_most: int) -> int:
    """The largest n from `least` on with `left(n)` >= 0, where `left_at_least` = left(least) >= 0 > left(most) = `left_at_most`.

    What is left falls almost evenly, so a straight line between two tries nearly finds the place; every second try halves the rest, so that
    a bent line costs no more than twice a bisection. Where the line has found the place to within one, its neighbour is tried first.
    """
    high, low, halve, neighbour = left_at_least, left_at_most, False, True
    while most - least > 1:
        step = int((most - least) * high / (high - low))
        if halve and step < 1 and neighbour:
            neighbour = False
        elif halve:
            step = (most - least) // 2
        middle = min(max(least + step, least + 1), most - 1)
        if (free := left(middle)) >= 0:
            least, high = middle, free
        else:
            most, low = middle, free
        halve = not halve and most - least > 2
    return least
