# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
COPY config\settings.reg C:\settings.reg
RUN reg import C:\settings.reg && del C:\settings.reg
RUN reg delete HKLM\SOFTWARE\Example\Old /f || echo there was none
