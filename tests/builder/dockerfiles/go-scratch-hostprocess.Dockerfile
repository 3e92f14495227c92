# A HostProcess container: only the program.
FROM scratch
COPY dist/agent.exe /agent/agent.exe
ENTRYPOINT ["/agent/agent.exe"]
