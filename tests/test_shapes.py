"""What checks shapes while the tests run looks at each kind of call once, and no wrong one gets through for that."""

from collections.abc import Callable
from typing import Literal

import pytest
import shapes
import torch
from jaxtyping import Float, jaxtyped
from torch import Tensor

BROKEN = r"(?i)type-check|violates"


def checked(function: Callable) -> Callable:
    return shapes.jaxtyped(function, typechecker=shapes.check)


def times(a: Float[Tensor, "B T"], b: Float[Tensor, " T"], how: Literal["sum", "wrong"] = "sum") -> Float[Tensor, " B"]:
    return (a * b).sum(-1) if how == "sum" else a


def test_a_wrong_call_is_caught_after_right_ones_of_other_kinds() -> None:
    assert jaxtyped is shapes.jaxtyped  # what the import hook decorates with
    product = checked(times)
    for rows in (2, 3, 2):
        assert product(torch.ones(rows, 4), torch.ones(4)).tolist() == [4] * rows
    for wrong in (
        (torch.ones(2, 4), torch.ones(1)), (torch.ones(4), torch.ones(4)), (torch.ones(2, 4).long(), torch.ones(4)),
        ([1.0], torch.ones(4)), (torch.ones(2, 4), torch.ones(4), "mean"), (torch.ones(2, 4), torch.ones(4), "wrong"),
    ):  # fmt: skip
        for _ in range(2):  # the second time too
            with pytest.raises(Exception, match=BROKEN):
                product(*wrong)
    with pytest.raises(Exception, match=BROKEN):
        product(a=torch.ones(2, 4), b=torch.ones(5))
    assert product(a=torch.ones(2, 4), b=torch.ones(4)).tolist() == [4, 4]


def test_what_comes_back_is_checked_too_whenever_it_is_of_another_kind() -> None:
    answers = iter([torch.ones(3), torch.ones(3), torch.ones(2), None])

    @checked
    def like(a: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        return next(answers)

    like(torch.ones(3)), like(torch.zeros(3))
    for _ in range(2):
        with pytest.raises(Exception, match=BROKEN):
            like(torch.ones(3))


def test_values_of_lists_are_looked_at() -> None:
    @checked
    def total(values: list[int], table: dict[str, int]) -> int:
        return sum(values) + sum(table.values())

    assert total([1, 2], {"a": 3}) == 6
    for wrong in (([1.5, 2], {"a": 3}), (["1"], {}), ([1, 2], {"a": 1.5}), ([1, 2], {3: 3})):
        with pytest.raises(Exception, match=BROKEN):
            total(*wrong)
