"""How CUDA text is put together."""

import pytest

from ipsdist.numerics.device.cuda import leap_bytes, text


@pytest.mark.parametrize("name", ["particles", "leap"])
def test_text_is_complete(name):
    """Definitions come first, every included file is there once, and nothing is left to include."""
    whole = text(name, D=1, REAL="float")
    assert whole.startswith("#define D 1\n#define REAL float\n//")
    assert "#include" not in whole
    assert whole.count("typedef unsigned long long u64;") == 1
    assert whole.count("DEVICE void philox(") == 1


@pytest.mark.parametrize("value", ["1; int x", "a b", "1.5", True, "", "x\n#define D 2"])
def test_definitions_are_plain(value):
    """Nothing but integers and identifiers gets into the text."""
    with pytest.raises(ValueError, match="integer or an identifier"):
        text("particles", D=value)


def test_bytes_of_leap():
    """Two nodes: 16 words of the job, three forces and two weights in double, two drifts, two counters."""
    assert leap_bytes(2, 4) == 16 * 8 + 5 * 8 + 2 * 4 + 2 * 4
