import contextvars
import inspect
import threading
import time

import gradio as gr
import pytest
from gradio.context import LocalContext

from atelier.errors import SettingsError
from gallery.web import jobs, limits
from gallery.web.jobs import check_time, job, show
from gallery.web.limits import Limits

PROGRESS = gr.Progress()


@pytest.fixture
def seconds(monkeypatch):
    """Sets the time that a job may take."""
    return lambda value: monkeypatch.setattr(limits, "_limits", Limits(seconds=value))


def test_a_job_gives_what_its_function_gives():
    assert job(lambda a, b=1: (a, b))(2, b=3) == (2, 3)
    assert job(lambda: None)() is None


def test_a_generator_s_values_come_in_order_and_whole():
    @job
    def count(number):
        yield from range(number)

    assert list(count(50)) == list(range(50))


def test_gradio_sees_the_function_s_own_signature():
    def handler(picture, threshold: float = 0.5, progress=PROGRESS):
        """Finds things."""

    wrapped = job(handler)
    assert inspect.signature(wrapped) == inspect.signature(handler)
    assert wrapped.__doc__ == "Finds things."
    assert not inspect.isgeneratorfunction(wrapped)
    assert inspect.isgeneratorfunction(job(handler, live=True))


def test_a_mistake_is_one_line_of_text_without_traceback(capsys):
    @job
    def refuse():
        raise SettingsError("--size is <b>0</b>;\n  at least 1")

    with pytest.raises(gr.Error) as raised:
        refuse()
    assert raised.value.message == "--size is &lt;b&gt;0&lt;/b&gt;; at least 1"
    assert not raised.value.print_exception
    assert capsys.readouterr().err == ""


def test_an_unexpected_error_is_told_calmly_and_logged(capsys):
    @job
    def fail():
        raise RuntimeError("the secret")

    with pytest.raises(gr.Error) as raised:
        fail()
    assert raised.value.message == jobs.UNEXPECTED
    assert raised.value.__cause__ is None
    assert "RuntimeError: the secret" in capsys.readouterr().err


def test_an_error_after_some_values_comes_after_them():
    @job
    def half():
        yield 1
        yield 2
        raise SettingsError("enough")

    values = half()
    assert [next(values), next(values)] == [1, 2]
    with pytest.raises(gr.Error, match="enough"):
        next(values)


def test_one_job_at_a_time():
    inside, most = [], []

    @job
    def work():
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert most == [1] * 8


def test_past_its_time_a_job_that_asks_ends(seconds):
    seconds(0.2)
    ended = threading.Event()

    @job
    def work():
        try:
            while True:
                check_time()
                time.sleep(0.01)
        finally:
            ended.set()

    with pytest.raises(gr.Error, match=r"longer than the 0.2 s"):
        work()
    assert ended.wait(5)


def test_past_its_time_the_visitor_hears_though_the_work_does_not_ask(seconds):
    seconds(0.1)
    over, begun = threading.Event(), threading.Event()

    @job
    def deaf():
        begun.set()
        over.wait(30)

    with pytest.raises(gr.Error, match=r"longer than the 0.1 s"):
        deaf()
    assert begun.is_set()
    with pytest.raises(gr.Error, match=r"longer"):  # The next one waits for the first's end,
        job(lambda: "never")()
    over.set()
    seconds(30)
    assert job(lambda: "again")() == "again"  # and then its turn comes.


def test_a_visitor_who_leaves_stops_a_generator():
    cleaned = threading.Event()

    @job
    def forever():
        try:
            while True:
                yield 0
        finally:
            cleaned.set()

    values = forever()
    assert next(values) == 0
    values.close()
    assert cleaned.wait(5)


def test_live_jobs_show_what_they_have_and_end_with_what_they_return():
    def work(number):
        for step in range(number):
            show(step, "so far")
            time.sleep(0.02)
        return number, "done"

    *shown, last = list(job(work, live=True)(5))
    assert last == (5, "done")
    assert shown
    assert set(shown) <= {(step, "so far") for step in range(5)}
    assert job(work)(2) == (2, "done")  # Not live: shown to nobody.


def test_a_thread_of_the_job_s_own_may_ask_for_the_time(seconds):
    seconds(0.1)
    raised = threading.Event()

    def ask():
        try:
            while True:
                check_time()
                time.sleep(0.01)
        except Exception:
            raised.set()

    @job
    def work():
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(10)
        check_time()

    with pytest.raises(gr.Error, match="longer"):
        work()
    assert raised.wait(5)


def test_progress_reaches_the_visitor_whose_job_it_is():
    context = contextvars.copy_context()
    context.run(LocalContext.event_id.set, "mine")
    assert context.run(job(LocalContext.event_id.get)) == "mine"


def test_stopping_ends_a_job_and_refuses_further_ones(monkeypatch):
    monkeypatch.setattr(jobs, "_closing", threading.Event())
    begun = threading.Event()

    @job
    def work():
        while True:
            begun.set()
            check_time()
            time.sleep(0.01)

    errors = []

    def visit():
        try:
            work()
        except gr.Error as error:
            errors.append(error.message)

    thread = threading.Thread(target=visit)
    thread.start()
    assert begun.wait(5)
    assert jobs.stop_jobs(5)
    thread.join(5)
    assert errors == ["the request was stopped"]
    with pytest.raises(gr.Error, match="stopped"):
        work()


def test_outside_of_a_job_there_is_no_limit():
    check_time()
    show("nothing")


@pytest.mark.parametrize(
    ("name", "value"), [("seconds", 0), ("waiting", -1), ("megapixels", float("nan"))]
)
def test_limits_are_more_than_nothing(name, value):
    with pytest.raises(SettingsError, match=f"--{name} must be more than 0"):
        Limits(**{name: value})
