"""What a user is told: one line, whatever it quotes."""

import pytest

from atelier.errors import LONGEST, AtelierError, one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("größer als 日本", "größer als 日本"),
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("not UTF-8: \udcff", "not UTF-8: \\udcff"),
    ],
)
def test_text_is_one_line_fit_for_a_terminal(text, line):
    assert one_line(text) == line
    assert str(AtelierError(text)) == line


def test_what_is_long_keeps_its_start_and_its_end():
    text = str(AtelierError(f"no colour '{'x' * 5000}': such as white"))
    assert len(text) == LONGEST
    assert text.startswith("no colour 'xxx")
    assert text.endswith("xxx': such as white")
    whole = "x" * LONGEST
    assert str(AtelierError(whole)) == whole
