"""Fields of the JSON documents that `JsonView` does not have: numbers with a fraction, texts in an object."""

from __future__ import annotations

import math

from wclayer.errors import FormatError
from wclayer.images.json_view import JsonView
from wclayer.inventory.cve.advisory import Score


def value_of(view: JsonView, key: str) -> str:
    """Returns the text in an object {"Value": text}, which is how CVRF writes texts; "" if there is none."""
    return view.view(key).text("Value")


def score_of(view: JsonView, base: str, vector: str) -> Score | None:
    """Returns the score whose number and vector have these keys; None if there is no number.

    Raises:
        FormatError: the number is none, or no score of CVSS.
    """
    if base not in view:
        return None
    number = view.record[base]
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 10:
        raise FormatError(f"{view.what}: {base} is {str(number)[:60]!r}, not a score from 0 to 10")
    return Score(math.floor(number * 10 + 0.5) / 10, view.text(vector))
