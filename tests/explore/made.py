"""Chains of layers for the tests of the explorer, and the explorer driven without a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from textual.dom import DOMNode
from textual.pilot import Pilot

from wclayer.explore.app import ExploreApp
from wclayer.explore.model.explored import Explorable, ExploredChain
from wclayer.explore.model.pair import ExploredPair
from wclayer.explore.model.tree import Item, MarkedTree
from wclayer.explore.widgets.files_pane import FilesPane
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import LayerWriter

Build = Callable[[LayerWriter], None]
_SECONDS = 60


def chain(folder: Path, *builds: Build, below: Sequence[Path] = ()) -> list[Path]:
    """Layers over one another, base layer first among `builds`, and over others; returned nearest first."""
    layers = list(below)
    folder.mkdir(exist_ok=True)
    for number, build in enumerate(builds, 1):
        with DirectoryLayerWriter(folder / f"layer{number}", layers[:1]) as writer:
            build(writer)
        layers.insert(0, folder / f"layer{number}")
    return layers


def explored(folder: Path, *builds: Build) -> ExploredChain:
    """A chain as it is explored."""
    return ExploredChain("made", chain(folder, *builds))


def marks(tree: MarkedTree[Item], items: Sequence[Item] | None = None) -> dict[str, str]:
    """The own marks of all items of a tree, or of some and what is below them, by path; a path with two has both."""
    found: dict[str, str] = {}
    for item in tree.roots() if items is None else items:
        found[item.path] = found.get(item.path, "") + item.mark.value
        if item.is_directory:
            found |= marks(tree, tree.children(item))
    return found


def explored_pair(folder: Path, common: Sequence[Build], a: Sequence[Build], b: Sequence[Build]) -> ExploredPair:
    """Two chains over common layers as they are compared."""
    below = chain(folder / "common", *common)
    return ExploredPair(
        *(
            ExploredChain(name, chain(folder / name, *builds, below=below))
            for name, builds in (("first", a), ("second", b))
        )
    )


class Driven:
    """An explorer that a test drives."""

    def __init__(self, app: ExploreApp, pilot: Pilot[None]) -> None:
        self.app = app
        self._pilot = pilot

    @property
    def files(self) -> FilesPane:
        """The pane with the files."""
        return self.app.files

    @property
    def messages(self) -> list[str]:
        """What the explorer has told in passing."""
        return [str(each.message) for each in self.app._notifications]

    async def press(self, *keys: str) -> None:
        """Presses keys, and waits until what they ask for is shown."""
        for key in keys:
            await self._pilot.press(key)
            await self.settled()

    async def click(self, selector: str, offset: tuple[int, int]) -> None:
        """Clicks into a widget, and waits."""
        await self._pilot.click(selector, offset=offset)
        await self.settled()

    async def settled(self) -> None:
        """Waits until nothing is read any more."""
        async with asyncio.timeout(_SECONDS):
            while True:
                await self._pilot.pause()
                is_working = self.app.is_typed_ahead or any(worker.is_running for worker in self.app.workers)
                if not is_working and self._is_drawn():
                    break
                await asyncio.sleep(0.005)
        await self._pilot.pause()

    def _is_drawn(self) -> bool:
        """Whether nothing waits to be handled, laid out or drawn. The pilot concludes that from the CPU time of the
        process, of which a busy machine gives none."""
        if self.app._exit:
            return True
        screen = self.app.screen
        required = screen._layout_required or screen._scroll_required or screen._repaint_required
        nodes: list[DOMNode] = [self.app, screen, *screen.walk_children()]
        return not (required or screen._dirty_widgets) and all(node._message_queue.empty() for node in nodes)

    def lines(self) -> list[str]:
        """The screen as text."""
        return [
            "".join(segment.text for segment in strip).rstrip() for strip in self.app.screen._compositor.render_strips()
        ]

    def text(self) -> str:
        """The screen as text, in one piece."""
        return "\n".join(self.lines())


@asynccontextmanager
async def running(explored: Explorable, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Driven]:
    """The explorer, running, with nothing left to read."""
    app = ExploreApp(explored)
    try:
        async with app.run_test(size=size) as pilot:
            driven = Driven(app, pilot)
            await driven.settled()
            yield driven
    finally:
        app.close()


def drive(explored: Explorable, steps: Callable[[Driven], Awaitable[None]], size: tuple[int, int] = (120, 40)) -> None:
    """Runs the explorer and drives it."""

    async def run() -> None:
        async with running(explored, size) as driven:
            await steps(driven)

    asyncio.run(run())
