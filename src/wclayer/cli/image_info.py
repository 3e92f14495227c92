"""What `info` shows of an image."""

from __future__ import annotations

from typing import Any

from wclayer.cli.output import echo, size_text
from wclayer.images.opening import ImageLayers
from wclayer.layers.directory.summary import summarize_layer


def image_info(image: ImageLayers) -> dict[str, Any]:
    """Returns an image for JSON: its names and platform, and its layers, base layer first."""
    manifest, config = image.manifest, image.config
    assert manifest is not None
    assert config is not None
    layers = []
    for descriptor, diff_id, chain_id, path in zip(
        manifest.layers, config.diff_ids, config.chain_ids, reversed(image.layers), strict=True
    ):
        summary = summarize_layer(path)
        layers.append(
            {
                "digest": descriptor.digest, "diff_id": diff_id, "chain_id": chain_id,
                "media_type": descriptor.media_type, "stored_size": descriptor.size, "size": summary.size,
                "entries": summary.entries, "tombstones": summary.tombstones, "path": str(path),
            }
        )  # fmt: skip
    return {
        "name": image.name,
        "digest": manifest.descriptor.digest,
        "media_type": manifest.media_type,
        "config": manifest.config.digest,
        "platform": config.platform.to_json(),
        "created": config.created or None,
        "stored_size": sum(descriptor.size for descriptor in manifest.layers),
        "layers": layers,
    }


def print_image_info(record: dict[str, Any]) -> None:
    """Prints what `image_info` returns."""
    platform = record["platform"]
    shown = {
        **{key: record[key] for key in ("name", "digest", "media_type", "config")},
        "os": f"{platform['os']}/{platform['architecture']} {platform.get('os.version', '')}".rstrip(),
        "created": record["created"],
        "stored_size": size_text(record["stored_size"]),
        "layers": len(record["layers"]),
    }
    for key, value in shown.items():
        _line(key, value)
    for number, layer in enumerate(record["layers"], 1):
        echo(f"layer {number} of {len(record['layers'])}")
        for key, value in layer.items():
            _line(key, value)


def _line(key: str, value: object) -> None:
    echo(f"{key.replace('_', ' '):>21}  {'-' if value is None else value}")
