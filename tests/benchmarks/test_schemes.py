"""What the comparison of training schemes prints."""

from benchmarks.schemes import table


def test_alternating_costs_the_mean_of_its_four_steps():
    seconds = {"joint": 0.4, "rpn": 0.3, "head": 0.5, "rpn-only": 0.1, "head-only": 0.1}
    assert table(seconds)[-1] == "alternating  0.250 s on average, 0.62 of joint"
    assert table(seconds)[0] == "joint        0.400 s"
