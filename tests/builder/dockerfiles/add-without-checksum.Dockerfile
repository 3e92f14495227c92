# escape=`
FROM mcr.microsoft.com/windows/nanoserver:ltsc2022
ADD https://files.example/tool.exe C:\tools\tool.exe
