"""Parquet files of any schema, and damaged ones."""

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from bad_input import fuzzed
from fuzz.mutation import damaged
from fuzz.test_rows import FIELDS, read, texts

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

TEXTS = (pa.string(), pa.large_string(), pa.string_view())
leaves = st.sampled_from(
    [*TEXTS, pa.int64(), pa.float32(), pa.bool_(), pa.binary(), pa.date32(),
     pa.timestamp("us"), pa.null(), pa.dictionary(pa.int32(), pa.string()),
     pa.timestamp("ns", tz="Mars/Base"), pa.duration("ns"), pa.time64("ns"), pa.uint64()]
)  # fmt: skip
types = st.recursive(
    leaves,
    lambda inner: (
        inner.map(pa.list_)
        | st.lists(
            st.tuples(st.sampled_from(FIELDS[:-1]), inner), min_size=1, max_size=3, unique_by=lambda f: f[0]
        ).map(pa.struct)
        | inner.map(lambda value: pa.map_(pa.string(), value))
    ),
    max_leaves=5,
)


def value_of(kind):
    """A strategy of values that pyarrow accepts for a type; None always."""
    if pa.types.is_struct(kind):
        inner = st.fixed_dictionaries({field.name: value_of(field.type) for field in kind})
    elif pa.types.is_map(kind):
        inner = st.lists(st.tuples(st.text(max_size=3), value_of(kind.item_type)), max_size=2)
    elif pa.types.is_list(kind):
        inner = st.lists(value_of(kind.value_type), max_size=3)
    elif pa.types.is_boolean(kind):
        inner = st.booleans()
    elif kind in TEXTS or pa.types.is_dictionary(kind):
        inner = texts.map(lambda text: text.replace("\ud800", ""))
    elif pa.types.is_binary(kind):
        inner = st.binary(max_size=5)
    elif pa.types.is_floating(kind):
        inner = st.floats(width=32)
    elif pa.types.is_null(kind):
        inner = st.none()
    else:
        inner = st.integers(0, 2**31 - 1)
    return st.none() | inner


@st.composite
def tables(draw):
    names = draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=4, unique=True))
    kinds = {name: draw(types) for name in names}
    count = draw(st.integers(0, 3))
    return pa.table(
        {
            name: pa.array([draw(value_of(kind)) for _ in range(count)], type=kind)
            for name, kind in kinds.items()
        }
    )


@given(table=tables())
@fuzzed
def test_any_table_is_read_or_refused_by_row(tmp_path, table):
    path = tmp_path / "rows.parquet"
    try:
        pq.write_table(table, path)
    except pa.ArrowNotImplementedError:
        reject()  # pyarrow cannot write lists of text views
    read(path)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "rows.parquet"
    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    rows = [[{"role": "user", "content": "2?"}, {"role": "assistant", "content": "FINAL ANSWER: 2"}]] * 9
    pq.write_table(pa.table({"messages": pa.array(rows, pa.list_(message))}), path)
    return path.read_bytes()


@given(data=st.data())
@fuzzed
def test_a_damaged_table_is_read_or_refused(tmp_path, sound, data):
    path = tmp_path / "rows.parquet"
    path.write_bytes(data.draw(damaged(sound)))
    read(path)
