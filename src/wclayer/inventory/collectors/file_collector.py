"""What looks into files of certain names, and which file is shown to whom: in one walk over all files of C:."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from wclayer.inventory.collectors.guarding import Found
from wclayer.inventory.subject.files import SubjectFile
from wclayer.inventory.subject.readings import Reader
from wclayer.inventory.subject.subject import Subject
from wclayer.win32.names import path_key

_DATA_SUFFIXES = """
accdb adml admx aml ani asc asp aspx aux avi bat bcd bin blf bmp c cat cc cdf cdxml cer cfg chm cmd conf config cpp
crl crt cs css csv cur dat db dic doc docx dtd edb emf eot etl evtx gif go gpd gz h hive hlp hpp htm html hxx icc icm
ico idx inc inf ini iso java jpeg jpg js json jsx ldf less lib lnk locale log lua man manifest map md mdb mfl mht mib
mjs mof mp3 mp4 msc mum nls ntf odt otf p12 pal pdb pem pf pfx php pl pm pnf png po pot ppd pptx prn properties props
ps ps1 ps1xml psd1 psm1 py pyc pyi pyo pyx rb reg regtrans-ms resx rst rtf scss sh sif sln sql sqlite svg swf tar
targets tcl tif tiff toml ts tsv tsx ttc ttf txt url vbs vhd vhdx vue wav woff woff2 wsf xbap xls xlsx xml xrm-ms xsd
xsl xslt yaml yml zip
"""
"""Suffixes of files that are no programs. Only files of other suffixes are looked into to find those that are."""


def folded(path: str) -> str:
    """Returns a path, or a name, by which Windows' names are compared, in lower case as collectors state them."""
    return path_key(path).lower()


class FileCollector(ABC):
    """Looks into files of certain names. Each inventory has its own.

    Attributes:
        names: the names of files that it is asked for, in lower case.
        suffixes: the suffixes of files that it is asked for, in lower case and without the dot.
        takes_unknown: True if it is asked for files whose name says nothing of what they are, too.
        beside: the names of files that it reads beside those, in lower case.
        readers: all readers by which it reads.

    Args:
        subject: what is inventoried.
    """

    names: ClassVar[frozenset[str]] = frozenset()
    suffixes: ClassVar[frozenset[str]] = frozenset()
    takes_unknown: ClassVar[bool] = False
    beside: ClassVar[frozenset[str]] = frozenset()
    readers: ClassVar[tuple[Reader[Any], ...]]

    def __init__(self, subject: Subject) -> None:
        self._files = subject.files

    @classmethod
    @abstractmethod
    def reader(cls, path: str, size: int) -> Reader[Any] | None:
        """Returns what reads a file for the collector; None if the collector does not look into it.

        Only files of the stated names are read, and with this reader alone: what is known of the contents of a layer
        without the layer depends on that.

        Args:
            path: the path below C:, `folded`.
            size: the size of the file in bytes.
        """

    @abstractmethod
    def collect(self, file: SubjectFile) -> Found:
        """Yields what a file with one of the names holds, or nothing if it is something else."""

    def finish(self) -> Found:
        """Yields what is only known after all files were seen."""
        return iter(())


class Dispatch:
    """Tells by the name of a file which collectors are asked for it. It costs the same for any number of collectors.

    Args:
        collectors: the collectors.
        beside: whether they are asked for what they read beside their files, too.
    """

    def __init__(self, collectors: Iterable[type[FileCollector]], *, beside: bool = False) -> None:
        self._by_name: dict[str, list[type[FileCollector]]] = {}
        self._by_suffix: dict[str, list[type[FileCollector]]] = {suffix: [] for suffix in _DATA_SUFFIXES.split()}
        self._unknown: list[type[FileCollector]] = []
        for collector in collectors:
            if collector.takes_unknown:
                self._unknown.append(collector)
            for name in collector.names | collector.beside if beside else collector.names:
                self._by_name.setdefault(name, []).append(collector)
            for suffix in collector.suffixes:
                self._by_suffix.setdefault(suffix, []).append(collector)

    def knows(self, name: str) -> bool:
        """Returns whether a collector asks for files of just this name."""
        return folded(name) in self._by_name

    def asked_for(self, name: str) -> Sequence[type[FileCollector]]:
        """Returns the collectors that are asked for a file with a name."""
        name = folded(name)
        named = self._by_name.get(name)
        if named is not None:
            return named
        _, dot, suffix = name.rpartition(".")
        return self._by_suffix.get(suffix, self._unknown) if dot else self._unknown
