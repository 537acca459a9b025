"""Result of a comparison with a golden number."""

from typing import NamedTuple


class Finding(NamedTuple):
    """Error of one quantity of one case."""

    case: str
    quantity: str
    error: float  # largest absolute difference
    tolerance: float
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the error is within its tolerance."""
        return self.error <= self.tolerance  # False where the error is not a number
