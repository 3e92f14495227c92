"""PowerShell in RUN without Windows: its language, and the cmdlets whose effect is known."""
