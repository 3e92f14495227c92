"""An answer of a fleet as a table, JSON or CSV, row by row."""

from __future__ import annotations

import csv
import json
import math
import sys
from datetime import date, datetime, time
from itertools import chain
from typing import Any

from wclayer.cli.output import echo, print_json_list
from wclayer.cli.text_table import aligned_while_read
from wclayer.fleet.query.answer import FleetAnswer


def print_answer(answer: FleetAnswer, *, as_json: bool, as_csv: bool) -> None:
    """Prints an answer while it is read: as a table, as a list of JSON objects, or as CSV with a row of names."""
    if as_json:
        print_json_list({name: _json_value(value) for name, value in row.items()} for row in answer.records())
    elif as_csv:
        _print_csv(answer)
    else:
        _print_table(answer)


def _print_table(answer: FleetAnswer) -> None:
    names = tuple(name.upper() for name in answer.columns)
    for line in aligned_while_read(chain([names], (tuple(map(_text, row)) for row in answer))):
        echo(line)


def _print_csv(answer: FleetAnswer) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(answer.columns)
    for row in answer:
        writer.writerow(map(_text, row))


def _json_value(value: Any) -> Any:
    """Returns a value of SQL for JSON: what JSON has no form for is a text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_json_value(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _json_value(each) for key, each in value.items()}
    return _text(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(_json_value(value), ensure_ascii=False)
    return str(value)
