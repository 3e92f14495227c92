# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
SHELL ["powershell", "-Command", "$ErrorActionPreference = 'Stop'; $ProgressPreference = 'SilentlyContinue';"]
RUN New-Item -Path HKLM:\SOFTWARE\Example\Client -Force | Out-Null; `
    New-ItemProperty -Path HKLM:\SOFTWARE\Example\Client -Name Encrypt -PropertyType DWord -Value 1 | Out-Null
RUN Install-Module -Name SqlServer -Force
