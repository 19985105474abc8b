"""The same cases, found by following what they reach: atheris instruments the code and mutates towards new branches.

    python -m tests.fuzz.guided DOOR [-runs=10000] [other options of libFuzzer]

DOOR is one of definitions, expressions, inputs, stream_entries, command_lines.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["flowforge", "flowforge_cli", "flowforge_streams"]):
    from tests.fuzz import test_fuzz

#: Bytes of a case; hypothesis reads its choices from them. Long ones from the start: short ones are no case at all.
LONGEST, SEEDS = 4096, 64


def main() -> None:
    """Feed one door."""
    door = sys.argv[1] if len(sys.argv) > 1 else ""
    test = getattr(test_fuzz, f"test_{door}", None)
    if test is None:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(prefix="fuzz-corpus-") as folder:
        chance = random.Random(door)
        for number in range(SEEDS):
            Path(folder, str(number)).write_bytes(chance.randbytes(chance.randint(64, LONGEST)))
        options = [f"-max_len={LONGEST}", "-len_control=0", "-print_final_stats=1", *sys.argv[2:], folder]
        atheris.Setup([sys.argv[0], *options], test.hypothesis.fuzz_one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
