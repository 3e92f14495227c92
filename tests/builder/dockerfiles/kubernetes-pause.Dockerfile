# escape=`
ARG BASE=mcr.microsoft.com/windows/nanoserver
ARG OS_VERSION=ltsc2022
FROM ${BASE}:${OS_VERSION}
ARG TARGETARCH
COPY dist\pause-windows-${TARGETARCH}.exe C:\pause.exe
USER ContainerUser
ENTRYPOINT ["C:\\pause.exe"]
