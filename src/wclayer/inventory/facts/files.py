"""The files of a chain of facts: metadata from the merged tree, contents and readings as far as facts keep them."""

from __future__ import annotations

import io
from typing import BinaryIO

from wclayer.errors import FormatLimitError, LayerError
from wclayer.inventory.facts.layer import FactsLayer
from wclayer.inventory.subject.files import SubjectFile
from wclayer.inventory.subject.layer_files import LayerFiles, check_has_contents, node_of
from wclayer.inventory.subject.readings import Reader, Reading, reading_of
from wclayer.layers.directory.database import is_elsewhere
from wclayer.layers.hives import is_hive, is_log
from wclayer.view.merged import Node


class FactsFiles(LayerFiles):
    """The files of a chain whose layers are `FactsLayer`s."""

    def open(self, file: SubjectFile) -> BinaryIO:
        node = node_of(file)
        if _is_file_of_facts(node):
            return super().open(file)
        check_has_contents(node)
        data = self._layer(file).contents_of(node.row)
        if data is None:
            raise self._not_kept(file, "contents")
        return io.BytesIO(data)

    def reading(self, file: SubjectFile, reader: Reader[Reading]) -> Reading:
        node = node_of(file)
        if _is_file_of_facts(node):
            return super().reading(file, reader)
        check_has_contents(node)
        record = self._layer(file).reading_of(reader.name, node.row)
        if record is None:
            raise self._not_kept(file, f"reading {reader.name}")
        reading = reading_of(reader, record)
        if reading is None:
            raise LayerError(
                self._layer(file).path, f"what the facts say of {file.windows_path} is damaged: delete the facts"
            )
        return reading

    def _layer(self, file: SubjectFile) -> FactsLayer:
        layer = self._tree.layers[node_of(file).layer]
        assert isinstance(layer, FactsLayer)
        return layer

    def _not_kept(self, file: SubjectFile, what: str) -> Exception:
        """Returns the error for a file of which the facts of its layer do not have what a collector reads."""
        if is_elsewhere(node_of(file).row):
            # The facts of the other layer were made without the knowledge of this name.
            return FormatLimitError("is a hard link to a file of a lower layer, whose facts do not say what is in it")
        return LayerError(
            file.windows_path,
            f"internal error: the facts of its layer do not have its {what}, which no collector has stated",
        )


def _is_file_of_facts(node: Node) -> bool:
    """Returns whether facts have the file itself, as those of a registry hive."""
    return is_hive(node.key) or is_log(node.key)
