"""The ready questions about a fleet."""

from __future__ import annotations

from wclayer.errors import InvalidParameterError
from wclayer.fleet.model import ImageStatus
from wclayer.fleet.query.question import FleetQuestion, ParameterKind, QuestionParameter
from wclayer.fleet.query.visible_files import CHAINS, visible_files


def _first(count: int, what: str) -> QuestionParameter:
    return QuestionParameter("first", ParameterKind.COUNT, f"how many {what} are listed", str(count))


_IS_WINDOWS = f"status IN ('{ImageStatus.OK}', '{ImageStatus.INCOMPLETE}', '{ImageStatus.ERROR}')"
_IS_UNKNOWN = f"status IN ('{ImageStatus.ERROR}', '{ImageStatus.INCOMPLETE}')"
_LEVELS = """
    SELECT build, revision, max(revision) OVER (PARTITION BY build) AS newest,
        count(*) OVER (PARTITION BY build ORDER BY revision DESC) - 1 AS newer
    FROM (SELECT DISTINCT build, revision FROM images WHERE revision IS NOT NULL)
"""
"""The revisions of each release: the newest one, and how many are newer."""

QUESTIONS = (
    FleetQuestion(
        "lacks-kb",
        "The images that lack an update, and those of which that is not known (`unknown`). An update is for one release"
        " of Windows: with `version`, only its images are looked at, and those of that revision or a newer one have"
        " the update, whatever its name is there.",
        (
            QuestionParameter("kb", ParameterKind.KB, "the number of the update (KB5031364)"),
            QuestionParameter(
                "version", ParameterKind.WINDOWS, "the version of Windows that the update leads to (20348.2031)", ""
            ),
        ),
        f"""
        WITH had AS (SELECT image, list(DISTINCT state) AS states FROM updates WHERE upper(kb) = $kb GROUP BY image),
        wanted AS (SELECT string_split(regexp_replace($version, '^10[.]0[.]', ''), '.')::BIGINT[] AS numbers)
        SELECT reference, os_version,
            CASE WHEN {_IS_UNKNOWN} THEN 'unknown' ELSE 'lacks' END AS verdict,
            CASE
                WHEN {_IS_UNKNOWN} THEN error
                WHEN states IS NULL THEN 'no update has that number'
                ELSE 'it is ' || array_to_string(list_sort(states), ', ')
            END AS reason
        FROM images LEFT JOIN had USING (image), wanted
        WHERE {_IS_WINDOWS}
            AND NOT coalesce(list_has_any(states, ['installed', 'permanent', 'superseded']), false)
            AND (numbers IS NULL OR build IS NULL OR (build = numbers[1] AND coalesce(revision < numbers[2], true)))
        ORDER BY verdict, reference
        """,
    ),
    FleetQuestion(
        "holds",
        "The images that hold a package or program, with the place and the layer. `*` in the name stands for any"
        " characters, and the artifact alone for a package of Java. With `below`: only versions below it, and those"
        " that cannot be compared (`unknown`).",
        (
            QuestionParameter("name", ParameterKind.TEXT, "the name (org.apache.logging.log4j:log4j-core, log4j*)"),
            QuestionParameter("below", ParameterKind.VERSION, "a version", ""),
        ),
        """
        WITH wanted AS (SELECT replace(replace(replace(lower($name), '[', '[[]'), '?', '[?]'), '_', '-') AS pattern),
        held AS (SELECT *, replace(lower(name), '_', '-') AS known FROM packages)
        SELECT reference, kind, name, version,
            CASE
                WHEN $below IS NULL THEN NULL
                WHEN version_below(version, $below) IS NULL THEN 'unknown'
                ELSE 'below'
            END AS verdict,
            place, layer, is_base
        FROM held JOIN images USING (image), wanted
        WHERE (known GLOB pattern OR known GLOB '*:' || pattern)
            AND ($below IS NULL OR coalesce(version_below(version, $below), true))
        ORDER BY reference, kind, name, version, place
        """,
    ),
    FleetQuestion(
        "behind",
        "The images whose revision of Windows is not the newest of their release in this fleet. `newer` counts the"
        " revisions between.",
        (),
        f"""
        WITH levels AS ({_LEVELS})
        SELECT reference, product_name, os_version, newest, newer FROM images JOIN levels USING (build, revision)
        WHERE newer > 0 ORDER BY newer DESC, reference
        """,
    ),
    FleetQuestion(
        "patch-levels",
        "How many images each revision of Windows has, the newest of each release first.",
        (),
        """
        SELECT build, revision, min(product_name) AS product_name, min(os_version) AS os_version,
            count(DISTINCT image) AS images, count(*) AS image_references,
            revision = max(revision) OVER (PARTITION BY build) AS is_newest
        FROM images WHERE build IS NOT NULL GROUP BY build, revision ORDER BY build DESC, revision DESC
        """,
    ),
    FleetQuestion(
        "base-ages",
        "The base images, oldest first. `age_days` is the age in days, at least: that of the base image itself if it is"
        " in the fleet (`base_created`), or else that of the oldest image on it.",
        (QuestionParameter("today", ParameterKind.DATE, "the day from which ages count; this day, in UTC", ""),),
        """
        WITH bases AS (
            SELECT layers[1:base_layers] AS base, layers[base_layers] AS base_layer, min(base_name) AS base_name,
                min(product_name) AS product_name, min(coalesce(base_os_version, os_version)) AS os_version,
                min(build) AS build, min(revision) AS revision,
                count(DISTINCT image) AS images, count(*) AS image_references,
                min(created) FILTER (len(layers) = base_layers) AS base_created,
                min(created) AS oldest_image, max(created) AS newest_image
            FROM images WHERE base_layers > 0 GROUP BY base, base_layer
        ),
        levels AS (SELECT build, max(revision) AS newest FROM images WHERE revision IS NOT NULL GROUP BY build)
        SELECT base_layer, base_name, product_name, os_version, newest AS newest_revision,
            revision < newest AS is_behind, images, image_references, base_created, oldest_image, newest_image,
            date_diff(
                'day', coalesce(base_created, oldest_image)::DATE, coalesce($today::DATE, now()::TIMESTAMP::DATE)
            ) AS age_days
        FROM bases LEFT JOIN levels USING (build)
        ORDER BY age_days DESC NULLS FIRST, base_layer
        """,
    ),
    FleetQuestion(
        "old-images",
        "The references that are not among the newest of their repository, by the time when their image was made. Those"
        " without a time are not listed, and of several with the same time, all are kept. `is_kept` is true if a"
        " reference that is kept has the same image.",
        (QuestionParameter("keep", ParameterKind.COUNT, "how many of each repository are kept", "3"),),
        r"""
        WITH dated AS (
            SELECT reference, max(created) AS created, sum(own_size) AS own_size, list(image) AS images,
                regexp_extract(reference, '^(.*?)(:[^/:@]*)?(@.*)?$', 1) AS repository
            FROM images WHERE created IS NOT NULL GROUP BY reference
        ),
        ranked AS (SELECT *, rank() OVER (PARTITION BY repository ORDER BY created DESC) AS number FROM dated),
        kept AS (SELECT list_distinct(flatten(list(images))) AS all_kept FROM ranked WHERE number <= $keep)
        SELECT reference, created, number, own_size, coalesce(list_has_all(all_kept, images), false) AS is_kept
        FROM ranked, kept WHERE number > $keep ORDER BY repository, created, reference
        """,
    ),
    FleetQuestion(
        "unused-layers",
        "The layers that no image of the fleet has.",
        (),
        """
        SELECT layer, stored_size, size, created_by, error FROM layers
        WHERE layer NOT IN (SELECT unnest(layers) FROM images) ORDER BY stored_size DESC, layer
        """,
    ),
    FleetQuestion(
        "shared-layers",
        "The layers that most images have. `saved` is the size that sharing saves: that of the blob for each image but"
        " the first.",
        (_first(20, "layers"),),
        """
        WITH used AS (SELECT layer, count(DISTINCT image) AS images FROM image_layers GROUP BY layer)
        SELECT layer, images, stored_size, stored_size * (images - 1) AS saved, is_base, created_by
        FROM used JOIN layers USING (layer) ORDER BY images DESC, saved DESC, layer LIMIT $first
        """,
    ),
    FleetQuestion(
        "largest",
        "The largest images, by the size of their own layers: those that are not of the base image.",
        (_first(20, "images"),),
        """
        SELECT min(reference) AS reference, own_size, size, layer_count, count(*) AS image_references FROM images
        WHERE own_size IS NOT NULL GROUP BY image, own_size, size, layer_count
        ORDER BY own_size DESC, reference LIMIT $first
        """,
    ),
    FleetQuestion(
        "worst",
        "The images that need work first: those that cannot be read, then those with the most newer revisions of"
        " Windows, then those with the most findings, then the oldest.",
        (_first(10, "images"),),
        f"""
        WITH levels AS ({_LEVELS}),
        found AS (SELECT image, count(*) AS findings FROM findings GROUP BY image)
        SELECT reference, status, os_version, coalesce(newer, 0) AS newer, coalesce(findings, 0) AS findings,
            created, error
        FROM images LEFT JOIN levels USING (build, revision) LEFT JOIN found USING (image)
        WHERE {_IS_WINDOWS}
        ORDER BY {_IS_UNKNOWN} DESC, newer DESC, findings DESC, created NULLS LAST, reference LIMIT $first
        """,
    ),
    FleetQuestion(
        "findings",
        "What users of the images should know: damage, contradictions, limits.",
        (),
        "SELECT reference, kind, place, text FROM reference_findings ORDER BY reference, kind, place, text",
    ),
    FleetQuestion(
        "errors",
        "What could not be read, each cause once, with the number of references that it concerns.",
        (),
        "SELECT * FROM errors ORDER BY image_references DESC, kind, place",
    ),
    FleetQuestion(
        "no-password",
        "The accounts of images that are enabled and need no password.",
        (),
        """
        SELECT reference, name, properties->>'sid' AS sid, properties->>'groups' AS groups, layer, is_base
        FROM reference_registry
        WHERE kind = 'user' AND (properties->>'is_password_required') = 'false'
            AND (properties->>'is_disabled') = 'false'
        ORDER BY reference, name
        """,
    ),
    FleetQuestion(
        "has-file",
        "The images that show a file with certain contents, under any name. Images that were not read whole are not"
        " looked at.",
        (QuestionParameter("sha256", ParameterKind.SHA256, "the SHA-256 of the contents"),),
        f"""
        WITH known AS (SELECT DISTINCT string_split(key, '/') AS parts FROM files WHERE sha256 = $sha256),
        wanted AS (
            SELECT DISTINCT array_to_string(parts[1:size], '/') AS key
            FROM (SELECT parts, unnest(generate_series(1, len(parts))) AS size FROM known)
        ),
        shown AS ({visible_files(CHAINS, "(SELECT * FROM files WHERE key IN (SELECT key FROM wanted))")})
        SELECT reference, path, layer FROM images JOIN shown USING (image) WHERE sha256 = $sha256
        ORDER BY reference, path
        """,
    ),
)
"""The ready questions."""


def fleet_question(name: str) -> FleetQuestion:
    """Returns the ready question with a name, for `query_fleet`.

    Raises:
        InvalidParameterError: there is none.
    """
    for each in QUESTIONS:
        if each.name == name:
            return each
    raise InvalidParameterError(name, f"is no ready question; there are {', '.join(each.name for each in QUESTIONS)}")
