"""What a comparison with a golden number found."""

from typing import NamedTuple


class Finding(NamedTuple):
    case: str
    quantity: str
    error: float  # largest absolute difference
    tolerance: float
    note: str = ""

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance  # False where the error is not a number
