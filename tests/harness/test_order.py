"""The order of a pass: seeded, one size and fold a block, every image once, each process its own share."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import order
from harness.order import BLOCK, Place, assign_folds, blocks, my_batches

SIZES = [(4, 6), (6, 4), (5, 5)]
images = st.lists(st.tuples(st.sampled_from(SIZES), st.integers(0, 3)), min_size=1, max_size=150)


@given(images, st.integers(0, 5), st.one_of(st.none(), st.integers(0, 3)))
def test_every_image_has_one_turn_in_a_block_of_its_kind(
    found: list[tuple[tuple[int, int], int]], seed: int, epoch: int | None
) -> None:
    folds = [fold for _, fold in found]
    made = blocks(range(len(found)), lambda row: found[row][0], folds, seed, epoch)
    places = [place for block in made for place in block]
    assert [place.turn for place in places] == list(range(len(found)))
    assert sorted(place.row for place in places) == list(range(len(found)))
    for block in made:
        assert len({found[place.row][0] for place in block}) == 1
        if epoch is not None:
            assert len(block) <= BLOCK
            assert len({folds[place.row] for place in block}) == 1
    assert made == blocks(range(len(found)), lambda row: found[row][0], folds, seed, epoch)


@given(images, st.integers(1, 5), st.integers(1, 40))
def test_processes_share_the_images_and_keep_the_order(
    found: list[tuple[tuple[int, int], int]], processes: int, step: int
) -> None:
    folds = [fold for _, fold in found]
    made = blocks(range(len(found)), lambda row: found[row][0], folds, 0, 1)
    seen: Counter[Place] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        for rank in range(processes):
            patch.setattr(order, "is_mine", lambda row, rank=rank: row % processes == rank)
            batches = my_batches(made, lambda row: step)
            turns = [place.turn for batch in batches for place in batch]
            assert turns == sorted(turns)
            assert all(len(batch) <= min(step, BLOCK) for batch in batches)
            seen.update(place for batch in batches for place in batch)
    assert seen == Counter(place for block in made for place in block)


@given(st.lists(st.integers(0, 10**9), unique=True, min_size=1, max_size=60), st.integers(2, 7), st.integers(0, 9))
def test_folds_are_balanced_and_depend_on_ids_only(ids: list[int], n_folds: int, seed: int) -> None:
    folds = dict(zip(ids, assign_folds(ids, n_folds, seed), strict=True))
    sizes = Counter(folds.values())
    assert max(sizes.values()) - min(sizes.get(k, 0) for k in range(n_folds)) <= 1
    assert dict(zip(ids[::-1], assign_folds(ids[::-1], n_folds, seed), strict=True)) == folds
