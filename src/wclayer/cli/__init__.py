"""The `wclayer` command: one module for each group of verbs. A verb parses, calls the library and prints."""
