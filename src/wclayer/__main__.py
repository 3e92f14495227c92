"""`python -m wclayer`: the command."""

from wclayer.cli.main import main

main()
