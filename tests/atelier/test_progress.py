"""One event for everybody who follows a run."""

import dataclasses

import pytest

from atelier.progress import Step, notify_all


def test_a_step_cannot_be_changed():
    step = Step(1, 2, {"loss": 0.5})
    assert step.image is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        step.number = 2


def test_everybody_hears_of_each_step_even_if_the_first_asks_to_stop():
    heard = []

    def listener(name, answer):
        def on_step(step):
            heard.append((name, step.number))
            return answer

        return on_step

    on_step = notify_all(listener("a", True), None, listener("b", None))
    assert on_step(Step(7, 9, {})) is True
    assert heard == [("a", 7), ("b", 7)]


@pytest.mark.parametrize("listeners", [(), (None, None), (lambda step: None, lambda step: False)])
def test_a_run_goes_on_unless_it_is_asked_to_stop(listeners):
    assert notify_all(*listeners)(Step(1, 1, {})) is False
