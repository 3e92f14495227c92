# escape=`
FROM mcr.microsoft.com/powershell:lts-nanoserver-ltsc2022
SHELL ["pwsh", "-Command", "$ErrorActionPreference = 'Stop';"]
USER ContainerAdministrator
RUN New-Item -ItemType Directory -Path C:\scripts; `
    Set-Content -Path C:\scripts\version.txt -Value '1.2.3'
COPY config\*.ps1 C:\scripts\
USER ContainerUser
ENTRYPOINT ["pwsh", "-File", "C:\\scripts\\main.ps1"]
