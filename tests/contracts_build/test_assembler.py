# SPDX-License-Identifier: Apache-2.0
"""The assembler: the bytes of each statement, and the line of each mistake."""

import pytest

from serving_network.contracts.build.assembler import assemble
from serving_network.contracts.build.errors import AssemblyError


def test_sections_labels_sizes_and_data() -> None:
    listing = """
    ; a comment, and an empty line

    .section first
        PUSH0                ; 5f
        PUSH1 #second        ; 60 24
        PUSH2 @second        ; 61 00 0c
    again:                   ; 5b, at 6
        PUSH1 @again         ; 60 06
        PUSH2 0x0102         ; 61 01 02
    .section second
        DATA4 0x08c379a0
        DATA32 "text"
    """
    sections = assemble(listing)
    assert list(sections) == ["first", "second"]
    assert sections["first"].hex() == "5f602461000c5b6006610102"
    assert len(sections["first"]) == 12
    assert sections["second"] == bytes.fromhex("08c379a0") + b"text".ljust(32, b"\0")


def test_a_label_belongs_to_its_section() -> None:
    sections = assemble(".section a\nPUSH0\nhere:\nPUSH1 @here\n.section b\nhere:\nPUSH1 @here")
    assert sections == {"a": bytes.fromhex("5f5b6001"), "b": bytes.fromhex("5b6000")}


@pytest.mark.parametrize(
    ("listing", "complaint"),
    [
        ("PUSH0", "line 1: PUSH0 is before the first section"),
        (".section a\nNOSUCH", "line 2: unknown instruction NOSUCH"),
        (".section a\nPUSH1", "line 2: PUSH1 needs an operand"),
        (".section a\nADD 1", "line 2: ADD takes no operand"),
        (".section a\nPUSH1 256", "line 2: 256 is larger than 1 bytes"),
        (".section a\nPUSH1 -1", "line 2: -1 is larger than 1 bytes"),
        (".section a\nPUSH1 one", "line 2: one is not a valid operand"),
        (".section a\nPUSH1 @nowhere", "line 2: unknown name nowhere"),
        (".section a\nPUSH1 #nothing", "line 2: unknown name nothing"),
        ('.section a\nDATA2 "abc"', 'line 2: "abc" is larger than 2 bytes'),
        (".section a\nb:\nb:", "line 3: duplicate label b"),
        (".section a\n.section a", "line 2: duplicate section a"),
        (".section a\nADD ADD ADD", "line 2: cannot parse ADD ADD ADD"),
    ],
)
def test_mistakes_are_reported_with_their_line(listing: str, complaint: str) -> None:
    with pytest.raises(AssemblyError) as refused:
        assemble(listing)
    assert str(refused.value) == complaint
