"""What SQL finds in a fleet: a view for each table, views that join them, and functions, as statements of DuckDB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from wclayer.fleet.model import ImageStatus
from wclayer.fleet.query.visible_files import CHAINS, visible_files
from wclayer.fleet.tables.schema import FILES, OF_IMAGES, TABLES, Column, Table

_TYPES = {str: "VARCHAR", int: "BIGINT", bool: "BOOLEAN", datetime: "TIMESTAMP", tuple: "VARCHAR[]"}


class View(NamedTuple):
    """A view over the tables.

    Attributes:
        name: its name.
        description: what its rows are.
        sql: the query that it stands for.
    """

    name: str
    description: str
    sql: str


class Function(NamedTuple):
    """A function that SQL can call.

    Attributes:
        call: its name and its parameters, as a call.
        description: what it returns.
        sql: the expression that it stands for, or `TABLE` and a query.
    """

    call: str
    description: str
    sql: str


FUNCTIONS = (
    Function(
        "time_of(filetime)",
        "The time of a FILETIME, such as those in the columns `created` and `written` of `files`, in UTC.",
        "make_timestamp((filetime - 116444736000000000) // 10)",
    ),
    Function(
        "version_parts(version)",
        "The numbers of a version, with dots, and what follows them.",
        r"""
        regexp_extract(
            lower(trim(version)), '^(?:v|go)?(\d{1,18}(?:\.\d{1,18})*)(?:\+.*|(\D.*))?$', ['numbers', 'rest']
        )
        """,
    ),
    Function(
        "version_numbers(version)",
        "The numbers of a version as a list, without zeros at its end; NULL if the text is no version. Lists of numbers"
        " compare as versions do.",
        r"string_split(nullif(regexp_replace(version_parts(version).numbers, '(\.0+)+$', ''), ''), '.')::BIGINT[]",
    ),
    Function(
        "version_rank(version)",
        "What follows the numbers of a version: 0 for nothing, -1 for a word of a pre-release (`rc`, `beta`, …), NULL"
        " for anything else.",
        r"""
        CASE
            WHEN regexp_full_match(version_parts(version).rest, '([-.](final|ga|release))?') THEN 0
            WHEN regexp_full_match(
                version_parts(version).rest,
                '[-._]?(a|b|c|m|rc|cr|ea|alpha|beta|milestone|snapshot|pre|preview|dev|nightly|canary)([-._\d].*)?'
            ) THEN -1
        END
        """,
    ),
    Function(
        "version_below(version, bound)",
        "Whether a version is below another one: numbers compare as numbers, and a pre-release is below its release."
        " NULL if one of them is no version, or if words differ whose order is not known.",
        """
        CASE
            WHEN version_numbers(version) <> version_numbers(bound)
                THEN version_numbers(version) < version_numbers(bound)
            WHEN version_parts(version).rest = version_parts(bound).rest
                THEN CASE WHEN version_numbers(version) IS NOT NULL THEN false END
            WHEN version_rank(version) <> version_rank(bound) THEN version_rank(version) < version_rank(bound)
        END
        """,
    ),
    Function(
        "files_of(digest)",
        "What `image_files` has of one image, faster.",
        f"TABLE {visible_files(f'SELECT * FROM ({CHAINS}) WHERE image = digest', 'files')}",
    ),
)
"""The functions, each after those that it needs."""

VIEWS = (
    View(
        "image_layers",
        "The layers of each image: `number` counts from the base layer, which is 1.",
        """
        SELECT image, number, layers[number] AS layer, number <= base_layers AS is_base FROM (
            SELECT image, layers, base_layers, unnest(generate_series(1, len(layers))) AS number
            FROM (SELECT image, any_value(layers) AS layers, any_value(base_layers) AS base_layers
                FROM images WHERE image IS NOT NULL GROUP BY image)
        )
        """,
    ),
    View(
        "image_files",
        "The files that images show whose status is `ok`: of each name, the entry of the nearest layer, without what"
        " nearer layers delete or replace. `number` is that of the layer.",
        visible_files(CHAINS, "files"),
    ),
    *(
        View(
            f"reference_{table.name}",
            f"The rows of `{table.name}` for each reference.",
            f"SELECT reference, repository, tag, {table.name}.* FROM images JOIN {table.name} USING (image)",
        )
        for table in OF_IMAGES
    ),
    View(
        "errors",
        "What could not be read, each cause once: a damaged layer is one row, however many images have it.",
        f"""
        SELECT 'layer' AS kind, layer AS place, any_value(layers.error) AS error,
            count(DISTINCT reference) AS image_references
        FROM layers JOIN (
            SELECT reference, unnest(layers) AS layer FROM images
            WHERE status NOT IN ('{ImageStatus.OTHER_PLATFORM}', '{ImageStatus.ARTIFACT}')
        ) USING (layer)
        WHERE error IS NOT NULL GROUP BY layer
        UNION ALL
        SELECT 'image', reference, error, 1 FROM images
        WHERE status IN ('{ImageStatus.ERROR}', '{ImageStatus.INCOMPLETE}')
            AND (error_layer IS NULL OR error_layer NOT IN (SELECT layer FROM layers WHERE error IS NOT NULL))
        """,
    ),
)
"""The views over the tables."""


def function_statements() -> Iterator[str]:
    """Yields the statements that make the functions, over the views of the schema in use."""
    for function in FUNCTIONS:
        yield f"CREATE MACRO {function.call} AS {function.sql}"


def view_statements(urls: Mapping[Table, list[str]]) -> Iterator[str]:
    """Yields the statements that make the views of a fleet in the schema in use.

    Args:
        urls: the URLs of the Parquet files that each table is.
    """
    for table in TABLES:
        yield f"CREATE VIEW {table.name} AS {_table(table, urls[table])}"
    for view in VIEWS:
        yield f"CREATE VIEW {view.name} AS {view.sql}"


def _table(table: Table, urls: list[str]) -> str:
    if not urls:
        columns = ", ".join(f"NULL::{_TYPES[column.kind]} AS {column.name}" for column in table.columns)
        return f"SELECT {columns} WHERE false"
    columns = ", ".join(_column(table, column) for column in table.columns)
    # URLs are made of hexadecimal digits and the names of tables: they need no quotes inside.
    listed = ", ".join(f"'{url}'" for url in urls)
    return f"SELECT {columns} FROM read_parquet([{listed}], hive_partitioning = false)"


def _column(table: Table, column: Column) -> str:
    if table is FILES and column.name == "key":
        return "coalesce(key, upper(path)) AS key"
    if column.kind is datetime:
        return f"{column.name}::TIMESTAMP AS {column.name}"
    return column.name
