from hypothesis import given
from hypothesis import strategies as st

from dycktune.tasks.dyck.grammar import Branch, Either, Form, Number, Repeated, Symbol, Word

LINE = Form(
    "50% ",
    Number("number"),
    ": ",
    Word("move", ("up", "down")),
    Either(
        Form(", list ", Repeated("items", Form(Symbol(), "=", Number()), "; ")),
        Form(" ", Word("none", ("none",))),
    ),
    ".",
)

numbers = st.integers(0, 999).map(str)
moves = st.sampled_from(["up", "down"])
items = st.lists(st.tuples(st.sampled_from("(a*"), numbers), min_size=1, max_size=4)


@given(numbers, moves, items)
def test_the_regular_expression_reads_back_what_the_template_rendered(number, move, entries):
    listed = "; ".join(f"{symbol}={value}" for symbol, value in entries)
    match = LINE.regex.fullmatch(LINE.templates[0] % (number, move, listed))
    assert match
    assert match.groupdict() == {"number": number, "move": move, "items": listed, "none": None}


@given(numbers, moves)
def test_each_alternative_has_a_template(number, move):
    match = LINE.regex.fullmatch(LINE.templates[1] % (number, move, "none"))
    assert match
    assert match.groupdict() == {"number": number, "move": move, "items": None, "none": "none"}


def test_a_literal_is_no_pattern():
    assert not Form("a.b").regex.fullmatch("axb")
    assert Form("a.b").templates == ("a.b",)


@given(st.booleans(), st.integers(1, 5))
def test_the_nodes_lead_through_a_line(listed, count):
    node, slots, left = LINE.nodes(), [], count
    while node:
        slots.append(node.slot)
        match node.slot:
            case Branch("; "):
                left -= 1
                node = node.after if left else node.otherwise
            case Branch():
                node = node.after if listed else node.otherwise
            case _:
                node = node.after
    head = ["50% ", Number("number"), ": ", LINE.segments[3], Branch(", list ", " ")]
    entry = [Symbol(), "=", Number(), Branch("; ", "")]
    assert slots == [*head, *(entry * count if listed else [Word("none", ("none",))]), "."]
