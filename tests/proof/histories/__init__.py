"""Many processes at once over one thing, and a checker that finds an order of their operations that explains them.

    checker.py   events, and the search for an order
    stress.py    processes that take steps at once, and what they did
    scenes.py    the scenes by name: what is shared, which steps there are, and what each must give
    tree.py      … one scratch, by the library and through a mount
    places.py    … one path of a layer; a store of images with a folder of layers
    life.py      … the life of a scratch
    registry.py  … the registry of one layer
    run.py       rounds of scenes, and their figures
    timeline.py  a history as a text to read, and as a file

`python -m tests.proof.histories SCENE --minutes 10` runs one scene for as long; see `--help`.
"""
