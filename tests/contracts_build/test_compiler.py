# SPDX-License-Identifier: Apache-2.0
"""What the build reads from the compiler, and what it adds to the storage layout."""

from pathlib import Path

import pytest
import vyper

from serving_network.contracts.build.compiler import compile_contract
from serving_network.contracts.build.errors import CompilerMismatch, DuplicateName, LayoutError

HERE = Path(__file__).parent
FIXTURE = HERE / "Layout.vy"


def test_the_layout_has_words_bits_structs_and_flags() -> None:
    layout = compile_contract(FIXTURE, HERE).storage_layout
    assert layout["storage_layout"] == {
        "counter": {"_calls": {"type": "uint256", "n_slots": 1, "slot": 0}},
        "_word": {"type": "uint256", "n_slots": 1, "slot": 1},
        "entries": {
            "type": "HashMap[address, HashMap[uint256, DynArray[Entry, 4]]]",
            "n_slots": 1,
            "slot": 2,
        },
    }
    assert layout["packed"] == {
        "_word": [("low", 8), ("high", 248)],
        "counter._calls": [("count", 64), ("spare", 192)],
    }
    assert layout["structs"] == {
        "Entry": {"amount": "uint256", "inner": "Inner[3]"},
        "Inner": {"size": "uint8", "mode": "Mode"},
    }
    assert layout["flags"] == {"Mode": ["OFF", "ON"]}


def test_the_settings_are_the_networks_except_for_the_optimisation_in_the_file() -> None:
    settings = compile_contract(FIXTURE, HERE).settings
    assert settings["name"] == "vyper"
    assert settings["version"].startswith("0.4.3+commit.")
    assert settings["evmVersion"] == "cancun"
    assert settings["codegen"] == "legacy"
    assert settings["optimize"] == "codesize"


def test_sources_are_the_file_and_what_it_imports() -> None:
    assert compile_contract(FIXTURE, HERE).sources == [FIXTURE, HERE / "modules/counter.vy"]


def test_functions_that_encode_by_hand_are_known() -> None:
    assert compile_contract(FIXTURE, HERE).raw_returns == {"listed"}


def test_the_same_source_gives_the_same_code() -> None:
    assert compile_contract(FIXTURE, HERE) == compile_contract(FIXTURE, HERE)


@pytest.mark.parametrize("declared", ["_word low:8 high:8", "_word", "_word low:eight", "low:8, high:8"])
def test_an_invalid_packed_word_is_refused(tmp_path: Path, declared: str) -> None:
    source = tmp_path / "Packed.vy"
    source.write_text(f"# @custom:packed {declared}\n_word: uint256\n@external\ndef f():\n    self._word = 1\n")
    with pytest.raises(LayoutError, match=r"Packed\.vy"):
        compile_contract(source, tmp_path)


def test_bits_of_a_word_that_is_not_stored_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "Packed.vy"
    source.write_text("# @custom:packed _wrod low:8\n_word: uint256\n@external\ndef f():\n    self._word = 1\n")
    with pytest.raises(LayoutError, match="_wrod"):
        compile_contract(source, tmp_path)


def test_another_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vyper, "__version__", "0.4.2")
    with pytest.raises(CompilerMismatch, match=r"Vyper 0\.4\.3 is required, but 0\.4\.2 is installed"):
        compile_contract(FIXTURE, HERE)


def test_two_sources_of_one_name_are_refused_before_the_compiler_stumbles(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "part.vy").write_text("A: constant(uint256) = 1\n")
    source = tmp_path / "Twice.vy"
    source.write_text(
        "from one import part as first\nfrom two import part as second\n"
        "@external\ndef f() -> uint256:\n    return first.A + second.A\n"
    )
    with pytest.raises(DuplicateName, match=r"one/part\.vy and two/part\.vy have the same name"):
        compile_contract(source, tmp_path)
