"""The `wclayer` command: one module for each group of verbs, none with logic of its own."""
