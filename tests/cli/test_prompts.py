# SPDX-License-Identifier: Apache-2.0
"""Questions on a terminal: answers, secrets, and Ctrl-C at any moment."""

from __future__ import annotations

import os
import random
import signal
import termios
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from serving_network.cli.console import prompts
from serving_network.cli.console.prompts import Declined, ask_new_password, ask_secret, ask_to_go_on, ask_to_remove
from serving_network.errors import InvalidInput

INTERRUPTIONS = 100
HANGS_AFTER = 60.0


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The other end of a terminal that is standard input."""
    other_end, end = os.openpty()
    with os.fdopen(end, encoding="utf-8") as stdin:
        monkeypatch.setattr(prompts.sys, "stdin", stdin)  # type: ignore[attr-defined]
        yield other_end
    os.close(other_end)


@pytest.mark.parametrize("typed", ["\n", "y\n", "YES\n", "what?\nno, yes\ny\n"])
def test_yes_goes_on(terminal: int, typed: str) -> None:
    os.write(terminal, typed.encode())
    ask_to_go_on()


@pytest.mark.parametrize("typed", ["n\n", " No \n", "what?\nn\n"])
def test_no_is_declined(terminal: int, typed: str) -> None:
    os.write(terminal, typed.encode())
    with pytest.raises(Declined, match=r"Nothing was removed\."):
        ask_to_go_on(what="removed")


def test_an_empty_line_removes_nothing(terminal: int) -> None:
    os.write(terminal, b"\n")
    with pytest.raises(Declined, match=r"Nothing was removed\."):
        ask_to_remove("This deletes a key.", yes=False)


def test_the_end_of_input_interrupts_and_ends_the_line(terminal: int, capsys: pytest.CaptureFixture[str]) -> None:
    os.write(terminal, b"\x04")
    with pytest.raises(KeyboardInterrupt):
        ask_to_go_on()
    assert capsys.readouterr().err == "Continue? [Y/n]: \n"


def test_a_secret_is_not_echoed_and_echo_is_restored(terminal: int) -> None:
    seen: list[bool] = []

    def type_it() -> None:
        while termios.tcgetattr(terminal)[3] & termios.ECHO:
            time.sleep(0.001)
        seen.append(True)
        os.write(terminal, b" se cret \n")

    typing = threading.Thread(target=type_it)
    typing.start()
    assert ask_secret("Password: ") == " se cret "
    typing.join()
    assert seen
    assert termios.tcgetattr(terminal)[3] & termios.ECHO


def test_a_new_password_is_asked_for_until_it_is_long_enough_and_repeated(
    terminal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERVING_PASSWORD", raising=False)
    typed = iter(["short", "long enough", "mistyped", "long enough", "long enough", "short", "short", "short"])
    monkeypatch.setattr(prompts, "ask_secret", lambda _: next(typed))
    assert ask_new_password() == "long enough"
    with pytest.raises(InvalidInput, match="shorter than 8"):
        ask_new_password()
    assert not list(typed)
    assert terminal


def test_ctrl_c_at_any_moment_ends_a_prompt(terminal: int) -> None:
    chance = random.Random(11)
    for number in range(INTERRUPTIONS):
        answered = threading.Event()

        def interrupt(answered: threading.Event = answered, delay: float = chance.uniform(0, 0.001)) -> None:
            time.sleep(delay)
            os.kill(os.getpid(), signal.SIGINT)
            if not answered.wait(HANGS_AFTER):
                os.write(terminal, b"y\n")

        interrupting = threading.Thread(target=interrupt)
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012  the signal may come as soon as the thread starts
            interrupting.start()
            ask_to_go_on() if number % 2 else ask_secret("Password: ")
        answered.set()
        interrupting.join()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("name", ["signal", "set_wakeup_fd"])
def test_ctrl_c_while_a_prompt_begins_or_ends_leaves_nothing_behind(
    terminal: int, monkeypatch: pytest.MonkeyPatch, name: str, call: int
) -> None:
    real, calls = getattr(signal, name), 0

    def interrupted(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        result = real(*given, **named)
        if calls == call:
            signal.raise_signal(signal.SIGINT)
        return result

    os.write(terminal, b"y\n")
    monkeypatch.setattr(signal, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        ask_to_go_on()
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1


def test_another_thread_than_the_main_one_may_ask(terminal: int) -> None:
    os.write(terminal, b"n\n")
    answers: list[BaseException | None] = []

    def ask() -> None:
        try:
            ask_to_go_on()
        except Exception as error:  # noqa: BLE001  whatever it is, it is compared
            answers.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join(HANGS_AFTER)
    assert [type(one) for one in answers] == [Declined]
