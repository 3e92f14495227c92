# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
SHELL ["powershell", "-Command"]
COPY tools\mingit.zip C:\
RUN Expand-Archive -Path C:\mingit.zip -DestinationPath C:\git; `
    Remove-Item C:\mingit.zip -Force; `
    [Environment]::SetEnvironmentVariable('GIT_HOME', 'C:\git', 'Machine')
