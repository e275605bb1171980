"""The losses by hand, on maps of 2×2 positions."""

import numpy as np
import pytest
from keras import ops

from nst.descent import losses

# Two channels at four positions.
FEATURES = np.float32([[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]])
GRAM_SUM = np.float32([[[84, 100], [100, 120]]])


def test_content_loss_is_the_mean_of_squares():
    features = np.float32([[1, 2], [3, 4]])[None, ..., None]
    target = np.float32([[1, 0], [3, 8]])[None, ..., None]
    assert ops.convert_to_numpy(losses.content_loss(features, target)).tolist() == [5]


def test_content_loss_has_one_value_a_picture():
    two = np.concatenate([FEATURES, FEATURES + 3])
    assert ops.convert_to_numpy(losses.content_loss(two, FEATURES)).tolist() == [0, 9]


def test_gram_matrix_is_divided_by_positions():
    gram = ops.convert_to_numpy(losses.gram_matrix(FEATURES))
    assert gram.tolist() == [[[21, 25], [25, 30]]]


def test_gram_sum_is_not_divided():
    assert ops.convert_to_numpy(losses.gram_sum(FEATURES)).tolist() == GRAM_SUM.tolist()


def test_gram_matrix_does_not_see_where_things_are():
    moved = np.roll(FEATURES[:, ::-1], 1, axis=2)
    np.testing.assert_array_equal(losses.gram_matrix(moved), losses.gram_matrix(FEATURES))


def test_gram_sums_of_tiles_add_up(rng):
    whole = rng.normal(size=(2, 7, 5, 3)).astype(np.float32)
    tiles = [whole[:, :4, :2], whole[:, :4, 2:], whole[:, 4:, :2], whole[:, 4:, 2:]]
    total = sum(losses.gram_sum(tile) for tile in tiles)
    np.testing.assert_allclose(total, losses.gram_sum(whole), rtol=1e-5, atol=1e-5)


def test_gram_sum_weighs_positions_by_one_side():
    mask = np.float32([[1, 0], [0, 0.5]])[None, ..., None]
    # First position [1, 2] in full and the last one, [7, 8], by half.
    expected = [[[1 + 24.5, 2 + 28], [2 + 28, 4 + 32]]]
    gram = losses.gram_sum(FEATURES * mask, FEATURES)
    assert ops.convert_to_numpy(gram).tolist() == expected


def test_gram_sum_of_bfloat16_is_added_in_float32():
    ones = ops.ones((1, 30, 30, 1), "bfloat16")
    assert float(losses.gram_sum(ones)[0, 0, 0]) == 900  # bfloat16 cannot count beyond 256.


def test_style_loss_is_the_mean_square_of_gram_differences():
    other = np.ones_like(FEATURES)
    loss = losses.style_loss(losses.gram_matrix(FEATURES), losses.gram_matrix(other))
    # Differences 20, 24, 24, 29.
    assert float(loss[0]) == (400 + 576 + 576 + 841) / 4


def test_gatys_style_loss_is_the_formula():
    other = np.ones_like(FEATURES)
    loss = losses.gatys_style_loss(losses.gram_sum(FEATURES), losses.gram_sum(other), 4)
    # Differences 80, 96, 96, 116; N = 2, M = 4.
    assert float(loss[0]) == (6400 + 9216 + 9216 + 13456) / (4 * 2**2 * 4**2)


def test_formula_is_a_quarter_of_the_program_on_round_numbers():
    other = np.ones_like(FEATURES)
    program = losses.style_loss(losses.gram_matrix(FEATURES), losses.gram_matrix(other))
    formula = losses.gatys_style_loss(losses.gram_sum(FEATURES), losses.gram_sum(other), 4)
    assert float(program[0]) == 4 * float(formula[0])


def test_formula_is_a_quarter_of_the_program(rng):
    features, other = rng.normal(size=(2, 3, 6, 5, 7)).astype(np.float32)
    program = losses.style_loss(losses.gram_matrix(features), losses.gram_matrix(other))
    formula = losses.gatys_style_loss(losses.gram_sum(features), losses.gram_sum(other), 30)
    np.testing.assert_allclose(program, 4 * formula, rtol=1e-5)


def test_style_loss_of_itself_is_zero():
    gram = losses.gram_matrix(FEATURES)
    assert float(losses.style_loss(gram, gram)[0]) == 0


def test_total_variation_by_hand():
    image = np.repeat(np.float32([[0, 1], [3, 7]])[None, ..., None], 3, axis=3)
    # Down 3 and 6, across 1 and 4.
    assert float(losses.total_variation(image)[0]) == (9 + 36) / 2 + (1 + 16) / 2


@pytest.mark.parametrize("level", [0, 77.5])
def test_total_variation_of_a_flat_picture_is_zero(level):
    assert float(losses.total_variation(np.full((1, 4, 5, 3), level, np.float32))[0]) == 0
