"""RUN without Windows: commands whose effect is known, carried out on the scratch of a build."""
