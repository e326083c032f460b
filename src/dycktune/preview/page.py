"""A preview as one HTML page that needs nothing from the network."""

from jinja2 import Environment, PackageLoader

from dycktune.preview.lines import parts
from dycktune.preview.pieces import MEANINGS
from dycktune.preview.preview import Preview


def page(preview: Preview) -> str:
    """The page; text from data and models is escaped."""
    environment = Environment(
        loader=PackageLoader("dycktune.preview", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.get_template("page.html.jinja")
    return template.render(preview=preview, meanings=MEANINGS, parts=parts)
