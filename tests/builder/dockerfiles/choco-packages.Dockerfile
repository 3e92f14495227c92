# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
ENV chocolateyUseWindowsCompression=false
SHELL ["powershell", "-NoLogo", "-Command", "$ErrorActionPreference = 'Stop';"]
RUN Set-ExecutionPolicy Bypass -Scope Process -Force; `
    iex ((New-Object Net.WebClient).DownloadString('https://packages.example/install.ps1'))
RUN choco install -y git 7zip
