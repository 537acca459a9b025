"""How much to add to a side."""


def margins(size: int, multiple: int) -> tuple[int, int]:
    """Pixels before and after a side that bring it to a multiple; the odd one goes after."""
    extra = -size % multiple
    return extra // 2, extra - extra // 2
