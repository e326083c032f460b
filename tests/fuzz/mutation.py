"""Sound content with some of its bytes changed."""

from hypothesis import strategies as st

ODD = [
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"NaN",
    b"1e999",
    b"9" * 5000,
    b"[" * 3000,
    b'{"a":' * 3000,
    b'"',
    b"\r",
]
"""Bytes that readers meet in damaged files."""


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with pieces cut out, repeated, or replaced."""
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        put = draw(st.sampled_from(ODD) | st.binary(max_size=20) | st.just(data[start:end] * 2))
        data = (data[:start] + put + data[end:])[:20_000]
    return data
