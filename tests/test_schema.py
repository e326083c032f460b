import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from dycktune.errors import ConfigError
from dycktune.schema import FieldDescription, build, described_fields, every_field
from dycktune.tasks.dyck.task import DyckOptions


@dataclass(frozen=True, kw_only=True)
class Plant:
    """A plant."""

    height: Annotated[int, Field(ge=1)]
    """Height in
    centimetres."""
    water: Annotated[float, Field(gt=0)] = 0.5
    """Litres a day."""
    shade: Annotated[float, Field(ge=0, le=1)] = 0.0
    pots: Annotated[int, Field(le=9)] | None = None
    """Number of pots."""
    soil: Literal["sand", "clay"] = "clay"
    """Kind of soil."""
    label: Annotated[str, Field(min_length=1)] = "fern"
    names: str | tuple[str, ...] = "all"
    sizes: tuple[int, ...] = (1, 2)
    outside: bool = True
    neighbours: Mapping[str, int] = field(default_factory=dict)
    species: Literal["fern"] | None = None

    def __post_init__(self) -> None:
        if self.outside and self.soil == "sand":
            raise ConfigError("soil = 'sand' is for plants inside; set outside = false")


@dataclass(frozen=True, kw_only=True)
class Garden:
    """A garden."""

    first: Plant
    second: Plant


def fault(values, kind=Plant, **options) -> str:
    with pytest.raises(ConfigError) as caught:
        build(kind, values, source="plants.toml", **options)
    return str(caught.value).removeprefix("plants.toml: ")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"height": 0}, "height = 0, but it must be a whole number from 1 on"),
        ({"height": 2.0}, "height = 2.0, but it must be a whole number from 1 on"),
        ({"height": True}, "height = True, but it must be a whole number from 1 on"),
        ({"height": "3"}, "height = '3', but it must be a whole number from 1 on"),
        ({"height": 10**30, "water": 0}, "water = 0, but it must be a number above 0"),
        ({"height": 1, "water": float("nan")}, "water = nan, but it must be a number above 0"),
        ({"height": 1, "water": float("inf")}, "water = inf, but it must be a number above 0"),
        ({"height": 1, "shade": 1.5}, "shade = 1.5, but it must be a number from 0 to 1"),
        ({"height": 1, "pots": 10}, "pots = 10, but it must be a whole number up to 9"),
        ({"height": 1, "soil": "mud"}, "soil = 'mud', but it must be one of sand, clay"),
        ({"height": 1, "label": ""}, "label = '', but it must be a text that is not empty"),
        ({"height": 1, "names": [1, 2]}, "names = [1, 2], but it must be a text or a list of texts"),
        ({"height": 1, "sizes": "1"}, "sizes = '1', but it must be a list of whole numbers"),
        ({"height": 1, "neighbours": 2}, "neighbours = 2, but it must be a table such as {name = 1}"),
        ({"height": 1, "species": "oak"}, "species = 'oak', but it must be 'fern'"),
        ({"height": 1, "outside": "yes"}, "outside = 'yes', but it must be true or false"),
        (
            {"height": 1, "label": dt.date(2026, 11, 28)},
            "label = datetime.date(2026, 11, 28), but it must be a text that is not empty",
        ),
        ({}, "height is missing; it must be a whole number from 1 on"),
        ({"height": 1, "pot": 2}, "pot is unknown; did you mean pots?"),
        (
            {"height": 1, "zzz": 2},
            f"zzz is unknown; there are {', '.join(every_field(Plant))}",
        ),
        ({"height": 1, "soil": "sand"}, "soil = 'sand' is for plants inside; set outside = false"),
    ],
)
def test_a_fault_is_one_plain_sentence(values, message):
    assert fault(values) == message


def test_all_faults_are_one_line_with_their_source():
    with pytest.raises(ConfigError) as caught:
        build(Plant, {"height": 0, "water": -1, "zzz": 1}, source="plants.toml")
    message = str(caught.value)
    assert message.startswith("plants.toml: height = 0")
    assert message.count("; ") == 3
    assert "\n" not in message


@given(
    st.dictionaries(
        st.sampled_from(["height", "water", "names", "sizes", "outside", "zzz"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.lists(st.integers() | st.text()),
    )
)
def test_any_values_give_a_plant_or_plain_english(values):
    try:
        message = str(build(Plant, values, source="plants.toml"))
    except ConfigError as error:
        message = str(error)
    jargon = ["input should", "pydantic", "http", "instance", "valid"]
    assert [word for word in jargon if word in message.lower() and word not in str(values)] == []


def test_a_fault_of_a_nested_dataclass_names_its_section():
    values = {"first": {"height": 0, "soil": "sand"}, "second": 3, "third": {}}
    assert fault(values, Garden).split("; ") == [
        "first.height = 0, but it must be a whole number from 1 on",
        "second = 3, but it must be a section: [second] and its fields below it",
        "third is unknown",
        "there are [first], [second]",
    ]
    sand = {"first": {"height": 1, "soil": "sand"}, "second": {"height": 1}}
    assert fault(sand, Garden) == "first: soil = 'sand' is for plants inside; set outside = false"


def test_an_unknown_field_may_stand_in_another_section_or_have_a_new_name():
    values = {"first": {"height": 1, "size": 1, "pats": 1}, "second": {"height": 1}, "third": {"water": 1}}
    assert fault(values, Garden, renamed={"first.size": "second.height"}).split("; ") == [
        "first.size is unknown",
        "did you mean second.height?",
        "first.pats is unknown",
        "did you mean first.pots?",
        "third.water is unknown",
        "did you mean first.water or second.water?",
    ]


def test_lists_become_tuples_and_whole_numbers_floats():
    plant = build(Plant, {"height": 3, "water": 2, "names": ["a", "b"], "sizes": (4,)}, source="")
    assert plant == Plant(height=3, water=2.0, names=("a", "b"), sizes=(4,))
    assert isinstance(plant.water, float)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("water", "3", 3.0),
        ("water", "2e-3", 0.002),
        ("outside", "false", False),
        ("label", "42", "42"),
        ("label", '"quoted"', '"quoted"'),
        ("label", "plants.jsonl", "plants.jsonl"),
        ("names", '["a", "b"]', ("a", "b")),
        ("names", "true", "true"),
        ("sizes", "[3]", (3,)),
        ("sizes", (3,), (3,)),
        ("neighbours", "{oak = 3}", {"oak": 3}),
    ],
)
def test_a_command_line_s_text_is_read_as_the_field_s_type(name, text, value):
    plant = build(Plant, {"height": "5", name: text}, source="", texts=True)
    assert (plant.height, getattr(plant, name)) == (5, value)


def test_a_command_line_s_names_may_have_hyphens():
    assert build(DyckOptions, {"max-length": "7"}, source="", texts=True).max_length == 7
    assert (
        fault({"max-lenght": "7"}, DyckOptions, texts=True)
        == "max_lenght is unknown; did you mean max_length?"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("many", "height = 'many', but it must be a whole number from 1 on"),
        ("0", "height = 0, but it must be a whole number from 1 on"),
        ("1.5", "height = 1.5, but it must be a whole number from 1 on"),
        ("\udcff", "a text holds bytes that are not UTF-8"),
    ],
)
def test_a_wrong_text_is_shown_as_the_user_wrote_it(text, message):
    assert fault({"height": text}, texts=True) == message


def test_fields_are_described_by_their_docstrings_and_defaults():
    described = {entry.name: entry for entry in described_fields(Plant)}
    assert described["pots"] == FieldDescription("pots", "none", "Number of pots.", kind="whole number")
    assert described["soil"] == FieldDescription("soil", "clay", "Kind of soil.", ("sand", "clay"))
    assert described["height"].description == "Height in centimetres."
    assert (described["outside"].default, described["sizes"].default) == ("true", "[1, 2]")


def test_every_field_has_its_section_before_it():
    assert list(every_field(Garden)) == [
        f"{section}.{name}" for section in ("first", "second") for name in every_field(Plant)
    ]
