"""The merged view of a parent chain: its tree, changes to its scratch, and comparison of two trees or registries."""
