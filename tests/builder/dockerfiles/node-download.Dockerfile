# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
ENV NODE_VERSION=20.11.1
SHELL ["powershell", "-NoProfile", "-Command", "$ErrorActionPreference = 'Stop';"]
RUN Invoke-WebRequest "https://nodejs.example/dist/v$env:NODE_VERSION/node-win-x64.zip" -OutFile node.zip ; `
    Expand-Archive node.zip -DestinationPath C:\ ; `
    Remove-Item node.zip
CMD ["node.exe"]
