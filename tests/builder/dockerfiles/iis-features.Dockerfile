# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
SHELL ["powershell", "-Command", "$ErrorActionPreference = 'Stop';"]
RUN Install-WindowsFeature -Name Web-Server, Web-Asp-Net45
COPY site C:\inetpub\wwwroot
EXPOSE 80
