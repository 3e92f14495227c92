# escape=`
FROM mcr.microsoft.com/windows/servercore/iis:windowsservercore-ltsc2022
SHELL ["powershell", "-Command", "$ErrorActionPreference = 'Stop'; $ProgressPreference = 'SilentlyContinue';"]
RUN Remove-Item -Recurse -Force C:\inetpub\wwwroot\*
WORKDIR C:\inetpub\wwwroot
COPY site\ .
EXPOSE 80
