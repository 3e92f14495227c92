"""A view as a mounted file system: the messages of the kernel, the operations behind them, and the process that serves
a mount."""
