# escape=`
FROM mcr.microsoft.com/windows/nanoserver:ltsc2022 AS nano
FROM mcr.microsoft.com/windows/servercore:ltsc2022 AS core
COPY tools\exporter.zip C:\exporter.zip
SHELL ["powershell", "-Command", "$ErrorActionPreference = 'Stop';"]
RUN New-Item -ItemType Directory -Force -Path C:\exporter\textfile | Out-Null; `
    Expand-Archive C:\exporter.zip C:\exporter -Force
FROM nano
COPY --from=core C:\exporter C:\exporter
EXPOSE 9182
USER ContainerAdministrator
ENTRYPOINT ["C:\\exporter\\exporter.exe", "--collectors.enabled=cpu,memory"]
