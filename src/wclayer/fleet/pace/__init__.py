"""How many requests a scan sends to a registry: at most as many as the user permits, and as the registry takes."""
