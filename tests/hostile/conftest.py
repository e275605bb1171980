"""What the tests of files and text of unknown origin share."""

from collections.abc import Callable

import hypothesis
import pytest

from atelier.errors import AtelierError

hypothesis.settings.register_profile(
    "hostile",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=40,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile("hostile")


@pytest.fixture(scope="session")
def refusal() -> Callable[..., str]:
    """Calls a reader that must refuse its input with an `AtelierError`; gives its one line."""

    def refused(function: Callable, *arguments, **options) -> str:
        with pytest.raises(AtelierError) as caught:
            function(*arguments, **options)
        text = str(caught.value)
        assert text.isprintable(), repr(text)
        return text

    return refused
